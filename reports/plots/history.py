"""A metric over commits on one machine, with the levels between its change points."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from reports.history import History, history
from reports.plots.base import NotDrawn, Plot, folded, left_out, note
from reports.plots.style import COLOURS
from reports.records.columns import heading
from reports.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 70
TITLE = "History over commits"
LEAST = 3  # commits that make a history worth drawing
MOST_SERIES = 9


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no cell was measured at three commits on one machine."""
    commits = {str((r.get("provenance") or {}).get("commit")) for r in study.sweeps.records}
    several = len(commits) >= LEAST
    series = [s for s in history(study.sweeps) if len(s.points) >= LEAST] if several else []
    if not series:
        raise NotDrawn(f"no cell was measured at {LEAST} commits on one machine")
    # Constant series say nothing in a drawing.
    moving = [s for s in series if s.points["value"].nunique() > 1] or series
    cut = left_out(min(MOST_SERIES, len(moving)), len(moving), "series")
    return [
        Plot(
            name=f"history_{i}",
            section=TITLE,
            title=s.cell,
            caption=f"{s.cell} on {s.machine}: {_changes(s)}.{cut}",
            data=s.points,
            draw=partial(_draw, series=s),
        )
        for i, s in enumerate(moving[:MOST_SERIES], 1)
    ]


def _changes(series: History) -> str:
    told = [f"{change.ratio - 1:+.1%} at {change.after}" for change in series.changes]
    return "; ".join(told) or "no change point"


def _draw(axes: Axes, series: History) -> None:
    values = series.points["value"].to_numpy(dtype=float)
    commits = series.points["commit"].tolist()
    axes.plot(values, "o", color=COLOURS[0], markeredgewidth=0)
    starts = [commits.index(c.after) for c in series.changes]
    for start, end in zip([0, *starts], [*starts, len(values)], strict=True):
        axes.hlines(np.median(values[start:end]), start - 0.4, end - 0.6, color=COLOURS[0])
    for start, change in zip(starts, series.changes, strict=True):
        axes.axvline(start - 0.5, color=COLOURS[1], linestyle=(0, (3, 2)), linewidth=1)
        note(axes, f" {change.ratio - 1:+.0%}", start - 0.5, 0.99,
             transform=axes.get_xaxis_transform(), va="top")  # fmt: skip
    shown = np.unique(np.linspace(0, len(commits) - 1, min(len(commits), 6)).round().astype(int))
    axes.set_xticks(shown, [commits[i][:7] for i in shown], rotation=30, ha="right")
    axes.set_ylim(0, values.max() * 1.15)
    axes.set_ylabel(heading(series.metric))
    axes.set_title(folded(series.cell, 70), fontsize=7)
