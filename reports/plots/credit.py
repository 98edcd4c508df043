"""How much of BPTT's gradient each method keeps as sequences grow longer: where credit is lost."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from reports.judge import Setting, Way
from reports.judge.rows import number, words
from reports.plots import base
from reports.plots.base import NotDrawn, Plot
from reports.plots.style import FAINT, MOST_SERIES, Look, looks
from reports.study import Study
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 25
TITLE = "Gradient cosine against the length of the sequence"
LEAST_LENGTHS = 3
MOST_SLICES = 4
EXACT = 1e-4  # a cosine this close to one is a line at the upper end

Points = list[tuple[float, float]]  # length and cosine


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no gradient was compared with BPTT's at three lengths."""
    held = [c for c in study.facts.varied if c != "n_steps"]
    slices: dict[str, list[Setting]] = {}
    for setting in study.facts.settings:
        slices.setdefault(words(setting.row, held) or setting.place, []).append(setting)
    drawn: list[Plot] = []
    found = {where: lines for where, some in sorted(slices.items()) if (lines := _lines(some))}
    rich = sorted(found, key=lambda where: -len(found[where]))[:MOST_SLICES]
    cut = base.left_out(len(rich), len(found), "settings, those with most methods")
    for where in rich:
        lines = found[where]
        exact = [w.method for w, line in lines if all(c > 1 - EXACT for _, c in line)]
        rest = [(w, line) for w, line in lines if w.method not in exact]
        for first in range(0, len(rest), MOST_SERIES):
            shown = rest[first : first + MOST_SERIES]
            styles = looks(base.of_method(w) for w, _ in lines)
            drawn.append(_plot(where, shown, exact, cut, styles, len(drawn) + 1))
    if not drawn:
        raise NotDrawn("no gradient but exact ones was compared with BPTT's at three lengths")
    return drawn


def _lines(settings: list[Setting]) -> list[tuple[Way, Points]]:
    """Each method with its points, those that keep most at the longest sequence first."""
    found: dict[str, tuple[Way, Points]] = {}
    for setting in sorted(settings, key=lambda s: number(s.row["n_steps"])):
        for way in setting.by_method:
            if way.cosine == way.cosine:
                point = number(setting.row["n_steps"]), way.cosine
                found.setdefault(way.method, (way, []))[1].append(point)
    long = [line for line in found.values() if len(line[1]) >= LEAST_LENGTHS]
    return sorted(long, key=lambda line: -line[1][-1][1])


def _plot(
    where: str, shown: list[tuple[Way, Points]], exact: list[str], cut: str,
    styles: dict[tuple[str, str, str], Look], number: int,
) -> Plot:  # fmt: skip
    caption = (
        "The angle to BPTT's gradient at the initial weights: 1 is the same direction, 0 none."
    )
    if exact:
        caption += f" At 1 throughout: {', '.join(exact)}."
    rows = [(way.method, *point) for way, line in shown for point in line]
    return Plot(
        name=f"cosine_vs_n_steps_{number}",
        section=TITLE,
        title=where,
        caption=caption + cut,
        data=pd.DataFrame(rows, columns=["way", "n_steps", "grad_cosine"]),
        draw=partial(_draw, where=where, shown=shown, styles=styles),
    )


def _draw(
    axes: Axes, where: str, shown: list[tuple[Way, Points]],
    styles: dict[tuple[str, str, str], Look],
) -> None:  # fmt: skip
    axes.axhline(1, color=FAINT, linewidth=1, zorder=0, label="_")
    axes.axhline(0, color=FAINT, linewidth=1, zorder=0, label="_")
    for way, line in shown:
        look, (x, y) = styles[base.of_method(way)], zip(*line, strict=True)
        axes.plot(x, y, look.marker, color=look.colour, linestyle=look.dash, label=way.method)
        for steps, cosine in line:
            base.tip(axes, steps, cosine, f"{way.method}: {short(cosine)} at T = {steps:g}")
    base.log_axis(axes, "x", [steps for _, line in shown for steps, _ in line])
    axes.set_xlabel("time steps in a sequence, T")
    axes.set_ylabel("cosine to BPTT's gradient")
    axes.set_title(base.folded(where, base.TITLE_WIDTH))
    base.legend(axes)
