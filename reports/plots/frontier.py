"""Time against memory, one mark a way, with intervals; the Pareto front joined."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reports.judge import Setting, Way
from reports.judge.cost import AGAINST
from reports.plots import base
from reports.plots.base import NotDrawn, Plot
from reports.plots.style import FAINT, Look
from reports.stats import OWN
from reports.study import Study

ORDER = 20
TITLE = "Time against memory"
STEP = "step_time_ms"
MOST_SETTINGS = 2
MOST_WAYS = 9


def make(study: Study) -> list[Plot]:
    styles = base.looks(study, "name")
    drawn: list[Plot] = []
    for setting in study.facts.settings[:MOST_SETTINGS]:
        placed = [w for w in setting.ways if w.time and w.mib > 0]
        if len(placed) > 1:
            first = base.leads(study, setting)
            drawn.append(_plot(setting, placed, styles, len(drawn) + 1, first))
    if not drawn:
        raise NotDrawn("no setting has two ways with both time and memory")
    return drawn


def _plot(
    setting: Setting, ways: list[Way], styles: dict[str, Look], nth: int, first: bool
) -> Plot:
    time = AGAINST if base.by_turns(ways) else STEP
    data = _points(setting, ways, time)
    shown = data.sort_values(["pareto_front", time], ascending=[False, True])[:MOST_WAYS]

    def draw(axes: Axes) -> None:
        front = shown[shown["pareto_front"]].sort_values(time)
        axes.plot(front[time], front[setting.memory], color=FAINT, drawstyle="steps-post",
                  linewidth=1.2, zorder=1, label="_")  # fmt: skip
        starred = shown["way"] + np.where(shown["contended"], "*", "")
        looks = {told: styles[way] for told, way in zip(starred, shown["way"], strict=True)}
        points = shown.assign(way=starred, open=shown["way"].map(setting.answer.why).ne(""))
        base.draw(axes, points, looks, time, setting.memory, kind="marks", hollow="open")

    return Plot(
        name=f"frontier_{nth}",
        section=TITLE,
        title=setting.whole,
        caption=_caption(setting, data) + base.left_out(len(shown), len(ways), "ways"),
        data=data,
        draw=draw,
        first=first,
    )


def _points(setting: Setting, ways: list[Way], time: str) -> pd.DataFrame:
    """A row a way, with its time over BPTT's where all took turns with the same, else its step's.

    Step times that were measured under contention are not compared, so they make no front.
    """
    # One process has an interval but within itself.
    data = pd.DataFrame([{
        "way": way.name, time: figure.centre, f"{time}_lo": low, f"{time}_hi": high,
        "processes": way.time.n, "contended": way.contended and time == STEP,
        setting.memory: way.mib,
    } for way in ways if way.time
        for figure in [way.against if time == AGAINST else way.time.ms] if figure
        for low, high in [figure[1:3] if figure.kind != OWN else (np.nan, np.nan)]])  # fmt: skip
    front = pareto(list(zip(data[time], data[setting.memory], strict=True)))
    return data.assign(pareto_front=np.array(front) & ~data["contended"].any())


def pareto(points: list[tuple[float, float]]) -> list[bool]:
    """Whether no other point is at least as small in both and smaller in one."""
    return [not any(p[0] <= q[0] and p[1] <= q[1] and p != q for p in points) for q in points]


def _caption(setting: Setting, data: pd.DataFrame) -> str:
    several = int(data["pareto_front"].sum()) > 1
    said = "Down and left is better" + ("; the grey line is the Pareto front." * several or ".")
    said += " Each way and BPTT took turns in the same process." * (AGAINST in data)
    lone = data["processes"].max() == 1
    said += " One process each, so there are no intervals." if lone else base.BARS
    if any(setting.answer.why.get(name) for name in data["way"]):
        said += " Open marks: ways that do not qualify (see the table)."
    if data["contended"].any():
        said += " * measured under contention, so no Pareto front is drawn."
    out = [w.name for w in setting.ways if w.failed.get("oom") and not w.ok]
    return said + (f" Out of memory: {', '.join(out)}." if out else "")
