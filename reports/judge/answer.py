"""Which way to use at one setting: of those that learn, the fastest; of those as fast, the leanest.

Nothing here depends on the order of the ways.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from reports.judge import cost
from reports.judge.cost import Noise, Order
from reports.judge.learning import SAME
from reports.judge.rows import order
from reports.judge.way import Way
from reports.stats import Interval

# A gradient this close to BPTT's is called faithful. The angle is 18 degrees.
FAITHFUL = 0.95
MUCH_LESS = 0.8  # a memory below this share of the recommended way's is worth a sentence
# What each leaves out of BPTT's gradient: nothing; credit through other neurons' recurrence, or
# older than a window; and the outer products of a trace beside that.
_APPROXIMATIONS = {"bptt": 0, "bptt_checkpointed": 0, "rtrl": 0, "bptt_truncated": 1, "d_rtrl": 1,
                   "es_d_rtrl": 2}  # fmt: skip

Kind = Literal["start", "one way", "only one ran", "nothing learned", "not timed", "nothing ran"]
Basis = Literal["learning", "gradient", "cost"]
Decided = Literal["time", "memory", "accuracy", "approximations"]


@dataclass(frozen=True, eq=False)
class Answer:
    """What to use at a setting.

    Args:
        kind: whether there is a recommendation, or why there is none.
        basis: what made a way qualify.
        start: the recommended way; None where there is none.
        equal: others of which nothing tells it: they are as good.
        tied: all others that qualify and are not slower.
        decided: what chose `start` and its equals among those.
        why: way -> why it does not qualify, "" where it does.
        order: way -> how its time stands to that of `start`.
        ratio: way -> its time over that of `start`.
        faster: the fastest way that is faster than `start` and does not qualify.
        lean: a sound way that needs much less memory than `start`.
        uncompared: those of `tied` whose times are not compared with that of `start`, one of the
            two having been measured under contention.
    """

    kind: Kind
    basis: Basis
    start: Way | None = None
    equal: tuple[Way, ...] = ()
    tied: tuple[Way, ...] = ()
    decided: Decided = "time"
    why: dict[str, str] | None = None
    order: dict[str, Order] | None = None
    ratio: dict[str, Interval] | None = None
    faster: Way | None = None
    lean: Way | None = None
    uncompared: tuple[Way, ...] = ()


def answer(ways: Sequence[Way], metric: str, memory: str, noise: Noise | None) -> Answer:
    """The answer for the ways of one setting.

    Args:
        metric: what training is judged by; "" where nothing was trained.
        memory: the column that stands for memory.
    """
    ran = [w for w in ways if w.ok]
    basis: Basis = (
        "learning" if metric else "gradient" if any(w.cosine == w.cosine for w in ran) else "cost"
    )
    if not ran:
        return Answer("nothing ran", basis)
    why = _why_not(ran, basis)
    timed = [w for w in ran if w.time]
    learned = [w.learned for w in ran if w.learned]
    if learned and all(found.verdict == "at chance" for found in learned):
        return Answer("nothing learned", basis, why=why)
    if not timed:
        known = [w for w in ran if w.memory]
        start = min(known, key=lambda w: (w.mib, _place(w)), default=None)
        return Answer("not timed", basis, start, decided="memory", why=why)
    able = [w for w in timed if not why[w.name]]
    # For want of a sound one a way that is not healthy is recommended, with what is wrong with it.
    able = able or [w for w in timed if why[w.name] == "not healthy"]
    able = able or [w for w in timed if why[w.name] == "failed mostly"]
    if not able and basis == "learning":
        return Answer("nothing learned", basis, why=why)
    able = able or timed
    start, equal, tied, decided = _choose(able, memory, noise)
    kind: Kind = "start"
    if len(timed) == 1:
        kind = "one way" if len(ways) == 1 else "only one ran"
    found = Answer(kind, basis, start, tuple(equal), tuple(tied), decided, why)
    return _compared(found, start, why, timed, noise)


def _why_not(ways: Sequence[Way], basis: Basis) -> dict[str, str]:
    faithful = any(_faithful(w) and not w.flaw for w in ways)
    out = {}
    for way in ways:
        said = ""
        if basis == "learning":
            said = way.learned.verdict if way.learned else "learning not measured"
            said = "" if said == "learned" else said
        elif basis == "gradient" and faithful and not _faithful(way):
            said = "gradient differs" if way.cosine == way.cosine else "gradient not compared"
        # What is wrong with the runs themselves weighs less than what they came to.
        lost = sum(way.failed.values()) > way.ok
        out[way.name] = said or ("failed mostly" if lost else "not healthy" if way.flaw else "")
    return out


def _faithful(way: Way) -> bool:
    return way.cosine >= FAITHFUL or (way.algo == "bptt" and np.isnan(way.cosine))


def _choose(able: Sequence[Way], memory: str, noise: Noise | None
            ) -> tuple[Way, list[Way], list[Way], Decided]:  # fmt: skip
    """(what to use, what is as good, what is as fast, what decided) of ways that qualify and were
    timed.
    """
    pairs = len(able) * (len(able) - 1) // 2
    fastest = min(able, key=lambda w: (w.time.mean, _place(w)))  # type: ignore[union-attr]
    as_fast = [w for w in able
               if w is fastest or cost.compare(w.time, fastest.time, noise, pairs) != "slower"]  # type: ignore[arg-type]  # fmt: skip
    left, decided = as_fast, "time"
    for name, keep in _TIES:
        fewer = keep(left, memory)
        if len(fewer) < len(left):
            left, decided = fewer, name
    start, *equal = sorted(left, key=_place)
    tied = sorted((w for w in as_fast if w is not start), key=_place)
    return start, equal, tied, decided  # type: ignore[return-value]


def _leanest(ways: list[Way], memory: str) -> list[Way]:
    known = [w for w in ways if w.memory]
    if not known:
        return ways
    kept = cost.least_memory([w.mib for w in known], memory)
    return [w for w, keep in zip(known, kept, strict=True) if keep]


def _most_accurate(ways: list[Way], _: str) -> list[Way]:
    found = [w.learned for w in ways if w.learned]
    if len(found) < len(ways):
        return ways
    best = max(f.better for f in found)
    slack = SAME * (abs(best) if found[0].metric == "loss_final" else 1.0)
    return [w for w, f in zip(ways, found, strict=True) if f.better >= best - slack]


def _least_approximate(ways: list[Way], _: str) -> list[Way]:
    least = min(_APPROXIMATIONS.get(w.algo, 1) for w in ways)
    return [w for w in ways if _APPROXIMATIONS.get(w.algo, 1) == least]


_TIES: tuple[tuple[Decided, Callable[[list[Way], str], list[Way]]], ...] = (
    ("memory", _leanest), ("accuracy", _most_accurate), ("approximations", _least_approximate),
)  # fmt: skip


def _place(way: Way) -> tuple[int, int, str]:
    return order(way.algo, way.batching, way.name)


def _compared(found: Answer, start: Way, why: dict[str, str], timed: Sequence[Way],
              noise: Noise | None) -> Answer:  # fmt: skip
    """The answer with how every other way stands to the recommended one."""
    others = [w for w in timed if w is not start]
    pairs = len(timed) * (len(timed) - 1) // 2
    orders = {w.name: cost.compare(w.time, start.time, noise, pairs) for w in others}  # type: ignore[arg-type]
    ratios = {w.name: cost.ratio(w.time, start.time, noise) for w in others}  # type: ignore[arg-type]
    faster = [w for w in others if why[w.name] and orders[w.name] == "faster"]
    sound = [w for w in others if not why[w.name] and w.mib < MUCH_LESS * start.mib]
    return replace(
        found,
        order=orders,
        ratio=ratios,
        faster=min(faster, key=lambda w: (w.ms, _place(w)), default=None),
        lean=min(sound, key=lambda w: (w.mib, w.ms, _place(w)), default=None),
        uncompared=tuple(w for w in found.tied if orders[w.name] == "not compared"),
    )
