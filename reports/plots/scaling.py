"""Memory and throughput against steps, width and batch, one drawing per slice of the other
settings.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.drawing.canvas import NotDrawn, Plot, legend, log_ticks
from reports.drawing.palette import Look
from reports.drawing.series import facets, line, styled
from reports.records.columns import SERIES, SIZES, heading
from reports.study import Slice, Study
from reports.text import elide

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 10
TITLE = "Memory and throughput against steps, width and batch"
AXES = {
    "n_steps": "steps in a sequence, T",
    "n_hidden": "hidden neurons, H",
    "batch_size": "batch size, B",
}
Series = tuple[str, Look, pd.DataFrame]
LINE_SHARE = 0.008  # of the height of the axes: about as much as a line is wide
MOST_SLICES = 3  # of one metric against one axis; the others are in the results table


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no algorithm ran at two sizes of any axis."""
    drawn = []
    for axis in SIZES:
        for metric in (study.memory, "timesteps_per_s"):
            slices = study.slices(axis, metric)
            note = (
                (
                    f" The {MOST_SLICES} richest of {len(slices)} slices are drawn; the table of "
                    f"all "
                    "cells has the others."
                )
                if len(slices) > MOST_SLICES
                else ""
            )
            panels = [panel for s in slices[:MOST_SLICES] for panel in facets(s)]
            drawn += [_plot(study, axis, metric, panel, i, note) for i, panel in enumerate(panels)]
    if not drawn:
        raise NotDrawn(
            "no algorithm has results at two widths, batch sizes or lengths "
            "with everything else equal"
        )
    return drawn


def _plot(study: Study, axis: str, metric: str, piece: Slice, number: int, note: str) -> Plot:
    columns = [*SERIES, axis, metric, f"{metric}_lo", f"{metric}_hi", "n"]
    data = piece.cells[columns].sort_values(["variant", "batching", axis]).reset_index(drop=True)
    series = merged(styled(study, data[data[metric] > 0]), axis, metric)
    return Plot(
        name=f"{metric.rsplit('_', 1)[0]}_vs_{axis}_{number + 1}",
        section=f"Memory and throughput against {AXES[axis]}",
        title=piece.title,
        caption="Both axes are logarithmic: a straight line is a power law."
        + (" Bars are 95 % intervals." if _has_bars(data, metric) else "")
        + (
            " Series that lie on one another share a line and its entry in the legend."
            if len(series) < data.groupby(SERIES).ngroups
            else ""
        )
        + note,
        data=data,
        draw=partial(_draw, series=series, data=data, axis=axis, metric=metric, title=piece.title),
    )


def _has_bars(data: pd.DataFrame, metric: str) -> bool:
    return bool((data[f"{metric}_hi"] > data[f"{metric}_lo"]).any())


def merged(series: list[Series], axis: str, metric: str) -> list[Series]:
    """The series, those that would be painted over one another as one, with a line a name."""
    if not series:
        return []
    whole = np.concatenate([points[metric].to_numpy(dtype=float) for _, _, points in series])
    near = LINE_SHARE * np.log(whole.max() / whole.min())
    out: list[Series] = []
    for name, look, points in series:
        for i, (others, first_look, first) in enumerate(out):
            if _alike(first, points, axis, metric, near):
                out[i] = (f"{others}\n{name}", first_look, first)
                break
        else:
            out.append((name, look, points))
    return out


def _alike(a: pd.DataFrame, b: pd.DataFrame, axis: str, metric: str, near: float) -> bool:
    """Whether two series differ by no more than `near` in the logarithm, their intervals as
    well.
    """
    if a[axis].tolist() != b[axis].tolist():
        return False
    pairs = [(a[c].fillna(a[metric]), b[c].fillna(b[metric])) for c in
             (metric, f"{metric}_lo", f"{metric}_hi")]  # fmt: skip
    return all(
        bool((np.abs(np.log(x.to_numpy(dtype=float) / y.to_numpy(dtype=float))) <= near).all())
        for x, y in pairs
    )


def _draw(
    axes: Axes, series: list[Series], data: pd.DataFrame, axis: str, metric: str, title: str
) -> None:
    for name, look, points in series:
        line(axes, points, axis, metric, look, name)
    log_ticks(axes, "x", data[axis])
    # A logarithm has no room for zero; the data table does.
    log_ticks(axes, "y", data[metric][data[metric] > 0])
    axes.set_xlabel(AXES[axis])
    axes.set_ylabel(heading(metric))
    axes.set_title(elide(title, 58), loc="left")
    legend(axes)
