"""A metric over two swept axes as a map, one drawing a way."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.judge.rows import words
from reports.plots.base import NotDrawn, Plot, titled
from reports.records.columns import REPLICATION, SIZES, SYMBOLS, heading
from reports.records.settings import varying_within
from reports.study import Study
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 60
TITLE = "Maps over two axes"
MOST_MAPS = 2  # of one metric


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no way was swept over two axes at once."""
    drawn = []
    for metric in ("step_time_ms", study.memory):
        maps = [found for x, y in combinations(SIZES, 2) for found in grids(study, x, y, metric)]
        maps = sorted(maps, key=lambda m: -int(m[1].notna().sum().sum()))[:MOST_MAPS]
        drawn += [plot(metric, *found, f"map_{metric.rsplit('_', 1)[0]}_{i}")
                  for i, found in enumerate(maps, 1)]  # fmt: skip
    if not drawn:
        raise NotDrawn("no way ran at two or more values of two axes at once")
    return drawn


def grids(study: Study, x: str, y: str, metric: str) -> list[tuple[str, pd.DataFrame, str]]:
    """(title, rows y by columns x, what a square pools) of every way with two values of both."""
    cells = study.cells
    if cells.empty or metric not in cells or cells[metric].isna().all():
        return []
    held = [c for c in study.facts.held if c not in (x, y)]
    found = []
    for _, group in cells[cells[metric].notna()].groupby([*held, "way"], dropna=False, sort=True):
        grid = group.pivot_table(index=y, columns=x, values=metric, aggfunc="median")
        if min(grid.shape) >= 2 and grid.notna().to_numpy().sum() >= 4:
            rest = words(group.iloc[0], [c for c in study.facts.varied if c not in (x, y)])
            title = " · ".join(filter(None, [study.name(group.iloc[0]), rest]))
            found.append((title, grid.sort_index().sort_index(axis=1), _pooled(study, group, x, y)))
    return found


def _pooled(study: Study, group: pd.DataFrame, x: str, y: str) -> str:
    """In words, what differs between the processes of one square; "" where each has one."""
    rows = study.ok[study.ok["key"].isin({key for keys in group["keys"] for key in keys})]
    inside = rows.groupby([x, y])
    differ = [c for c in varying_within(rows, [x, y]) if not c.endswith("._target_")]
    differ += [c for c in REPLICATION if (inside[c].nunique() > 1).any()]
    counts = [f"{rows[c].nunique(dropna=False)} values of {c.removeprefix('cfg.')}" for c in differ]
    several = f"the median over up to {inside.size().max()} processes: {', '.join(counts)}"
    return several if counts else ""


def plot(metric: str, title: str, grid: pd.DataFrame, pooled: str, name: str) -> Plot:
    """One map of any metric over any two axes."""
    return Plot(
        name=name,
        section=f"{heading(metric)[0].upper()}{heading(metric)[1:]} over two axes",
        title=title,
        caption=f"Each square is {pooled or 'one process'}. An empty one was not measured.",
        data=grid.reset_index().rename(columns=str),
        draw=partial(_draw, grid=grid, title=title, metric=metric),
        place="folded",
    )


def _draw(axes: Axes, grid: pd.DataFrame, title: str, metric: str) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm, Normalize

    values = grid.to_numpy(dtype=float)
    positive = bool((values[np.isfinite(values)] > 0).all())
    low, high = np.nanmin(values), np.nanmax(values)
    norm = (LogNorm if positive else Normalize)(low, high if high > low else low + 1)
    # Of 50 colours and more the bar would be a picture of pixels.
    squares = axes.pcolormesh(np.ma.masked_invalid(values), norm=norm, linewidth=0,
                              cmap=colormaps["cividis"].resampled(48))  # fmt: skip
    bar = axes.figure.colorbar(squares, ax=axes, label=heading(metric))
    # One figure each: a logarithmic scale's own labels are too many or none.
    bar.set_ticks(ends := [low, high] if high > low else [low], labels=list(map(short, ends)))
    bar.ax.minorticks_off()
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            axes.text(j + 0.5, i + 0.5, short(value), ha="center", va="center", fontsize=7,
                      color="#ffffff" if norm(value) < 0.5 else "#111111")  # fmt: skip
    for axis, labels in ((axes.xaxis, grid.columns), (axes.yaxis, grid.index)):
        axis.set_ticks(np.arange(len(labels)) + 0.5, [str(v) for v in labels])
    axes.grid(False)
    axes.set_xlabel(SYMBOLS.get(str(grid.columns.name), str(grid.columns.name)))
    axes.set_ylabel(SYMBOLS.get(str(grid.index.name), str(grid.index.name)))
    titled(axes, title)
