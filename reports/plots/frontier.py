"""Memory against speed, each way of computing one point with its fidelity; the best trade-offs
joined.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from reports.columns import heading
from reports.drawing.canvas import FAINT, INK, NotDrawn, Plot, legend, log_ticks
from reports.drawing.series import styled
from reports.study import Study
from reports.text import elide, short
from reports.verdict import HELD, settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 30
TITLE = "Memory, speed and fidelity"
MOST_SETTINGS = 3
MOST_POINTS = 12


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no setting has two ways of computing with time and memory."""
    drawn = []
    choices = [c for c in settings(study) if len(c.cells) > 1 and c.cells[c.memory].gt(0).sum() > 1]
    for number, choice in enumerate(choices[:MOST_SETTINGS], 1):
        cells = choice.cells[choice.cells[choice.memory].gt(0)].nsmallest(
            MOST_POINTS, "step_time_ms"
        )
        title = study.setting(cells.iloc[0])
        failed = out_of_memory(study, cells.iloc[0])
        data = cells[
            ["variant", "batching", "backend", "step_time_ms", choice.memory, "grad_cosine"]
        ]
        data = data.assign(frontier=pareto(data, "step_time_ms", choice.memory)).reset_index(
            drop=True
        )
        drawn.append(
            Plot(
                name=f"frontier_{number}",
                section=TITLE,
                title=title,
                caption="Down and left is better. The number at a point is the cosine of "
                "its gradient to "
                "BPTT's; the grey line joins the ways that nothing beats in both time and memory."
                + (f" Out of memory here: {', '.join(failed)}." if failed else ""),
                data=data,
                draw=partial(
                    _draw,
                    study=study,
                    cells=cells,
                    data=data,
                    memory=choice.memory,
                    title=title,
                    failed=failed,
                ),
            )
        )
    if not drawn:
        raise NotDrawn("no setting has two ways of computing with both time and memory")
    return drawn


def pareto(data: pd.DataFrame, x: str, y: str) -> list[bool]:
    """Whether no other point is at least as small in both and smaller in one."""
    points = list(zip(data[x], data[y], strict=True))
    return [not any(p[0] <= q[0] and p[1] <= q[1] and p != q for p in points) for q in points]


def out_of_memory(study: Study, like: pd.Series) -> list[str]:
    """The ways of computing that ran out of memory at the setting of this cell."""
    table = study.table[study.table["status"].eq("oom")]
    same = [all(row[h] == like[h] for h in HELD) for _, row in table.iterrows()]
    return sorted({study.name(row) for _, row in table[same].iterrows()}) if same else []


def _draw(
    axes: Axes,
    study: Study,
    cells: pd.DataFrame,
    data: pd.DataFrame,
    memory: str,
    title: str,
    failed: list[str],
) -> None:
    front = data[data["frontier"]].sort_values("step_time_ms")
    axes.plot(front["step_time_ms"], front[memory], color=FAINT, linewidth=1.2, zorder=1)
    for name, look, points in styled(study, cells):
        axes.plot(
            points["step_time_ms"],
            points[memory],
            look.marker,
            color=look.colour,
            markersize=5,
            label=name,
            markeredgewidth=0,
        )
        for _, cell in points.iterrows():
            if cell["grad_cosine"] == cell["grad_cosine"]:
                axes.annotate(
                    short(cell["grad_cosine"]),
                    (cell["step_time_ms"], cell[memory]),
                    xytext=(4, 3),
                    textcoords="offset points",
                    fontsize=6,
                )
    for i, name in enumerate(failed[:4]):
        axes.text(
            0.98,
            0.97 - 0.07 * i,
            f"× {elide(name, 30)}: out of memory",
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=6.5,
            color=INK,
        )
    log_ticks(axes, "x", cells["step_time_ms"])
    log_ticks(axes, "y", cells[memory])
    axes.set_xlabel(heading("step_time_ms"))
    axes.set_ylabel(heading(memory))
    axes.set_title(elide(title, 58), loc="left")
    legend(axes)
