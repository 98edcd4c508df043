"""What is paid once before training, beside the steps themselves."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from reports.plots.base import SIZE_IN, NotDrawn, Plot, folded, left_out, legend, titled
from reports.plots.style import COLOURS
from reports.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 50
TITLE = "Seconds by phase"
PHASES = {
    "trace_s": "trace",
    "lower_s": "lower",
    "compile_s": "compile",
    "first_call_s": "first call",
}
STEPS = 100  # training steps set beside the phases that are paid once
MOST_WAYS = 12
ROW_IN, MARGIN_IN = 0.22, 1.1  # a bar with its name; what stands around the bars


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no cell has its phases recorded."""
    cells = study.cells
    cells = cells.dropna(subset=[*PHASES, "step_time_ms"]) if len(cells) else cells
    for setting in study.facts.settings:
        some = cells[cells["setting"].eq(setting.id)] if len(cells) else cells
        if some.empty:
            continue
        chosen = some.nsmallest(MOST_WAYS, "step_time_ms")
        data = pd.DataFrame({
            "way": chosen["way"].tolist(),
            **{words: chosen[column].to_numpy(dtype=float) for column, words in PHASES.items()},
            f"{STEPS} steps": chosen["step_time_ms"].to_numpy(dtype=float) * STEPS / 1e3,
        })  # fmt: skip
        return [
            Plot(
                name="phases",
                section=TITLE,
                title=setting.name or setting.whole,
                caption=f"Seconds paid once, beside {STEPS} training steps."
                + left_out(len(chosen), len(some), "ways, the fastest"),
                data=data,
                draw=partial(_draw, data=data, title=setting.name),
                height=max(SIZE_IN[1], MARGIN_IN + ROW_IN * len(data)),
                place="folded",
            )
        ]
    raise NotDrawn("no cell has tracing, lowering, compiling and the first call recorded")


def _draw(axes: Axes, data: pd.DataFrame, title: str) -> None:
    names = data["way"].tolist()[::-1]
    left = pd.Series(0.0, index=range(len(names)))
    for colour, phase in zip(COLOURS, data.columns[1:], strict=False):
        widths = data[phase][::-1].reset_index(drop=True)
        axes.barh(range(len(names)), widths, left=left, height=0.66, color=colour, label=phase)
        left += widths
    axes.set_yticks(range(len(names)), [folded(n, 31) for n in names])
    axes.grid(False, axis="y")
    axes.set_xlim(0, 1.05 * left.max())
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel("seconds")
    titled(axes, title)
    legend(axes)
