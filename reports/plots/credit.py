"""How much of BPTT's gradient each method keeps as sequences grow longer: where credit is lost."""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.axes import Axes

from reports.judge.rows import number, words
from reports.plots import base
from reports.plots.base import NotDrawn, Plot
from reports.plots.style import FAINT, MOST_SERIES, Look, looks_of
from reports.study import Study

ORDER = 25
TITLE = "Gradient cosine against the length of the sequence"
LEAST_LENGTHS = 3
MOST_SLICES = 4
EXACT = 1e-4  # a cosine this close to one is a line at the upper end


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no gradient was compared with BPTT's at three lengths."""
    settings = study.facts.settings
    ways = {w.method: w for s in settings for w in s.by_method}
    held = [c for c in study.facts.varied if c != "n_steps"]
    rows = [(words(s.row, held) or s.place, w.method, number(s.row["n_steps"]), w.cosine)
            for s in settings for w in s.by_method if w.cosine == w.cosine]  # fmt: skip
    table = pd.DataFrame(rows, columns=["where", "way", "n_steps", "grad_cosine"])
    table = table.sort_values("n_steps", kind="stable")
    lines = table.groupby(["where", "way"])
    table = table[lines["n_steps"].transform("size") >= LEAST_LENGTHS]
    slices = dict(list(table.groupby("where")))
    rich = sorted(slices, key=lambda where: -slices[where]["way"].nunique())[:MOST_SLICES]
    cut = base.left_out(len(rich), len(slices), "settings, those with most methods")
    drawn: list[Plot] = []
    for where in rich:
        kept = slices[where].groupby("way")["grad_cosine"].agg(["min", "last"])
        kept = kept.sort_values("last", ascending=False, kind="stable")["min"]
        exact, rest = kept.index[kept > 1 - EXACT], kept.index[kept <= 1 - EXACT]
        caption = (
            "The angle to BPTT's gradient at the initial weights: 1 is the same direction, 0 none."
            + f" At 1 throughout: {', '.join(exact)}." * bool(len(exact)) + cut
        )  # fmt: skip
        styles = looks_of(ways[name] for name in kept.index)
        for first in range(0, len(rest), MOST_SERIES):
            shown = [slices[where][slices[where]["way"].eq(name)]
                     for name in rest[first : first + MOST_SERIES]]  # fmt: skip
            points = pd.concat(shown).drop(columns="where")
            drawn.append(Plot(
                name=f"cosine_vs_n_steps_{len(drawn) + 1}",
                section=TITLE,
                title=where,
                caption=caption,
                data=points,
                draw=partial(_draw, points=points, styles=styles),
            ))  # fmt: skip
    if not drawn:
        raise NotDrawn("no gradient but exact ones was compared with BPTT's at three lengths")
    return drawn


def _draw(axes: Axes, points: pd.DataFrame, styles: dict[str, Look]) -> None:
    for cosine in (0, 1):
        axes.axhline(cosine, color=FAINT, linewidth=1, zorder=0, label="_")
    base.draw(axes, points, styles, "n_steps", "grad_cosine", log="x")
