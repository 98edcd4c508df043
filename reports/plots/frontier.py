"""Time against memory, one mark a way, with intervals; the Pareto front joined."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from reports.judge import Setting, Way
from reports.plots.base import (
    NotDrawn,
    Plot,
    faint_line,
    left_out,
    log_axis,
    of_way,
    point_labels,
    tip,
    titled,
)
from reports.plots.style import PAPER, looks
from reports.records.columns import heading
from reports.study import Study
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 20
TITLE = "Time against memory"
MOST_SETTINGS = 2
MOST_WAYS = 30
MOST_NAMED = 9


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no setting has two ways with time and memory."""
    drawn: list[Plot] = []
    firsts = {group[0].id for group in study.facts.groups[:2]}
    for setting in study.facts.settings[:MOST_SETTINGS]:
        placed = [w for w in setting.ways if w.time and w.mib > 0]
        if len(placed) < 2:
            continue
        front = pareto([(w.ms, w.mib) for w in placed])
        ranked = sorted(placed, key=lambda w: (not front[placed.index(w)], w.ms, w.name))
        shown = ranked[:MOST_WAYS]
        drawn.append(
            Plot(
                name=f"frontier_{len(drawn) + 1}",
                section=TITLE,
                title=setting.whole if setting.id in firsts else setting.name or setting.whole,
                caption=_caption(setting, placed) + left_out(len(shown), len(placed), "ways"),
                data=_data(setting, placed, front),
                draw=partial(
                    _draw,
                    setting=setting,
                    ways=shown,
                    joined=[w for w, f in zip(placed, front, strict=True) if f],
                    styles=looks(of_way(w) for s in study.facts.settings for w in s.ways),
                ),
                place="first" if setting.id in firsts else "more",
            )
        )
    if not drawn:
        raise NotDrawn("no setting has two ways with both time and memory")
    return drawn


def pareto(points: list[tuple[float, float]]) -> list[bool]:
    """Whether no other point is at least as small in both and smaller in one."""
    return [not any(p[0] <= q[0] and p[1] <= q[1] and p != q for p in points) for q in points]


def _caption(setting: Setting, ways: list[Way]) -> str:
    front = pareto([(w.ms, w.mib) for w in ways])
    said = "Down and left is better" + "; the grey line is the Pareto front." * (sum(front) > 1)
    said = said.rstrip(".") + "."
    counts = {w.time.n for w in ways if w.time}
    if max(counts) > 2:
        said += " Bars: 95 % intervals between processes."
    elif max(counts) == 1:
        said += " One process each, so there are no intervals."
    if any(setting.answer.why and setting.answer.why.get(w.name) for w in ways):
        said += " Open marks: ways that do not qualify (see the table)."
    if any(w.time and w.time.contended for w in ways):
        said += " * measured under contention."
    out = [w.name for w in setting.ways if w.failed.get("oom") and not w.ok]
    return said + (f" Out of memory: {', '.join(out)}." if out else "")


def _data(setting: Setting, ways: list[Way], front: list[bool]) -> pd.DataFrame:
    return pd.DataFrame([{
        "way": w.name, "step_time_ms": w.ms, "step_time_ms_lo": w.time.ms.low,
        "step_time_ms_hi": w.time.ms.high, "processes": w.time.n, "contended": w.time.contended,
        setting.memory: w.mib, "pareto_front": f,
    } for w, f in zip(ways, front, strict=True) if w.time])  # fmt: skip


def _draw(axes: Axes, setting: Setting, ways: list[Way], joined: list[Way], styles: dict) -> None:
    line = sorted((w.ms, w.mib) for w in joined)
    steps = [line[0], *((x, y) for (_, b), (x, d) in itertools.pairwise(line)
                        for y in (b, d))]  # fmt: skip
    faint_line(axes, [x for x, _ in steps], [y for _, y in steps])
    why = setting.answer.why or {}
    xs, ys, named = [], [], []
    for way in ways:
        if not way.time:
            continue
        look, open_ = styles[of_way(way)], bool(why.get(way.name))
        xs.append(way.ms)
        ys.append(way.mib)
        interval = way.time.ms
        if interval.kind and way.time.n > 1:
            axes.plot([interval.low, interval.high], [way.mib] * 2, color=look.colour, linewidth=1)
            xs += [interval.low, interval.high]
        axes.plot(
            way.ms, way.mib, look.marker, color=look.colour, markersize=6, label=way.name,
            fillstyle="none" if open_ else "full",
            # A rim in the colour of the paper keeps marks apart that cover each other.
            markeredgecolor=look.colour if open_ else PAPER, markeredgewidth=1 if open_ else 0.5,
        )  # fmt: skip
        tip(axes, way.ms, way.mib, f"{way.name}: {short(way.ms)} ms, {short(way.mib)} MiB")
        named.append((way.ms, way.mib, way.name + "*" * way.time.contended))
    log_axis(axes, "x", xs)
    log_axis(axes, "y", ys)
    axes.set_xlabel(f"{heading('step_time_ms').split(' (')[0]} (ms per training step)")
    axes.set_ylabel(heading(setting.memory))
    titled(axes, setting.name or setting.whole)
    point_labels(axes, named[:MOST_NAMED], [(x, y) for x, y, _ in named])
