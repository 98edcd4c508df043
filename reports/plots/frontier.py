"""Time against memory, one mark a way, with intervals; the Pareto front joined."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reports.judge import Setting, Way
from reports.judge.cost import AGAINST
from reports.plots import base
from reports.plots.base import NotDrawn, Plot
from reports.plots.style import FAINT, Look, looks_of
from reports.study import Study

ORDER = 20
TITLE = "Time against memory"
STEP = "step_time_ms"
MOST_SETTINGS = 2
MOST_WAYS = 9


def make(study: Study) -> list[Plot]:
    """Raises NotDrawn when no setting has two ways with time and memory."""
    facts = study.facts
    styles = looks_of((w for s in facts.settings for w in s.ways), "name")
    drawn: list[Plot] = []
    for setting in facts.settings[:MOST_SETTINGS]:
        placed = [w for w in setting.ways if w.time and w.mib > 0]
        if len(placed) < 2:
            continue
        time = AGAINST if base.by_turns(placed) else STEP
        data = _points(setting, placed, time)
        shown = data.sort_values(["pareto_front", time], ascending=[False, True])[:MOST_WAYS]
        drawn.append(Plot(
            name=f"frontier_{len(drawn) + 1}",
            section=TITLE,
            title=setting.whole,
            caption=_caption(setting, data) + base.left_out(len(shown), len(placed), "ways"),
            data=data,
            draw=partial(_draw, setting=setting, data=shown, time=time, styles=styles),
            first=base.leads(study, setting),
        ))  # fmt: skip
    if not drawn:
        raise NotDrawn("no setting has two ways with both time and memory")
    return drawn


def _points(setting: Setting, ways: list[Way], time: str) -> pd.DataFrame:
    """A row a way, with its time over BPTT's where all took turns with the same, else its step's.

    Step times that were measured under contention are not compared, so they make no front.
    """
    rows = []
    for way in ways:
        figure = way.against if time == AGAINST else way.time and way.time.ms
        if figure and way.time:
            rows.append({
                "way": way.name, time: figure.centre, f"{time}_lo": figure.low,
                f"{time}_hi": figure.high, "processes": way.time.n,
                "contended": way.contended and time == STEP, setting.memory: way.mib,
            })  # fmt: skip
    data = pd.DataFrame(rows)
    front = pareto(list(zip(data[time], data[setting.memory], strict=True)))
    return data.assign(pareto_front=np.array(front) & ~data["contended"].any())


def pareto(points: list[tuple[float, float]]) -> list[bool]:
    """Whether no other point is at least as small in both and smaller in one."""
    return [not any(p[0] <= q[0] and p[1] <= q[1] and p != q for p in points) for q in points]


def _caption(setting: Setting, data: pd.DataFrame) -> str:
    several = int(data["pareto_front"].sum()) > 1
    said = "Down and left is better" + ("; the grey line is the Pareto front." * several or ".")
    if AGAINST in data:
        said += " Each way and BPTT took turns in one process. Bars: 95 % intervals."
    elif data["processes"].max() > 2:
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
    axes: Axes, setting: Setting, data: pd.DataFrame, time: str, styles: dict[str, Look]
) -> None:
    front = data[data["pareto_front"]].sort_values(time)
    axes.plot(front[time], front[setting.memory], color=FAINT, drawstyle="steps-post",
              linewidth=1.2, zorder=1, label="_")  # fmt: skip
    starred = data["way"] + np.where(data["contended"], "*", "")
    looks = {told: styles[way] for told, way in zip(starred, data["way"], strict=True)}
    points = data.assign(way=starred, open=[bool(setting.answer.why.get(w)) for w in data["way"]])
    if time == STEP:  # one process has an interval but within itself
        ends = [f"{time}_lo", f"{time}_hi"]
        points[ends] = points[ends].where(points["processes"] > 1)
    base.draw(axes, points, looks, time, setting.memory, kind="marks", hollow="open")
