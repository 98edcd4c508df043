"""Series of cells: at most ten a drawing, painted with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from reports.drawing.palette import Look, looks
from reports.study import Slice, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEYS = ["variant", "batching", "backend"]
MOST_SERIES = 10  # a drawing; more cannot be told apart


def split(piece: Slice) -> list[Slice]:
    """The slice itself, or parts of it that hold at most ten series: by batching, then by tens."""
    if piece.cells.groupby(KEYS).ngroups <= MOST_SERIES:
        return [piece]
    parts = []
    for batching, cells in piece.cells.groupby("batching", sort=True):
        names = sorted({tuple(row) for row in cells[KEYS].to_numpy()})
        for start in range(0, len(names), MOST_SERIES):
            chosen = set(names[start : start + MOST_SERIES])
            inside = [tuple(row) in chosen for row in cells[KEYS].to_numpy()]
            part = f" ({start // MOST_SERIES + 1})" if len(names) > MOST_SERIES else ""
            title = " · ".join(filter(None, [piece.title, f"{batching}{part}"]))
            parts.append(Slice(title, cells[inside]))
    return parts


def styled(study: Study, cells: pd.DataFrame) -> list[tuple[str, Look, pd.DataFrame]]:
    """(name, look, its cells) of every series; looks are those of the whole study, in every
    plot.
    """
    everywhere = sorted({tuple(map(str, row)) for row in study.cells[KEYS].to_numpy()})
    look = looks([(variant, f"{batching} {backend}") for variant, batching, backend in everywhere])
    return [
        (study.name(points.iloc[0]), look[str(variant), f"{batching} {backend}"], points)
        for (variant, batching, backend), points in cells.groupby(KEYS, sort=True)
    ]


def variant_looks(study: Study) -> dict[str, Look]:
    """One look per variant where batching plays no part, in the colours of all other plots."""
    variants = sorted(study.table["variant"].unique())
    return {v: look for (v, _), look in looks([(v, "") for v in variants]).items()}


def line(axes: Axes, points: pd.DataFrame, x: str, y: str, look: Look, label: str) -> None:
    """One series with its intervals; a point without an interval is drawn without."""
    at, middle = points[x].astype(float).to_numpy(), points[y].to_numpy()
    low = points[f"{y}_lo"].fillna(points[y]).clip(upper=points[y]).to_numpy()
    high = points[f"{y}_hi"].fillna(points[y]).clip(lower=points[y]).to_numpy()
    axes.errorbar(
        at,
        middle,
        yerr=[middle - low, high - middle],
        color=look.colour,
        marker=look.marker,
        linestyle=look.dash,
        elinewidth=0.8,
        capsize=1.6,
        markeredgewidth=0,
        label=label,
    )
