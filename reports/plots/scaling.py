"""Memory and throughput against steps, width and batch, one drawing per slice of the other
settings.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from reports.columns import SIZES, heading
from reports.drawing.canvas import NotDrawn, Plot, legend, log_ticks
from reports.drawing.series import KEYS, line, split, styled
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
            panels = [panel for s in slices[:MOST_SLICES] for panel in split(s)]
            drawn += [_plot(study, axis, metric, panel, i, note) for i, panel in enumerate(panels)]
    if not drawn:
        raise NotDrawn(
            "no algorithm has results at two widths, batch sizes or lengths "
            "with everything else equal"
        )
    return drawn


def _plot(study: Study, axis: str, metric: str, piece: Slice, number: int, note: str) -> Plot:
    columns = [*KEYS, axis, metric, f"{metric}_lo", f"{metric}_hi", "n"]
    data = piece.cells[columns].sort_values(["variant", "batching", axis]).reset_index(drop=True)
    return Plot(
        name=f"{metric.rsplit('_', 1)[0]}_vs_{axis}_{number + 1}",
        section=f"Memory and throughput against {AXES[axis]}",
        title=piece.title,
        caption="Both axes are logarithmic: a straight line is a power law. "
        "Bars are 95 % intervals." + note,
        data=data,
        draw=partial(_draw, study=study, data=data, axis=axis, metric=metric, title=piece.title),
    )


def _draw(axes: Axes, study: Study, data: pd.DataFrame, axis: str, metric: str, title: str) -> None:
    positive = data[data[metric] > 0]  # a logarithm has no room for zero; the data table does
    for name, look, points in styled(study, positive):
        line(axes, points, axis, metric, look, name)
    log_ticks(axes, "x", data[axis])
    log_ticks(axes, "y", positive[metric])
    axes.set_xlabel(AXES[axis])
    axes.set_ylabel(heading(metric))
    axes.set_title(elide(title, 58), loc="left")
    legend(axes)
