"""Time against memory, one mark a way, with intervals; the Pareto front joined."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from reports.judge import Setting, Way
from reports.plots.base import (
    TITLE_WIDTH,
    NotDrawn,
    Plot,
    folded,
    left_out,
    legend,
    log_axis,
    of_way,
    tip,
)
from reports.plots.style import FAINT, PAPER, Look, looks
from reports.records.columns import heading
from reports.study import Study
from reports.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 20
TITLE = "Time against memory"
MOST_SETTINGS = 2
MOST_WAYS = 9


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no setting has two ways with time and memory."""
    facts = study.facts
    styles = looks(of_way(w) for s in facts.settings for w in s.ways)
    drawn: list[Plot] = []
    for setting in facts.settings[:MOST_SETTINGS]:
        placed = [w for w in setting.ways if w.time and w.mib > 0]
        if len(placed) < 2:
            continue
        # Times that were measured under contention are not compared, so they make no front.
        calm = not any(w.contended for w in placed)
        best = pareto([(w.ms, w.mib) for w in placed])
        front = {w: calm and b for w, b in zip(placed, best, strict=True)}
        shown = sorted(placed, key=lambda w: (not front[w], w.ms, w.name))[:MOST_WAYS]
        data = pd.DataFrame([{
            "way": w.name, "step_time_ms": w.ms, "step_time_ms_lo": w.time.ms.low,
            "step_time_ms_hi": w.time.ms.high, "processes": w.time.n, "contended": w.contended,
            setting.memory: w.mib, "pareto_front": front[w],
        } for w in placed if w.time])  # fmt: skip
        drawn.append(
            Plot(
                name=f"frontier_{len(drawn) + 1}",
                section=TITLE,
                title=setting.whole,
                caption=_caption(setting, data) + left_out(len(shown), len(placed), "ways"),
                data=data,
                draw=partial(_draw, setting=setting, ways=shown, front=front, styles=styles),
                place="first" if setting in [group[0] for group in facts.groups] else "more",
            )
        )
    if not drawn:
        raise NotDrawn("no setting has two ways with both time and memory")
    return drawn


def pareto(points: list[tuple[float, float]]) -> list[bool]:
    """Whether no other point is at least as small in both and smaller in one."""
    return [not any(p[0] <= q[0] and p[1] <= q[1] and p != q for p in points) for q in points]


def _caption(setting: Setting, data: pd.DataFrame) -> str:
    several = int(data["pareto_front"].sum()) > 1
    said = "Down and left is better" + ("; the grey line is the Pareto front." * several or ".")
    if data["processes"].max() > 2:
        said += " Bars: 95 % intervals between processes (of two processes, both)."
    elif data["processes"].max() == 1:
        said += " One process each, so there are no intervals."
    if any(setting.answer.why.get(name) for name in data["way"]):
        said += " Open marks: ways that do not qualify (see the table)."
    if data["contended"].any():
        said += " * measured under contention, so no Pareto front is drawn."
    out = [w.name for w in setting.ways if w.failed.get("oom") and not w.ok]
    return said + (f" Out of memory: {', '.join(out)}." if out else "")


def _draw(
    axes: Axes, setting: Setting, ways: list[Way], front: dict[Way, bool],
    styles: dict[tuple[str, str, str], Look],
) -> None:  # fmt: skip
    line = sorted((w.ms, w.mib) for w in front if front[w])
    axes.plot(*zip(*line, strict=True), color=FAINT, drawstyle="steps-post", linewidth=1.2,
              zorder=1, label="_")  # fmt: skip
    xs: list[float] = []
    for way in sorted(ways, key=lambda w: (w.ms, w.name)):
        if not way.time:
            continue
        look, open_, interval = styles[of_way(way)], setting.answer.why.get(way.name), way.time.ms
        xs.append(way.ms)
        if interval.kind and way.time.n > 1:
            axes.plot([interval.low, interval.high], [way.mib] * 2, color=look.colour, linewidth=1,
                      label="_")  # fmt: skip
            xs += [interval.low, interval.high]
        axes.plot(
            way.ms, way.mib, look.marker, color=look.colour, markersize=6,
            label=way.name + "*" * way.contended, fillstyle="none" if open_ else "full",
            # A rim in the colour of the paper keeps marks apart that cover each other.
            markeredgecolor=look.colour if open_ else PAPER, markeredgewidth=1 if open_ else 0.5,
        )  # fmt: skip
        tip(axes, way.ms, way.mib, f"{way.name}: {short(way.ms)} ms, {short(way.mib)} MiB")
    log_axis(axes, "x", xs)
    log_axis(axes, "y", [w.mib for w in ways])
    axes.set_xlabel("step time (ms per training step)")
    axes.set_ylabel(heading(setting.memory))
    axes.set_title(folded(setting.name or setting.whole, TITLE_WIDTH))
    legend(axes)
