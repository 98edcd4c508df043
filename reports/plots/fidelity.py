"""How close each weight's gradient is to BPTT's, weight by weight."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from reports.choice import settings
from reports.drawing.canvas import FAINT, INK, SIZE_IN, NotDrawn, Plot, legend
from reports.drawing.palette import Look
from reports.drawing.series import left_out, tens, unbatched_looks
from reports.study import Study, no_gradient
from reports.text import elide

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 40
TITLE = "Gradient fidelity per weight"
MOST_SETTINGS = 2
MOST_WEIGHTS = 12
WAY = ["variant", "backend"]  # batching computes the same gradient
ROW_IN, MARGIN_IN = 0.06, 0.8  # a marker's row; what stands around the axes


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no record compares its gradient with BPTT's weight by weight."""
    found = [(study.setting(c.cells.iloc[0]), per_weight(study, c.cells)) for c in settings(study)]
    found = [(title, data) for title, data in found if len(data)]
    if not found:
        raise NotDrawn("no record compares its gradient with BPTT's weight by weight")
    cut = left_out(min(MOST_SETTINGS, len(found)), len(found), "{} settings")
    panels = [(t, part) for t, data in found[:MOST_SETTINGS] for part in tens(data, WAY)]
    return [
        _plot(study, title, data.reset_index(drop=True), i, cut)
        for i, (title, data) in enumerate(panels, 1)
    ]


def per_weight(study: Study, cells: pd.DataFrame) -> pd.DataFrame:
    """Median, least and greatest cosine of each way of computing and weight; BPTT against itself is
    left out.

    A weight whose gradient is nothing has no direction: its cosine counts as 0, and `no_gradient`
    says for how many of the `n` processes.
    """
    rows = [
        {
            **{name: cell[name] for name in WAY},
            "weight": weight,
            "cosine": 0.0 if no_gradient(found) else found.get("cosine"),
            "rel_error": found.get("rel_error"),
            "no_gradient": no_gradient(found),
        }
        for _, cell in cells.iterrows()
        if cell["algo"] != "bptt"
        for key in cell["keys"]
        for weight, found in (study.by_key[key].get("fidelity") or {}).items()
    ]
    table = pd.DataFrame(rows, columns=[*WAY, "weight", "cosine", "rel_error", "no_gradient"])
    table = table.astype({"cosine": "float64", "rel_error": "float64", "no_gradient": "int64"})
    by = table.dropna(subset=["cosine"]).groupby([*WAY, "weight"], sort=True)
    return pd.DataFrame(
        {
            "cosine": by["cosine"].median(),
            "cosine_lo": by["cosine"].min(),
            "cosine_hi": by["cosine"].max(),
            "rel_error": by["rel_error"].median(),
            "no_gradient": by["no_gradient"].sum(),
            "n": by.size(),
        }
    ).reset_index()


def _plot(study: Study, title: str, data: pd.DataFrame, number: int, cut: str) -> Plot:
    found = unbatched_looks(study)
    first = data.drop_duplicates(WAY)
    looks = {
        study.name(row, batching=False): found[row["variant"], row["backend"]]
        for _, row in first.iterrows()
    }
    weights = data["weight"].nunique()
    shown = min(weights, MOST_WEIGHTS)
    caption = (
        "Cosine between this gradient and BPTT's on the same batch, median over processes and ways "
        "of batching; 1 is the same direction. The line spans them."
    )
    if data["no_gradient"].any():
        caption += (
            " An open marker at 0: that weight gets no gradient at all, so it does not train."
        )
    return Plot(
        name=f"fidelity_{number}",
        section=TITLE,
        title=title,
        caption=caption + left_out(shown, weights, "the {} weights farthest from BPTT") + cut,
        data=data,
        draw=partial(
            _draw,
            data=data.assign(way=[study.name(r, batching=False) for _, r in data.iterrows()]),
            title=title,
            looks=looks,
        ),
        height=max(SIZE_IN[1], MARGIN_IN + shown * max(0.2, ROW_IN * len(looks))),
    )


def _draw(axes: Axes, data: pd.DataFrame, title: str, looks: dict[str, Look]) -> None:
    worst = data.groupby("weight")["cosine"].min().nsmallest(MOST_WEIGHTS)
    weights = list(worst.index)[::-1]
    for i, (way, look) in enumerate(looks.items()):
        points = data[data["way"].eq(way) & data["weight"].isin(weights)]
        # The first in the legend is the upper one of a row.
        shift = 0.4 - 0.8 * (i + 0.5) / len(looks)
        height = points["weight"].map(weights.index) + shift
        axes.hlines(
            height, points["cosine_lo"], points["cosine_hi"], color=look.colour, linewidth=0.8
        )
        style: dict[str, Any] = {
            "marker": look.marker,
            "color": look.colour,
            "linestyle": "",
            "markersize": 4.5,
        }
        none = points["no_gradient"].eq(points["n"])
        axes.plot(points["cosine"][~none], height[~none], **style, markeredgewidth=0, label=way)
        if none.any():
            axes.plot(points["cosine"][none], height[none], **style, fillstyle="none")
    for edge in range(len(weights) - 1):
        axes.axhline(edge + 0.5, color=FAINT, linewidth=0.4)
    axes.grid(False, axis="y")
    if data["no_gradient"].any():
        axes.axvline(0.0, color=FAINT, linewidth=0.8)
        axes.plot([], [], "o", color=INK, markersize=4.5, fillstyle="none", label="no gradient")
    axes.axvline(1.0, color="#999999", linewidth=0.6)
    axes.set_yticks(range(len(weights)), [elide(w, 26, keep_end=True) for w in weights])
    axes.set_ylim(-0.5, len(weights) - 0.5)
    axes.set_xlabel("cosine to BPTT's gradient")
    axes.set_title(elide(title, 58), loc="left")
    legend(axes)
