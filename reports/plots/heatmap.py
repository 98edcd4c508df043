"""A metric over two swept axes as a map, one drawing a variant."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.drawing.canvas import NotDrawn, Plot
from reports.records.columns import SETTINGS, SIZES, SYMBOLS, heading
from reports.study import Study
from reports.text import elide, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 60
TITLE = "Maps over two axes"
MOST_MAPS = 2  # of one metric


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no variant was swept over two axes at once."""
    drawn = []
    for metric in ("timesteps_per_s", study.memory):
        maps = [found for x, y in combinations(SIZES, 2) for found in grids(study, x, y, metric)]
        maps = sorted(maps, key=lambda m: -int(m[1].notna().sum().sum()))[:MOST_MAPS]
        drawn += [
            plot(metric, title, grid, f"map_{metric.rsplit('_', 1)[0]}_{i}")
            for i, (title, grid) in enumerate(maps, 1)
        ]
    if not drawn:
        raise NotDrawn("no variant was run at two or more values of two axes at once")
    return drawn


def grids(study: Study, x: str, y: str, metric: str) -> list[tuple[str, pd.DataFrame]]:
    """(title, rows y by columns x) of every variant with at least two values of both axes."""
    cells = study.cells
    if cells.empty or metric not in cells or cells[metric].isna().all():
        return []
    held = [*(s for s in SETTINGS if s not in (x, y)), "variant"]
    found = []
    for _, group in cells[cells[metric].notna()].groupby(held, dropna=False, sort=True):
        grid = group.pivot_table(index=y, columns=x, values=metric, aggfunc="median")
        if min(grid.shape) >= 2 and grid.notna().to_numpy().sum() >= 4:
            title = " · ".join(
                filter(None, [study.name(group.iloc[0]), study.setting(group.iloc[0], (x, y))])
            )
            found.append((title, grid.sort_index().sort_index(axis=1)))
    return found


def plot(metric: str, title: str, grid: pd.DataFrame, name: str) -> Plot:
    """One map of any metric over any two axes."""
    return Plot(
        name=name,
        section=f"{heading(metric)[0].upper()}{heading(metric)[1:]} over two axes",
        title=title,
        caption="Darker is less (logarithmic). An empty square was not measured.",
        data=grid.reset_index().rename(columns=str),
        draw=partial(_draw, grid=grid, title=title),
    )


def _draw(axes: Axes, grid: pd.DataFrame, title: str) -> None:
    from matplotlib.colors import LogNorm, Normalize

    values = grid.to_numpy(dtype=float)
    positive = bool((values[np.isfinite(values)] > 0).all())
    low, high = np.nanmin(values), np.nanmax(values)
    norm = (LogNorm if positive else Normalize)(low, high if high > low else low + 1)
    axes.pcolormesh(np.ma.masked_invalid(values), cmap="cividis", norm=norm, linewidth=0)
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            axes.text(
                j + 0.5,
                i + 0.5,
                short(value),
                ha="center",
                va="center",
                fontsize=6.5,
                color="#ffffff" if norm(value) < 0.5 else "#111111",
            )
    for axis, labels in ((axes.xaxis, grid.columns), (axes.yaxis, grid.index)):
        axis.set_ticks(np.arange(len(labels)) + 0.5, [elide(str(v), 14) for v in labels])
    axes.grid(False)
    axes.set_xlabel(SYMBOLS.get(str(grid.columns.name), str(grid.columns.name)))
    axes.set_ylabel(SYMBOLS.get(str(grid.index.name), str(grid.index.name)))
    axes.set_title(elide(title, 58), loc="left")
