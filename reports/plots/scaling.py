"""Memory and time against steps, width and batch, one drawing for each setting of the rest."""

from __future__ import annotations

from functools import partial
from itertools import groupby

import pandas as pd
from matplotlib.axes import Axes

from reports.judge.scaling import LEAST_SIZES, TIME, Series, series, sizes_swept
from reports.plots import base
from reports.plots.base import NotDrawn, Plot
from reports.plots.style import FAINT, MOST_SERIES, looks_of
from reports.study import Study

ORDER = 30
TITLE = "Memory and time against steps, width and batch"
MOST_SLICES = 3  # of one metric against one size; the others are in the results table


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no method ran at two sizes with everything else equal."""
    facts = study.facts
    drawn: list[Plot] = []
    for size in sizes_swept(facts):
        for metric in (facts.memory, TIME):
            found = series(facts, facts.settings, metric, size)
            slices = [list(some) for _, some in groupby(found, key=lambda s: s.where)]
            rich = sorted(slices, key=lambda some: -sum(len(s.points) for s in some))[:MOST_SLICES]
            cut = base.left_out(len(rich), len(slices), "settings, those with most cells")
            drawn += [_plot(some, len(drawn) + i, cut) for i, some in enumerate(rich, 1)]
    if not drawn:
        raise NotDrawn(
            "no method has results at two widths, batch sizes or lengths with everything else equal"
        )
    return drawn


def _plot(found: list[Series], number: int, cut: str) -> Plot:
    shown, first = found[:MOST_SERIES], found[0]
    size, metric = first.size, first.metric
    stem, title = ("time", "Step time") if metric == TIME else ("memory", "Memory")
    caption = "Both axes are logarithmic."
    if any(_slope(s) is not None for s in shown):
        caption += " Dashed: the slope of theory for large sizes, through the last point."
    if any(map(_window_end, shown)):
        caption += " Dotted: up to here one window covers the sequence."
    if any(s.points["contended"].any() for s in shown):
        caption += " Open marks: measured under contention."
    batchings = ", ".join(sorted({s.way.batching for s in shown}))
    caption += f" Batching: {batchings}.{base.left_out(len(shown), len(found), 'methods')}{cut}"
    names = {"x": size, "y": metric, "lo": f"{metric}_lo", "hi": f"{metric}_hi"}
    data = pd.concat([s.points.assign(way=s.name, batching=s.way.batching) for s in found])
    data = data.rename(columns=names)[["way", "batching", *names.values(), "n", "contended"]]
    return Plot(
        name=f"{stem}_vs_{size}_{number}",
        section=f"{title} against {base.LABELS[size]}",
        title=first.where,
        caption=caption,
        data=data,
        draw=partial(_draw, found=shown, data=data),
    )


def _slope(one: Series) -> float | None:
    """Theory's exponent, where there are sizes enough to hold it against."""
    return one.theory if len(one.points) >= LEAST_SIZES else None


def _window_end(one: Series) -> float | None:
    """The longest sequence that one window covered, where a longer one was measured."""
    inside = one.points["window"] >= one.points["x"]
    known = one.size == "n_steps" and inside.any() and not inside.all()
    return float(one.points["x"][inside].max()) if known else None


def _draw(axes: Axes, found: list[Series], data: pd.DataFrame) -> None:
    size, metric = found[0].size, found[0].metric
    styles = looks_of(s.way for s in found)
    points = data[data["way"].isin(styles)]
    ends = [f"{metric}_lo", f"{metric}_hi"]
    points = points.assign(**points[ends].where(points["n"] > 1))  # one process has but its own
    base.draw(axes, points, styles, size, metric, hollow="contended")
    for one in found:
        x, y = (one.points[c].to_numpy()[-2:] for c in ("x", "y"))
        if (slope := _slope(one)) is not None:
            axes.plot(x, y[-1] * (x / x[-1]) ** slope, color=styles[one.name].colour, label="_",
                      linewidth=0.8, linestyle=(0, (2, 2)))  # fmt: skip
        if end := _window_end(one):
            axes.axvline(end, color=FAINT, linewidth=1, linestyle=(0, (1, 1.5)), zorder=0)
            base.note(axes, " one window", end, 0.02, transform=axes.get_xaxis_transform(),
                      va="bottom")  # fmt: skip
