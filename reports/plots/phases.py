"""Where the time goes before and during training: tracing, lowering, compiling, the first call."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from reports.drawing.canvas import NotDrawn, Plot, legend
from reports.drawing.palette import COLOURS
from reports.study import Study
from reports.text import elide
from reports.verdict import settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 50
TITLE = "Time by phase"
PHASES = {
    "trace_s": "trace",
    "lower_s": "lower",
    "compile_s": "compile",
    "first_call_s": "first call",
}
STEPS = 100  # training steps set beside the phases that are paid once
MOST_SETTINGS = 2
MOST_BARS = 10


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no cell has its phases recorded."""
    drawn = []
    for number, choice in enumerate(settings(study)[:MOST_SETTINGS], 1):
        cells = choice.cells.dropna(subset=list(PHASES)).nsmallest(MOST_BARS, "step_time_ms")
        if cells.empty:
            continue
        data = pd.DataFrame(
            {
                "way": [study.name(cell) for _, cell in cells.iterrows()],
                **{words: cells[column].to_numpy() for column, words in PHASES.items()},
                f"{STEPS} steps": cells["step_time_ms"].to_numpy() * STEPS / 1e3,
            }
        )
        title = study.setting(cells.iloc[0])
        drawn.append(
            Plot(
                name=f"phases_{number}",
                section=TITLE,
                title=title,
                caption=f"Seconds paid once, beside {STEPS} training steps in the steady state.",
                data=data,
                draw=partial(_draw, data=data, title=title),
            )
        )
    if not drawn:
        raise NotDrawn("no cell has tracing, lowering, compiling and the first call recorded")
    return drawn


def _draw(axes: Axes, data: pd.DataFrame, title: str) -> None:
    names = data["way"].tolist()[::-1]
    left = pd.Series(0.0, index=range(len(names)))
    for colour, phase in zip(COLOURS, data.columns[1:], strict=False):
        widths = data[phase][::-1].reset_index(drop=True)
        axes.barh(range(len(names)), widths, left=left, height=0.66, color=colour, label=phase)
        left += widths
    axes.set_yticks(range(len(names)), [elide(name, 30) for name in names])
    axes.grid(False, axis="y")
    axes.set_xlabel("seconds")
    axes.set_title(elide(title, 58), loc="left")
    legend(axes)
