"""Time against memory, one mark a way, with intervals; the Pareto front joined."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.judge import Setting, Way
from reports.judge.cost import AGAINST
from reports.plots import base
from reports.plots.base import NotDrawn, Plot
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
    styles = looks(base.of_way(w) for s in facts.settings for w in s.ways)
    drawn: list[Plot] = []
    for setting in facts.settings[:MOST_SETTINGS]:
        placed = [w for w in setting.ways if w.time and w.mib > 0]
        if len(placed) < 2:
            continue
        data = _points(setting, placed)
        shown = data.sort_values(["pareto_front", "time"], ascending=[False, True])[:MOST_WAYS]
        drawn.append(
            Plot(
                name=f"frontier_{len(drawn) + 1}",
                section=TITLE,
                title=setting.whole,
                caption=_caption(setting, data) + base.left_out(len(shown), len(placed), "ways"),
                data=data.rename(columns={end: end.replace("time", data.attrs["time"])
                                          for end in ("time", "time_lo", "time_hi")}),
                draw=partial(_draw, setting=setting, data=shown, styles=styles),
                place="first" if setting in [group[0] for group in facts.groups] else "more",
            )
        )  # fmt: skip
    if not drawn:
        raise NotDrawn("no setting has two ways with both time and memory")
    return drawn


def _points(setting: Setting, ways: list[Way]) -> pd.DataFrame:
    """A row a way: time over BPTT's where all took turns with the same BPTT, else step times.

    Step times that were measured under contention are not compared, so they make no front.
    """
    turns, rows = base.by_turns(ways), []
    for way in ways:
        if way.time:
            time = way.against if turns and way.against else way.time.ms
            rows.append({"way": way.name, "time": time.centre, "time_lo": time.low,
                         "time_hi": time.high, "processes": way.time.n,
                         "contended": way.contended and not turns,
                         setting.memory: way.mib})  # fmt: skip
    data = pd.DataFrame(rows)
    front = pareto(list(zip(data["time"], data[setting.memory], strict=True)))
    data["pareto_front"] = np.array(front) & ~data["contended"].any()
    data.attrs["time"] = AGAINST if turns else "step_time_ms"
    return data


def pareto(points: list[tuple[float, float]]) -> list[bool]:
    """Whether no other point is at least as small in both and smaller in one."""
    return [not any(p[0] <= q[0] and p[1] <= q[1] and p != q for p in points) for q in points]


def _caption(setting: Setting, data: pd.DataFrame) -> str:
    several = int(data["pareto_front"].sum()) > 1
    said = "Down and left is better" + ("; the grey line is the Pareto front." * several or ".")
    if data.attrs["time"] == AGAINST:
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
    axes: Axes, setting: Setting, data: pd.DataFrame, styles: dict[tuple[str, str, str], Look]
) -> None:
    time, memory = data.attrs["time"], setting.memory
    front = data[data["pareto_front"]].sort_values("time")
    axes.plot(front["time"], front[memory], color=FAINT, drawstyle="steps-post", linewidth=1.2,
              zorder=1, label="_")  # fmt: skip
    bars = data if time == AGAINST else data[data["processes"] > 1]
    by_name = {way.name: way for way in setting.ways}
    for _, row in data.iterrows():
        name, x, y = row["way"], row["time"], row[memory]
        look, open_ = styles[base.of_way(by_name[name])], setting.answer.why.get(name)
        if name in set(bars["way"]):
            axes.hlines(y, row["time_lo"], row["time_hi"], color=look.colour, linewidth=1)
        axes.plot(
            x, y, look.marker, color=look.colour, markersize=6,
            label=name + "*" * int(row["contended"]), fillstyle="none" if open_ else "full",
            # A rim in the colour of the paper keeps marks apart that cover each other.
            markeredgecolor=look.colour if open_ else PAPER, markeredgewidth=1 if open_ else 0.5,
        )  # fmt: skip
        unit = "× the time of BPTT" if time == AGAINST else "ms"
        base.tip(axes, x, y, f"{name}: {short(x)} {unit}, {short(y)} MiB")
    base.log_axis(axes, "x", [*data["time"], *bars["time_lo"].dropna(), *bars["time_hi"].dropna()])
    base.log_axis(axes, "y", data[memory])
    axes.set_xlabel(heading(time) if time == AGAINST else "step time (ms per training step)")
    axes.set_ylabel(heading(memory))
    axes.set_title(base.folded(setting.name or setting.whole, base.TITLE_WIDTH))
    base.legend(axes)
