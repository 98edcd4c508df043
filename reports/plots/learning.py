"""What training came to against the time it took, each seed thin and their median thick."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.judge import Setting
from reports.plots.base import (
    NotDrawn,
    Place,
    Plot,
    at_recommended_batching,
    batching_words,
    end_labels,
    left_out,
    most_telling,
    note,
    of_method,
    tip,
    titled,
)
from reports.plots.style import INK, Look, looks
from reports.study import Study
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 10
TITLE = "Accuracy against training time"
CURVES = {
    "test_accuracy": "test accuracy",
    "accuracy": "training accuracy",
    "loss": "training loss",
}
X = {"train_time_s": "training time (s)", "epoch": "epoch"}
MOST_SETTINGS = 2
LEAST_EPOCHS = 3


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no record holds a curve of at least three epochs."""
    drawn: list[Plot] = []
    firsts = {group[0].id for group in study.facts.groups[:2]}
    for setting in study.facts.settings[:MOST_SETTINGS]:
        points, ways = curves(study, setting)
        if points.empty:
            continue
        y = next(name for name in CURVES if points[name].notna().any())
        place: Place = "first" if setting.id in firsts else "more"
        drawn.append(_plot(setting, points, ways, "train_time_s", y, len(drawn) + 1, place))
        if points["loss"].notna().any() and setting.id in firsts:
            drawn.append(_plot(setting, points, ways, "epoch", "loss", len(drawn) + 1, "folded"))
    if not drawn:
        raise NotDrawn(f"no record holds a learning curve of {LEAST_EPOCHS} epochs or more")
    return drawn


def curves(study: Study, setting: Setting) -> tuple[pd.DataFrame, int]:
    """(a row for each method, seed and epoch at the recommended batching; how many methods).

    Of a seed's repeats the median; the learning rate is the one that the method is judged at.
    """
    ways = [w for w in at_recommended_batching(setting) if w.learned]
    rows = []
    for way in most_telling(ways, setting.answer.start):
        for key in way.keys:
            record = study.by_key[key]
            lr, at = record["config"].get("lr"), way.learned.lr if way.learned else np.nan
            if at == at and lr is not None and float(lr) != at:
                continue
            curve = record.get("curves") or {}
            epochs = curve.get("epoch") or []
            for i, epoch in enumerate(epochs if len(epochs) >= LEAST_EPOCHS else []):
                values = {
                    n: (curve.get(n) or [])[i : i + 1] or [None] for n in (*CURVES, "train_time_s")
                }
                rows.append({
                    "way": way.name, "seed": record["row"].get("seed"), "epoch": epoch,
                    **{n: v[0] for n, v in values.items()}, "_look": of_method(way),
                })  # fmt: skip
    table = pd.DataFrame(rows, columns=["way", "seed", "epoch", *CURVES, "train_time_s", "_look"])
    table = table.astype(dict.fromkeys((*CURVES, "train_time_s"), "float64"))
    by = table.groupby(["way", "seed", "epoch", "_look"], sort=False, dropna=False)
    return by.median().reset_index(), len(ways)


def _plot(
    setting: Setting, points: pd.DataFrame, ways: int, x: str, y: str, number: int, place: Place
) -> Plot:
    data = points[["way", "seed", "epoch", *([x] if x != "epoch" else []), y]].dropna(subset=[y, x])
    look = looks(list(points["_look"]))
    styles = {way: look[some.iloc[0]] for way, some in points.groupby("way")["_look"]}
    shown = [w for w in setting.ways if w.name in styles]
    seeds = int(data.groupby("way")["seed"].nunique(dropna=False).max())
    each = f"Thin: each of {seeds} seeds; thick: their median." if seeds > 1 else "One seed."
    chance = next((w.learned.chance for w in shown if w.learned), float("nan"))
    if y == "loss" and (setting.metric != "loss_final" and chance == chance):
        chance = -np.log(chance)
    rates = {w.learned.lr for w in shown if w.learned and w.learned.n_lr > 1}
    return Plot(
        name=f"{y}_vs_{x}_{number}",
        section=f"{CURVES[y].capitalize()} against {X[x].split(' (')[0]}",
        title=setting.whole if place == "first" else setting.name or setting.whole,
        caption=each
        + (" Evaluation is not counted as training time." if x != "epoch" else "")
        + batching_words(shown)
        + (" Each at its best learning rate." if rates else "")
        + left_out(len(shown), ways, "methods"),
        data=data.reset_index(drop=True),
        draw=partial(
            _draw,
            data=data,
            x=x,
            y=y,
            title=setting.name or setting.whole,
            styles=styles,
            chance=chance,
        ),
        place=place,
    )


def _draw(
    axes: Axes, data: pd.DataFrame, x: str, y: str, title: str, styles: dict[str, Look],
    chance: float,
) -> None:  # fmt: skip
    ends = []
    for way, points in data.groupby("way", sort=False):
        look = styles[str(way)]
        seeds = [s.sort_values("epoch") for _, s in points.groupby("seed", dropna=False)]
        for seed in seeds if len(seeds) > 1 else []:
            axes.plot(seed[x], seed[y], color=look.colour, linewidth=0.6, alpha=0.45, label="_")
        by = points.groupby("epoch")
        middle = pd.DataFrame(
            {"x": by[x].median() if x != "epoch" else by.size().index, "y": by[y].median()}
        )
        axes.plot(middle["x"], middle["y"], color=look.colour, linestyle=look.dash, linewidth=2,
                  label=str(way))  # fmt: skip
        for epoch, (at, value) in zip(middle.index, middle.to_numpy(), strict=True):
            tip(axes, at, value, f"{way}: {CURVES[y]} {short(value)}, epoch {epoch:g}"
                + (f", {short(at)} s" if x != "epoch" else ""))  # fmt: skip
        ends.append((*middle.iloc[-1], str(way), look.colour))
    axes.set_xlabel(X[x])
    if x == "epoch":
        axes.locator_params(axis="x", integer=True)  # there is no epoch 2.5
    else:
        axes.set_xlim(left=0)
    if chance == chance:
        axes.axhline(chance, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
        low, high = axes.get_ylim()
        axes.set_ylim(
            min(low, chance - 0.05 * (high - low)), max(high, chance + 0.05 * (high - low))
        )
        note(axes, "chance", 0.99, chance, transform=axes.get_yaxis_transform(), ha="right",
             va="bottom")  # fmt: skip
    axes.set_ylabel(CURVES[y])
    titled(axes, title)
    end_labels(axes, ends)
