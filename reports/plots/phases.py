"""Where the time goes before and during training: tracing, lowering, compiling, the first call."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from reports.choice import settings
from reports.drawing.canvas import SIZE_IN, NotDrawn, Plot, legend, shortened
from reports.drawing.palette import COLOURS
from reports.drawing.series import MOST_WAYS, left_out, panels
from reports.study import Study
from reports.text import elide

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
LONGEST = 31  # characters of a line beside a bar
LINE_IN, MARGIN_IN = 0.13, 1.1  # a line of a bar's name; what stands around the bars


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no cell has its phases recorded."""
    drawn: list[Plot] = []
    choices = [c.cells.dropna(subset=list(PHASES)) for c in settings(study)]
    choices = [cells for cells in choices if len(cells)]
    for whole in choices[:MOST_SETTINGS]:
        cells = whole.nsmallest(MOST_WAYS, "step_time_ms")
        note = left_out(len(cells), len(whole), "the {} fastest ways") + left_out(
            min(MOST_SETTINGS, len(choices)), len(choices), "{} settings"
        )
        parts = [(panel.title, _seconds(study, panel.cells)) for panel in panels(study, cells)]
        most = max(data.iloc[:, 1:].sum(axis=1).max() for _, data in parts)
        drawn += [
            Plot(
                name=f"phases_{number}",
                section=TITLE,
                title=title,
                caption=f"Seconds paid once, beside {STEPS} training steps in the steady state."
                + note,
                data=data,
                draw=partial(_draw, data=data, title=title, most=most),
                height=max(SIZE_IN[1], MARGIN_IN + LINE_IN * _lines(data["way"])),
            )
            for number, (title, data) in enumerate(parts, len(drawn) + 1)
        ]
    if not drawn:
        raise NotDrawn("no cell has tracing, lowering, compiling and the first call recorded")
    return drawn


def _seconds(study: Study, cells: pd.DataFrame) -> pd.DataFrame:
    """The way of each cell, and its seconds in each phase."""
    return pd.DataFrame(
        {
            "way": [study.name(cell) for _, cell in cells.iterrows()],
            **{words: cells[column].to_numpy() for column, words in PHASES.items()},
            f"{STEPS} steps": cells["step_time_ms"].to_numpy() * STEPS / 1e3,
        }
    )


def _draw(axes: Axes, data: pd.DataFrame, title: str, most: float) -> None:
    names = data["way"].tolist()[::-1]
    left = pd.Series(0.0, index=range(len(names)))
    for colour, phase in zip(COLOURS, data.columns[1:], strict=False):
        widths = data[phase][::-1].reset_index(drop=True)
        axes.barh(range(len(names)), widths, left=left, height=0.66, color=colour, label=phase)
        left += widths
    axes.set_yticks(range(len(names)), shortened([_broken(n) for n in names], LONGEST))
    axes.grid(False, axis="y")
    # The same in all drawings of a setting, however long their names are.
    axes.set_xlim(0, 1.05 * most)
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel("seconds")
    axes.set_title(elide(title, 58), loc="left")
    legend(axes)


def _broken(name: str) -> str:
    """A long name on two lines: the variant, then its batching and backend."""
    return name.replace(" · ", "\n", 1) if len(name) > LONGEST else name


def _lines(names: pd.Series) -> int:
    """How many lines the bars' names need, all bars being equally high."""
    return len(names) * max(1 + _broken(name).count("\n") for name in names)
