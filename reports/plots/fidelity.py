"""How close each weight's gradient is to BPTT's, weight by weight."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from reports.drawing.canvas import NotDrawn, Plot, legend
from reports.drawing.palette import MARKERS, Look
from reports.drawing.series import variant_looks
from reports.study import Study
from reports.text import elide
from reports.verdict import settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 40
TITLE = "Gradient fidelity per weight"
MOST_SETTINGS = 2
MOST_WEIGHTS = 12


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no record compares its gradient with BPTT's weight by weight."""
    drawn: list[Plot] = []
    for choice in settings(study):
        data = per_weight(study, choice.cells)
        if data.empty:
            continue
        title = study.setting(choice.cells.iloc[0])
        drawn.append(
            Plot(
                name=f"fidelity_{len(drawn) + 1}",
                section=TITLE,
                title=title,
                caption="Cosine between this gradient and BPTT's on the same batch, "
                "median over processes; "
                "1 is the same direction. The line spans them.",
                data=data,
                draw=partial(_draw, data=data, title=title, styles=variant_looks(study)),
            )
        )
        if len(drawn) == MOST_SETTINGS:
            break
    if not drawn:
        raise NotDrawn("no record compares its gradient with BPTT's weight by weight")
    return drawn


def per_weight(study: Study, cells: pd.DataFrame) -> pd.DataFrame:
    """Median, least and greatest cosine of each variant and weight; BPTT against itself is left
    out.
    """
    rows = [
        {
            "variant": cell["variant"],
            "weight": weight,
            "cosine": found.get("cosine"),
            "rel_error": found.get("rel_error"),
        }
        for _, cell in cells.iterrows()
        if cell["algo"] != "bptt"
        for key in cell["keys"]
        for weight, found in (study.by_key[key].get("fidelity") or {}).items()
    ]
    table = pd.DataFrame(rows, columns=["variant", "weight", "cosine", "rel_error"])
    table = table.astype({"cosine": "float64", "rel_error": "float64"}).dropna(subset=["cosine"])
    by = table.groupby(["variant", "weight"], sort=True)
    return pd.DataFrame(
        {
            "cosine": by["cosine"].median(),
            "cosine_lo": by["cosine"].min(),
            "cosine_hi": by["cosine"].max(),
            "rel_error": by["rel_error"].median(),
        }
    ).reset_index()


def _draw(axes: Axes, data: pd.DataFrame, title: str, styles: dict[str, Look]) -> None:
    worst = data.groupby("weight")["cosine"].min().nsmallest(MOST_WEIGHTS)
    weights = list(worst.index)[::-1]
    variants = sorted(data["variant"].unique())[:10]
    for i, variant in enumerate(variants):
        points = data[data["variant"].eq(variant) & data["weight"].isin(weights)]
        look = styles[variant]
        height = [
            weights.index(w) + 0.5 * (i + 0.5) / len(variants) - 0.25 for w in points["weight"]
        ]
        axes.hlines(
            height, points["cosine_lo"], points["cosine_hi"], color=look.colour, linewidth=0.8
        )
        axes.plot(
            points["cosine"],
            height,
            MARKERS[i % len(MARKERS)],
            color=look.colour,
            markersize=4.5,
            markeredgewidth=0,
            label=variant,
        )
    axes.axvline(1.0, color="#999999", linewidth=0.6)
    axes.set_yticks(range(len(weights)), [elide(w, 26, keep_end=True) for w in weights])
    axes.set_ylim(-0.6, len(weights) - 0.4)
    axes.set_xlabel("cosine to BPTT's gradient")
    axes.set_title(elide(title, 58), loc="left")
    legend(axes)
