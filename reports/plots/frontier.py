"""Memory against speed, each way of computing one point with its fidelity; the best trade-offs
joined.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from reports.choice import settings, without_gradient
from reports.drawing.canvas import (
    FAINT,
    INK,
    PAPER,
    NotDrawn,
    Plot,
    label_points,
    legend,
    log_ticks,
)
from reports.drawing.series import MOST_WAYS, left_out, panels, styled
from reports.records.columns import HELD, SERIES, heading
from reports.study import Slice, Study
from reports.text import elide, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 30
TITLE = "Memory, speed and fidelity"
MOST_SETTINGS = 3


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no setting has two ways of computing with time and memory."""
    drawn: list[Plot] = []
    choices = [c for c in settings(study) if len(c.cells) > 1 and c.cells[c.memory].gt(0).sum() > 1]
    for choice in choices[:MOST_SETTINGS]:
        cells, ways = drawable(study, choice.cells, choice.memory)
        failed = out_of_memory(study, cells.iloc[0])
        columns = [*SERIES, "step_time_ms", choice.memory, "grad_cosine"]
        note = (
            left_out(len(cells), ways, "the best trade-offs and the fastest others, {} ways")
            + left_out(min(MOST_SETTINGS, len(choices)), len(choices), "{} settings")
            + (f" Out of memory here: {', '.join(failed)}." if failed else "")
        )
        drawn += [
            Plot(
                name=f"frontier_{number}",
                section=TITLE,
                title=panel.title,
                caption=_caption(study, cells, panel) + note,
                data=panel.cells[[*columns, "no_gradient", "frontier"]].reset_index(drop=True),
                draw=partial(
                    _draw,
                    study=study,
                    cells=cells,
                    panel=panel,
                    memory=choice.memory,
                    failed=failed,
                ),
            )
            for number, panel in enumerate(panels(study, cells), len(drawn) + 1)
        ]
    if not drawn:
        raise NotDrawn("no setting has two ways of computing with both time and memory")
    return drawn


def drawable(study: Study, cells: pd.DataFrame, memory: str) -> tuple[pd.DataFrame, int]:
    """The cells to be drawn, the best trade-offs and then the fastest, and how many there were.

    `no_gradient` counts the weights of a cell that get no gradient in one of its processes.
    """
    placed = cells[cells[memory].gt(0)]
    placed = placed.assign(frontier=pareto(placed, "step_time_ms", memory))
    best_first = placed.sort_values(["frontier", "step_time_ms"], ascending=[False, True])
    chosen = best_first.head(MOST_WAYS)
    silent = [without_gradient(study, cell)[0] for _, cell in chosen.iterrows()]
    return chosen.assign(no_gradient=silent), len(placed)


def _caption(study: Study, cells: pd.DataFrame, panel: Slice) -> str:
    front = cells[cells["frontier"]]
    if len(front) == 1:
        words, where = (
            f"{study.name(front.iloc[0])} needs the least time and the least memory",
            "it",
        )
    else:
        words = "The grey line joins the ways that nothing beats in both time and memory"
        where = "each of them"
    if front["grad_cosine"].notna().any():
        words += f"; the number at {where} is the cosine of its gradient to BPTT's"
    if panel.cells["no_gradient"].any():
        words += ". Open markers: some weights get no gradient at all, so they do not train"
    if len(panel.cells) < len(cells):
        words += ". Grey points are the ways of this setting that the other drawings name"
    return f"Down and left is better. {words}."


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
    panel: Slice,
    memory: str,
    failed: list[str],
) -> None:
    front = cells[cells["frontier"]].sort_values("step_time_ms")
    axes.plot(front["step_time_ms"], front[memory], color=FAINT, linewidth=1.2, zorder=1)
    others = cells.drop(index=panel.cells.index)
    if len(others):
        axes.plot(others["step_time_ms"], others[memory], "o", color=FAINT, markersize=3, zorder=1)
    for name, look, points in styled(study, panel.cells):
        hollow = bool(points["no_gradient"].any())
        axes.plot(
            points["step_time_ms"],
            points[memory],
            look.marker,
            color=look.colour,
            markersize=5,
            label=name,
            fillstyle="none" if hollow else "full",
            # A rim in the colour of the paper keeps markers apart that cover each other.
            markeredgecolor=look.colour if hollow else PAPER,
            markeredgewidth=1 if hollow else 0.5,
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
    axes.set_title(elide(panel.title, 58), loc="left")
    legend(axes)
    told = front.dropna(subset=["grad_cosine"])[["step_time_ms", memory, "grad_cosine"]]
    label_points(
        axes,
        [(x, y, short(cosine)) for x, y, cosine in told.itertuples(index=False)],
        cells[["step_time_ms", memory]],
    )
