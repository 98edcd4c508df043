"""What training came to against the time it took, each seed thin and their median thick."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.judge import Setting
from reports.judge.rows import number
from reports.plots import base
from reports.plots.base import NotDrawn, Plot
from reports.plots.style import INK, Look, looks
from reports.study import Study
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 10
TITLE = "Learning against training time"
CURVES = {
    "test_accuracy": "test accuracy",
    "accuracy": "training accuracy",
    "test_r2": "test R²",
    "r2": "training R²",
    "loss": "training loss",
}
TIME = "train_time_s"
MOST_SETTINGS = 2
LEAST_EPOCHS = 3


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no record holds a curve of at least three epochs."""
    drawn: list[Plot] = []
    for setting in study.facts.settings[:MOST_SETTINGS]:
        points = curves(study, setting).dropna(subset=[TIME])
        y = next((name for name in CURVES if points[name].notna().any()), None)
        if y:
            first = setting in [group[0] for group in study.facts.groups]
            drawn.append(_plot(setting, points.dropna(subset=[y]), y, len(drawn) + 1, first))
    if not drawn:
        raise NotDrawn(f"no record holds a learning curve of {LEAST_EPOCHS} epochs or more")
    return drawn


def curves(study: Study, setting: Setting) -> pd.DataFrame:
    """A row for each method, seed and epoch at the recommended batching.

    Of a seed's repeats the median; the learning rate is the one that the method is judged at.
    """
    columns = ["way", "seed", "epoch", *CURVES, TIME]
    found = [pd.DataFrame(columns=columns)]
    trained = [w for w in setting.by_method if w.learned]
    for way in base.most_telling(trained, setting.answer.start):
        for record in (study.by_key[key] for key in way.keys):
            curve, epochs = record["curves"], len(record["curves"].get("epoch") or ())
            lr, judged_at = number(record["config"].get("lr")), way.learned and way.learned.lr
            elsewhere = lr == lr and judged_at == judged_at and lr != judged_at
            if epochs >= LEAST_EPOCHS and not elsewhere:
                known = {n: v for n, v in curve.items() if n in columns and len(v) == epochs}
                seed = record["row"].get("seed")
                found.append(pd.DataFrame({"way": way.name, "seed": seed, **known}))
    table = pd.concat([f for f in found if len(f)] or found).reindex(columns=columns)
    table = table.astype(dict.fromkeys((*CURVES, TIME), "float64"))
    by = table.groupby(["way", "seed", "epoch"], sort=False, dropna=False)
    return by.median().reset_index()


def _plot(setting: Setting, points: pd.DataFrame, y: str, number: int, first: bool) -> Plot:
    shown = [w for w in setting.ways if w.name in set(points["way"])]
    learned = [w.learned for w in shown if w.learned]
    chance = learned[0].chance
    if y == "loss" and setting.metric in ("test_accuracy", "accuracy"):
        chance = -np.log(chance)
    busy, turns = any(w.contended for w in shown), base.by_turns(shown)
    if busy and turns:  # seconds of a busy machine say little; an epoch has equally many steps
        ratio = {w.name: w.against.centre for w in shown if w.against}
        points = points.assign(**{TIME: points["epoch"] * points["way"].map(ratio)})
    several = points.groupby("way")["seed"].nunique(dropna=False).max() > 1
    batchings = ", ".join(sorted({w.batching for w in shown if w.name != w.method}))
    caption = " ".join(filter(None, [
        "Thin: each seed; thick: their median." if several else "One seed.",
        "Evaluation is not counted as training time.",
        "" if not busy else "The machine was busy, so time is by turns with BPTT." if turns else
        "Times were measured under contention, so how far the curves lie apart says little.",
        batchings and f"Batching: {batchings}.",
        "Each at its best learning rate." if any(f.n_lr > 1 for f in learned) else "",
    ]))  # fmt: skip
    trained = sum(1 for w in setting.by_method if w.learned)
    styles = looks(base.of_method(way) for way in setting.ways)
    return Plot(
        name=f"{y}_vs_{TIME}_{number}",
        section=f"{CURVES[y][0].upper()}{CURVES[y][1:]} against training time",
        title=setting.whole,
        caption=caption + base.left_out(len(shown), trained, "methods"),
        data=points[["way", "seed", "epoch", TIME, y]].reset_index(drop=True)
        .rename(columns={TIME: "train_time_bptt_epochs"} if busy and turns else {}),
        draw=partial(_draw, points=points, y=y, chance=chance, title=setting.name or setting.whole,
                     unit="epochs of BPTT" if busy and turns else "s",
                     styles={way.name: styles[base.of_method(way)] for way in setting.ways}),
        place="first" if first else "more",
    )  # fmt: skip


def _draw(
    axes: Axes, points: pd.DataFrame, y: str, chance: float, title: str, unit: str,
    styles: dict[str, Look],
) -> None:  # fmt: skip
    for way, some in points.groupby("way", sort=False):
        look = styles[str(way)]
        seeds = [s.sort_values("epoch") for _, s in some.groupby("seed", dropna=False)]
        for seed in seeds if len(seeds) > 1 else []:
            axes.plot(seed[TIME], seed[y], color=look.colour, linewidth=0.6, alpha=0.45, label="_")
        middle = some.groupby("epoch")[[TIME, y]].median()
        axes.plot(middle[TIME], middle[y], color=look.colour, linestyle=look.dash, linewidth=2,
                  label=str(way))  # fmt: skip
        for epoch, (at, value) in zip(middle.index, middle.to_numpy(), strict=True):
            said = f"{CURVES[y]} {short(value)}, epoch {epoch:g}, {short(at)} {unit}"
            base.tip(axes, at, value, f"{way}: {said}")
    axes.set_xlim(left=0)
    axes.margins(y=0.06)
    if chance == chance:
        axes.axhline(chance, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
        base.note(axes, "chance", 0.99, chance, transform=axes.get_yaxis_transform(), ha="right",
             va="bottom")  # fmt: skip
    axes.set_xlabel(f"training time ({unit})")
    axes.set_ylabel(CURVES[y])
    axes.set_title(base.folded(title, base.TITLE_WIDTH))
    base.legend(axes)
