"""What the fresh seeds of every contestant came to on the test data."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.judge.contest import Entry, Match
from reports.plots.base import NotDrawn, Plot, folded, tip
from reports.plots.style import COLOURS
from reports.records.columns import heading
from reports.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 5
TITLE = "Contest: test scores of fresh seeds"


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn where nothing was tuned."""
    found = [m for m in study.contests if any(e.scores for e in m.entries)]
    if not found:
        raise NotDrawn("nothing was tuned with the same effort for all (tune=N)")
    return [_plot(match, i) for i, match in enumerate(found, 1)]


def _plot(match: Match, number: int) -> Plot:
    entries = sorted((e for e in match.entries if e.scores), key=lambda e: (e.mean, e.name))
    data = pd.DataFrame(
        [
            {"way": e.name, "seed": seed, match.metric: value}
            for e in reversed(entries)
            for seed, value in e.scores.items()
        ]
    )
    return Plot(
        name=f"contest_{number}",
        section=TITLE,
        title=f"{match.where.get('task')} · {match.where.get('model')}",
        caption="Dots: seeds, each at the point that its way chose by validation data; bars: their "
                "means. Filled: not told apart from the best. Grey line: guessing.",
        data=data,
        draw=partial(_draw, entries=entries, chance=match.chance, label=heading(match.metric)),
        place="first" if number == 1 else "more",
    )  # fmt: skip


def _draw(axes: Axes, entries: list[Entry], chance: float, label: str) -> None:
    for row, entry in enumerate(entries):
        values = np.array(list(entry.scores.values()))
        face = COLOURS[0] if entry.best == "first" else "none"
        rows = np.full(len(values), row)
        axes.plot(values, rows, "o", color=COLOURS[0], markerfacecolor=face, markersize=4)
        axes.plot([entry.mean] * 2, [row - 0.3, row + 0.3], color=COLOURS[0])
        tip(axes, entry.mean, row, f"{entry.name}: {entry.mean:.3f} over {len(values)} seeds")
    if chance == chance:
        axes.axvline(chance, color="0.6", linewidth=1)
    axes.set_yticks(range(len(entries)), [folded(e.name, 24) for e in entries])
    axes.set_ylim(-0.6, len(entries) - 0.4)
    axes.set_xlabel(label)
