"""What the fresh seeds of every contestant came to on the test data."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes

from reports.judge.contest import Match
from reports.plots.base import NotDrawn, Plot, folded, tip
from reports.plots.style import COLOURS
from reports.records.columns import heading
from reports.study import Study

ORDER = 5
TITLE = "Contest: test scores of fresh seeds"


def make(study: Study) -> list[Plot]:
    found = [m for m in study.contests if any(e.scores for e in m.entries)]
    if not found:
        raise NotDrawn("nothing was tuned with the same effort for all (tune=N)")
    return [_plot(match, i) for i, match in enumerate(found, 1)]


def _plot(match: Match, nth: int) -> Plot:
    entries = sorted((e for e in match.entries if e.scores), key=lambda e: (-e.mean, e.name))
    chance = next((e.way.learned.chance for e in entries if e.way.learned), math.nan)

    def draw(axes: Axes) -> None:
        for row, entry in enumerate(entries):
            values = list(entry.scores.values())
            face = COLOURS[0] if entry.best == "first" else "none"
            axes.plot(values, [row] * len(values), "o", color=COLOURS[0], markerfacecolor=face)
            axes.plot([entry.mean] * 2, [row - 0.3, row + 0.3], color=COLOURS[0])
            tip(axes, entry.mean, row, f"{entry.name}: {entry.mean:.3f} over {len(values)} seeds")
        if chance == chance:
            axes.axvline(chance, color="0.6", linewidth=1)
        axes.set_yticks(range(len(entries)), [folded(e.name, 24) for e in entries])
        axes.set_ylim(len(entries) - 0.4, -0.6)  # the best on top
        axes.set_xlabel(heading(match.setting.metric))

    return Plot(
        name=f"contest_{nth}",
        section=TITLE,
        title=match.name,
        caption="Dots: seeds, each at the point that its way chose by validation data; bars: their "
                "means. Filled: as good as the best, as far as the seeds can tell."
                + " Grey line: guessing." * (chance == chance),
        data=pd.DataFrame([{"way": e.name, "seed": seed, match.setting.metric: value}
                           for e in entries for seed, value in e.scores.items()]),
        draw=draw,
        first=nth == 1,
    )  # fmt: skip
