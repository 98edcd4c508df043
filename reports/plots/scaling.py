"""Memory and time against steps, width and batch, one drawing for each setting of the rest."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.judge.scaling import Series, series, sizes_swept
from reports.plots.base import NotDrawn, Plot, end_labels, left_out, log_axis, note, tip, titled
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
    start = next((s.answer.start for s in facts.settings if s.answer.start), None)
    batching = start.batching if start else "manual"
    for size in sizes_swept(study.cells):
        for metric in (study.memory, "step_time_ms"):
            found = series(study.cells, facts.held, metric, size, batching, most=MOST_SLICES)
            slices = {
                w: [s for s in found if s.where == w] for w in dict.fromkeys(s.where for s in found)
            }
            rest = [c for c in facts.held if c != size]
            count = study.cells.groupby(rest, dropna=False).ngroups
            cut = left_out(min(MOST_SLICES, count), count, "settings, those with most cells")
            for where, some in slices.items():
                drawn.append(_plot(size, metric, where, some, len(drawn) + 1, cut))
    if not drawn:
        raise NotDrawn(
            "no method has results at two widths, batch sizes or lengths with everything else equal"
        )
    return drawn


def _plot(size: str, metric: str, where: str, found: list[Series], number: int, cut: str) -> Plot:
    shown = found[:MOST_SERIES]
    batchings = sorted({s.batching for s in shown})
    caption = "Both axes are logarithmic."
    if any(s.theory is not None for s in shown):
        caption += " Dashed: the slope of theory for large sizes, through the last point."
    if any(_window_end(s) for s in shown):
        caption += " Dotted: up to here one window covers the sequence."
    data = pd.concat([s.points.assign(way=s.name, batching=s.batching) for s in found])
    names = {"x": size, "y": metric, "lo": f"{metric}_lo", "hi": f"{metric}_hi"}
    stem = "memory" if metric.startswith("memory") else "time"
    return Plot(
        name=f"{stem}_vs_{size}_{number}",
        section=f"{'Memory' if stem == 'memory' else 'Step time'} against {AXES[size]}",
        title=where,
        caption=f"{caption} Batching: {', '.join(batchings)}."
        + left_out(len(shown), len(found), "methods") + cut,
        data=data.rename(columns=names)[["way", "batching", *names.values(), "n"]],
        draw=partial(_draw, found=shown, size=size, metric=metric, title=where,
                     styles=looks(s.look for s in found)),
    )  # fmt: skip


def _window_end(one: Series) -> float | None:
    """The longest sequence that one window covered, where a longer one was measured."""
    if one.size != "n_steps":
        return None
    inside = one.points["window"] >= one.points["x"]
    return float(one.points["x"][inside].max()) if inside.any() and not inside.all() else None


def _draw(
    axes: Axes, found: list[Series], size: str, metric: str, title: str,
    styles: dict[tuple[str, str, str], Look],
) -> None:  # fmt: skip
    ends, ys = [], []
    for one in found:
        look, points = styles[one.look], one.points
        x, y = points["x"].to_numpy(), points["y"].to_numpy()
        low, high = points["lo"].fillna(points["y"]), points["hi"].fillna(points["y"])
        bars = (points["n"] > 1).to_numpy()
        axes.vlines(x[bars], low[bars], high[bars], color=look.colour, linewidth=0.9)
        axes.plot(x, y, color=look.colour, marker=look.marker, linestyle=look.dash,
                  markeredgewidth=0, label=one.name)  # fmt: skip
        if one.theory is not None and len(x) > 1:
            back = x[-1] / (x[-1] / x[-2]) ** 1.0
            axes.plot(
                [back, x[-1]],
                [y[-1] * (back / x[-1]) ** one.theory, y[-1]],
                color=look.colour,
                linewidth=0.8,
                linestyle=(0, (2, 2)),
                label="_",
            )
        end = _window_end(one)
        if end:
            axes.axvline(end, color=FAINT, linewidth=1, linestyle=(0, (1, 1.5)), zorder=0)
            note(axes, " one window", end, 0.02, transform=axes.get_xaxis_transform(), va="bottom")
        for a, b in zip(x, y, strict=True):
            tip(axes, a, b, f"{one.name}: {short(b)} at {size} = {a:g}")
        ends.append((x[-1], y[-1], one.name, look.colour))
        ys += [*y, *low[bars], *high[bars]]
    log_axis(axes, "x", np.concatenate([s.points["x"] for s in found]))
    log_axis(axes, "y", ys)
    axes.set_xlabel(AXES[size])
    axes.set_ylabel("ms per training step" if metric == "step_time_ms" else heading(metric))
    titled(axes, title)
    end_labels(axes, ends)
