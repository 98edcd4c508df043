"""Series of cells: at most ten a drawing, painted with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from reports.drawing.palette import Look, looks
from reports.records.columns import SERIES
from reports.study import Slice, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_SERIES = 10  # a drawing; more cannot be told apart
MOST_WAYS = 3 * MOST_SERIES  # of one setting, over all its drawings


def facets(piece: Slice, by: str = "batching") -> list[Slice]:
    """The slice itself, or parts of it that hold at most ten series: by a setting, then by tens."""
    if piece.cells.groupby(SERIES).ngroups <= MOST_SERIES:
        return [piece]
    parts = []
    for value, cells in piece.cells.groupby(by, sort=True):
        some = tens(cells, SERIES)
        for i, part in enumerate(some, 1):
            words = f"{value} ({i})" if len(some) > 1 else str(value)
            parts.append(Slice(" · ".join(filter(None, [piece.title, words])), part))
    return parts


def tens(cells: pd.DataFrame, series: list[str]) -> list[pd.DataFrame]:
    """Parts with at most ten series each; `series` are the columns that tell these apart."""
    number = cells.groupby(series, sort=True).ngroup()
    return [part for _, part in cells.groupby(number // MOST_SERIES)]


def panels(study: Study, cells: pd.DataFrame) -> list[Slice]:
    """The cells of one setting, those of more than ten ways by library or, where that makes fewer
    parts, by batching.
    """
    whole = Slice(study.setting(cells.iloc[0]), cells)
    varied = [by for by in ("backend", "batching") if cells[by].nunique() > 1]
    return min((facets(whole, by) for by in varied or ["backend"]), key=len)


def styled(study: Study, cells: pd.DataFrame) -> list[tuple[str, Look, pd.DataFrame]]:
    """(name, look, its cells) of every series; looks are those of the whole study, in every
    plot.
    """
    look = _looks(study, ["batching", "backend"])
    return [
        (study.name(points.iloc[0]), look[tuple(map(str, key))], points)
        for key, points in cells.groupby(SERIES, sort=True)
    ]


def unbatched_looks(study: Study) -> dict[tuple[str, ...], Look]:
    """One look per (variant, backend) where batching plays no part, in the colours of all other
    plots.
    """
    return _looks(study, ["backend"])


def _looks(study: Study, rest: list[str]) -> dict[tuple[str, ...], Look]:
    """Looks by (variant, *rest) of every series of the study."""
    rows = sorted({tuple(map(str, r)) for r in study.cells[["algo", "variant", *rest]].to_numpy()})
    # A variant is named by its algorithm and then its settings.
    ways = [(algo, variant[len(algo) :], " ".join(end)) for algo, variant, *end in rows]
    found = looks(ways)
    return {row[1:]: found[way] for row, way in zip(rows, ways, strict=True)}


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


def left_out(shown: int, of: int, words: str) -> str:
    """A sentence that says that not all are drawn, to follow a caption; nothing where all are."""
    return f" Drawn are {words.format(shown)} of {of}." if shown < of else ""
