"""Which way to use at one setting: of those that learn, the fastest; of those as fast, the leanest.

Nothing here depends on the order of the ways.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
# older than a window; beside that, what something coarser stands in for (the outer products of a
# trace, the way back from the loss, the influence itself); all credit in time.
_APPROXIMATIONS = {
    **dict.fromkeys(("bptt", "bptt_checkpointed", "rtrl"), 0),
    **dict.fromkeys(("bptt_truncated", "d_rtrl", "snap"), 1),
    **dict.fromkeys(("es_d_rtrl", "e_prop", "ottt", "otpe", "uoro"), 2),
    "immediate": 3,
}

Kind = Literal["start", "one way", "only one ran", "nothing learned", "not timed", "nothing ran"]
Basis = Literal["learning", "gradient", "cost"]
Decided = Literal["memory", "accuracy", "approximations"]
_Order = Callable[[Way, Way], Order]  # how the first's time stands to the second's


@dataclass(frozen=True, eq=False)
class Answer:
    """What to use at a setting.

    Args:
        kind: whether there is a recommendation, or why there is none.
        basis: what made a way qualify.
        start: the recommended way; None where there is none.
        equal: others of which nothing tells it: they are as good.
        tied: all others that qualify and are not slower.
        decided: what chose `start` and its equals among those, in this order.
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
    decided: tuple[Decided, ...] = ()
    why: Mapping[str, str] = field(default_factory=dict)
    order: Mapping[str, Order] = field(default_factory=dict)
    ratio: Mapping[str, Interval] = field(default_factory=dict)
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
    basis: Basis = "learning" if metric else "cost"
    if not metric and any(w.cosine == w.cosine and _faithful(w) for w in ran):
        basis = "gradient"
    if not ran:
        return Answer("nothing ran", basis)
    why = {w.name: _why_not(w, basis) for w in ran}
    # For want of a sound way one that is not healthy is recommended, with what is wrong with it.
    able = next(filter(None, ([w for w in ran if why[w.name] == said]
                              for said in ("", "not healthy", "failed mostly"))), [])  # fmt: skip
    if not able:
        return Answer("nothing learned", basis, why=why)
    timed = [w for w in ran if w.time]
    if not any(w.time for w in able):
        known = sorted((w for w in able if w.memory), key=lambda w: (w.mib, _place(w)))
        return Answer("not timed", basis, known[0] if known else None, why=why)
    able = [w for w in able if w.time]
    pairs = max(1, len(timed) * (len(timed) - 1) // 2)

    def against(way: Way, other: Way) -> Order:
        return cost.compare(way.time, other.time, noise, pairs)  # type: ignore[arg-type]

    start, equal, tied, decided = _choose(able, memory, against)
    kind: Kind = "start"
    if len(timed) == 1:
        kind = "one way" if len(ways) == 1 else "only one ran"
    found = Answer(kind, basis, start, tuple(equal), tuple(tied), tuple(decided), why)
    others = [w for w in timed if w is not start]
    return _compared(found, start, others, against, noise)


def _why_not(way: Way, basis: Basis) -> str:
    if basis == "learning" and not way.learned:
        return "learning not measured"
    if basis == "learning" and way.learned and way.learned.verdict != "learned":
        return way.learned.verdict
    if basis == "gradient" and not _faithful(way):
        return "gradient differs" if way.cosine == way.cosine else "gradient not compared"
    # What is wrong with the runs themselves weighs less than what they came to.
    return "failed mostly" if way.lost > way.ok else "not healthy" if way.flaw else ""


def _faithful(way: Way) -> bool:
    return way.cosine >= FAITHFUL or (way.algo == "bptt" and np.isnan(way.cosine))


def _choose(
    able: Sequence[Way], memory: str, against: _Order
) -> tuple[Way, list[Way], list[Way], list[Decided]]:
    """(what to use, what is as good, what is as fast, what decided) of ways that qualify and were
    timed.
    """
    as_fast = [w for w in able if not any(against(w, other) == "slower" for other in able)]
    as_fast = as_fast or [min(able, key=lambda w: (w.ms, _place(w)))]
    left: list[Way] = as_fast
    decided: list[Decided] = []
    for name, keep in _TIES:
        fewer = keep(left, memory)
        if len(fewer) < len(left):
            left = fewer
            decided.append(name)
    start, *equal = sorted(left, key=_place)
    tied = sorted((w for w in as_fast if w is not start), key=_place)
    return start, equal, tied, decided


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


def _compared(
    found: Answer, start: Way, others: Sequence[Way], against: _Order, noise: Noise | None
) -> Answer:
    """The answer with how every other way stands to the recommended one."""
    orders = {w.name: against(w, start) for w in others}
    faster = [w for w in others if found.why[w.name] and orders[w.name] == "faster"]
    sound = [w for w in others if not found.why[w.name] and w.mib < MUCH_LESS * start.mib]
    return replace(
        found,
        order=orders,
        ratio={w.name: cost.ratio(w.time, start.time, noise) for w in others},  # type: ignore[arg-type]
        faster=min(faster, key=lambda w: (w.ms, _place(w)), default=None),
        lean=min(sound, key=lambda w: (w.mib, w.ms, _place(w)), default=None),
        uncompared=tuple(w for w in found.tied if orders[w.name] == "not compared"),
    )
