"""How close each weight's gradient is to BPTT's, weight by weight."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from reports.judge import Setting
from reports.judge.rows import no_gradient
from reports.plots.base import (
    SIZE_IN,
    NotDrawn,
    Plot,
    at_recommended_batching,
    folded,
    left_out,
    legend,
    most_telling,
    of_method,
    tip,
    titled,
)
from reports.plots.style import FAINT, INK, Look, looks
from reports.study import Study
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 40
TITLE = "Gradient cosine of each weight"
MOST_WEIGHTS = 12
ROW_IN, MARGIN_IN = 0.06, 0.8  # a mark's row; what stands around the axes


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no record compares its gradient with BPTT's weight by weight."""
    for setting in study.facts.settings:
        data, ways = per_weight(study, setting)
        if len(data):
            return [_plot(setting, data, ways)]
    raise NotDrawn("no record compares its gradient with BPTT's weight by weight")


def per_weight(study: Study, setting: Setting) -> tuple[pd.DataFrame, int]:
    """(median, least and greatest cosine of each method and weight; how many methods there are).

    BPTT against itself is left out. A weight whose gradient is nothing has no direction: its cosine
    counts as 0, and `no_gradient` says for how many of the `n` processes.
    """
    ways = [w for w in at_recommended_batching(setting) if w.algo != "bptt"]
    rows = [
        {"way": way.method, "weight": weight, "_look": of_method(way),
         "cosine": 0.0 if no_gradient(found) else found.get("cosine"),
         "rel_error": found.get("rel_error"), "no_gradient": no_gradient(found)}
        for way in most_telling(ways, setting.answer.start)
        for key in way.keys
        for weight, found in (study.by_key[key].get("fidelity") or {}).items()
    ]  # fmt: skip
    columns = ["way", "weight", "_look", "cosine", "rel_error", "no_gradient"]
    table = pd.DataFrame(rows, columns=columns).astype(
        {"cosine": "float64", "rel_error": "float64", "no_gradient": "int64"}
    )
    names = short_weights(list(dict.fromkeys(table["weight"])))
    table["weight"] = table["weight"].map(names)
    by = table.dropna(subset=["cosine"]).groupby(["way", "weight", "_look"], sort=False)
    merged = pd.DataFrame({
        "cosine": by["cosine"].median(), "cosine_lo": by["cosine"].min(),
        "cosine_hi": by["cosine"].max(), "rel_error": by["rel_error"].median(),
        "no_gradient": by["no_gradient"].sum(), "n": by.size(),
    }).reset_index()  # fmt: skip
    return merged, len({w.method for w in ways})


def short_weights(names: list[str]) -> dict[str, str]:
    """Each name without the parts that say only how modules nest, where that stays distinct."""
    short = {n: ".".join(p for p in n.split(".") if p not in ("weight", "comm", "value")) or n
             for n in names}  # fmt: skip
    told = list(short.values())
    return {n: s if told.count(s) == 1 else n for n, s in short.items()}


def _plot(setting: Setting, data: pd.DataFrame, ways: int) -> Plot:
    weights = data["weight"].nunique()
    shown = min(weights, MOST_WEIGHTS)
    caption = (
        "Cosine to BPTT's gradient on the same batch, median over processes; 1: same direction."
    )
    if data["no_gradient"].any():
        caption += " An open mark at 0: no gradient reaches that weight, so it does not train."
    caption += left_out(shown, weights, "weights, those farthest from BPTT")
    caption += left_out(data["way"].nunique(), ways, "methods")
    look = looks(data["_look"])
    styles = {way: look[some.iloc[0]] for way, some in data.groupby("way", sort=False)["_look"]}
    return Plot(
        name="fidelity",
        section=TITLE,
        title=setting.name or setting.whole,
        caption=caption,
        data=data.drop(columns="_look"),
        draw=partial(_draw, data=data, title=setting.name, styles=styles),
        height=max(SIZE_IN[1], MARGIN_IN + shown * max(0.2, ROW_IN * len(styles))),
        place="folded",
    )


def _draw(axes: Axes, data: pd.DataFrame, title: str, styles: dict[str, Look]) -> None:
    worst = data.groupby("weight")["cosine"].min().nsmallest(MOST_WEIGHTS)
    weights = list(worst.index)[::-1]
    for i, (way, look) in enumerate(styles.items()):
        points = data[data["way"].eq(way) & data["weight"].isin(weights)]
        # The first in the legend is the upper one of a row.
        height = points["weight"].map(weights.index) + 0.4 - 0.8 * (i + 0.5) / len(styles)
        axes.hlines(
            height, points["cosine_lo"], points["cosine_hi"], color=look.colour, linewidth=1
        )
        style: dict[str, Any] = {"marker": look.marker, "color": look.colour, "linestyle": "",
                                 "markersize": 5}  # fmt: skip
        none = points["no_gradient"].eq(points["n"])
        axes.plot(points["cosine"][~none], height[~none], **style, markeredgewidth=0, label=way)
        if none.any():
            axes.plot(points["cosine"][none], height[none], **style, fillstyle="none", label="_")
        for x, y, weight in zip(points["cosine"], height, points["weight"], strict=True):
            tip(axes, x, y, f"{way}, {weight}: {short(x)}")
    for edge in range(len(weights) - 1):
        axes.axhline(edge + 0.5, color=FAINT, linewidth=0.4)
    axes.grid(False, axis="y")
    if data["no_gradient"].any():
        axes.axvline(0.0, color=FAINT, linewidth=0.8)
        axes.plot([], [], "o", color=INK, markersize=5, fillstyle="none", label="no gradient")
    axes.axvline(1.0, color=FAINT, linewidth=1)
    axes.set_yticks(range(len(weights)), [folded(w, 26) for w in weights])
    axes.set_ylim(-0.5, len(weights) - 0.5)
    axes.set_xlabel("cosine to BPTT's gradient")
    titled(axes, title)
    legend(axes)
