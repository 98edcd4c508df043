"""Memory and time against steps, width and batch, one drawing for each setting of the rest."""

from __future__ import annotations

from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.judge.scaling import LEAST_SIZES, TIME, Series, series, sizes_swept
from reports.plots import base
from reports.plots.base import NotDrawn, Plot
from reports.plots.style import FAINT, MOST_SERIES, Look, looks
from reports.records.columns import heading
from reports.study import Study
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 30
TITLE = "Memory and time against steps, width and batch"
AXES = {"n_steps": "time steps in a sequence, T", "n_hidden": "hidden neurons, H",
        "batch_size": "batch size, B"}  # fmt: skip
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
    if any(_window_end(s) for s in shown):
        caption += " Dotted: up to here one window covers the sequence."
    if any(s.points["contended"].any() for s in shown):
        caption += " Open marks: measured under contention."
    data = pd.concat([s.points.assign(way=s.name, batching=s.way.batching) for s in found])
    names = {"x": size, "y": metric, "lo": f"{metric}_lo", "hi": f"{metric}_hi"}
    batchings = ", ".join(sorted({s.way.batching for s in shown}))
    return Plot(
        name=f"{stem}_vs_{size}_{number}",
        section=f"{title} against {AXES[size]}",
        title=first.where,
        caption=f"{caption} Batching: {batchings}."
        + base.left_out(len(shown), len(found), "methods") + cut,
        data=data.rename(columns=names)[["way", "batching", *names.values(), "n"]],
        draw=partial(_draw, found=shown, styles=looks(base.of_method(s.way) for s in found)),
    )  # fmt: skip


def _slope(one: Series) -> float | None:
    """Theory's exponent, where there are sizes enough to hold it against."""
    return one.theory if len(one.points) >= LEAST_SIZES else None


def _window_end(one: Series) -> float | None:
    """The longest sequence that one window covered, where a longer one was measured."""
    inside = one.points["window"] >= one.points["x"]
    known = one.size == "n_steps" and inside.any() and not inside.all()
    return float(one.points["x"][inside].max()) if known else None


def _draw(axes: Axes, found: list[Series], styles: dict[tuple[str, str, str], Look]) -> None:
    size, metric = found[0].size, found[0].metric
    ys: list[float] = []
    for one in found:
        look, points = styles[base.of_method(one.way)], one.points
        x, y = points["x"].to_numpy(), points["y"].to_numpy()
        bars = points[points["n"].gt(1) & points["lo"].notna()]
        axes.vlines(bars["x"], bars["lo"], bars["hi"], color=look.colour, linewidth=0.9)
        axes.plot(x, y, color=look.colour, linestyle=look.dash, label=one.name)
        busy = points["contended"].to_numpy(dtype=bool)
        for some, fill in ((~busy, "full"), (busy, "none")):
            axes.plot(x[some], y[some], look.marker, color=look.colour, fillstyle=fill,
                      markeredgewidth=int(fill == "none"), label="_")  # fmt: skip
        slope = _slope(one)
        if slope is not None:
            line = y[-1] * (x[-2:] / x[-1]) ** slope
            axes.plot(x[-2:], line, color=look.colour, linewidth=0.8, linestyle=(0, (2, 2)),
                      label="_")  # fmt: skip
        end = _window_end(one)
        if end:
            axes.axvline(end, color=FAINT, linewidth=1, linestyle=(0, (1, 1.5)), zorder=0)
            base.note(
                axes, " one window", end, 0.02, transform=axes.get_xaxis_transform(), va="bottom"
            )
        for a, b in zip(x, y, strict=True):
            base.tip(axes, a, b, f"{one.name}: {short(b)} at {size} = {a:g}")
        ys += [*y, *bars["lo"], *bars["hi"]]
    base.log_axis(axes, "x", np.concatenate([s.points["x"] for s in found]))
    base.log_axis(axes, "y", ys)
    axes.set_xlabel(AXES[size])
    axes.set_ylabel("ms per training step" if metric == TIME else heading(metric))
    axes.set_title(base.folded(found[0].where, base.TITLE_WIDTH))
    base.legend(axes)
