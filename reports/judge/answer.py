"""Which way to use at one setting: of those that learn, the fastest; of those as fast, the leanest.

Nothing here depends on the order of the ways.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from reports.judge import cost
from reports.judge.cost import Noise, Order
from reports.judge.learning import OF_A_SEED, SAME
from reports.judge.way import Way
from reports.stats import LEAST, Interval

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

Kind = Literal["start", "one way", "only one ran", "nothing learned", "unfinished", "not timed",
               "nothing ran"]  # fmt: skip
Basis = Literal["learning", "gradient", "cost"]
Decided = Literal["memory", "accuracy", "approximations"]


@dataclass(frozen=True, eq=False)
class Answer:
    """What to use at a setting."""

    kind: Kind  # whether there is a recommendation, or why there is none
    basis: Basis  # what made a way qualify
    start: Way | None = None  # the recommended way
    equal: tuple[Way, ...] = ()  # others of which nothing tells it: they are as good
    tied: tuple[Way, ...] = ()  # all others that qualify and are not slower
    decided: tuple[Decided, ...] = ()  # what chose `start` and its equals among those, in order
    why: Mapping[str, str] = field(default_factory=dict)  # why a way does not qualify, or ""
    order: Mapping[str, Order] = field(default_factory=dict)  # how its time stands to `start`'s
    ratio: Mapping[str, Interval] = field(default_factory=dict)  # its time over that of `start`
    faster: Way | None = None  # the fastest that is faster than `start` and does not qualify
    lean: Way | None = None  # a sound way that needs much less memory than `start`
    # Those of `tied` whose times are not compared with that of `start`, one of the two having been
    # measured under contention.
    uncompared: tuple[Way, ...] = ()
    # To be within noise is not transitive: of those that qualify and are not told from `start`,
    # which is slower than another, and than which.
    outpaced: Mapping[str, Way] = field(default_factory=dict)


def answer(
    ways: Sequence[Way], metric: str, memory: str, noise: Noise | None, contest: bool = False
) -> Answer:
    """The answer for the ways of one setting.

    Args:
        metric: what training is judged by; "" where nothing was trained.
        memory: the column that stands for memory.
        contest: the ways are tuned, so that learning alone is an answer.
    """
    ran = [w for w in ways if w.ok]
    basis: Basis = "learning" if metric else "cost"
    if not metric and any(w.cosine == w.cosine and _faithful(w) for w in ran):
        basis = "gradient"
    if not ran:
        return Answer("nothing ran", basis)
    if contest and not metric:
        why = dict.fromkeys((w.name for w in ran), "learning not measured")
        return Answer("unfinished", "learning", why=why)
    why = {w.name: _why_not(w, basis) for w in ran}
    # For want of a sound way one that is not healthy is recommended, with what is wrong with it.
    able = next(filter(None, ([w for w in ran if why[w.name] == said]
                              for said in ("", "not healthy", "failed mostly"))), [])  # fmt: skip
    if not able:
        return Answer("nothing learned", basis, why=why)
    timed = [w for w in ran if w.time]
    if not any(w.time for w in able):
        least = cost.equal_memory(min((w.mib for w in able if w.memory), default=0.0), memory)
        lean = sorted((w for w in able if w.mib <= least), key=lambda w: w.place)
        return Answer("not timed", basis, next(iter(lean), None), tuple(lean[1:]), why=why)
    pairs = max(1, len(timed) * (len(timed) - 1) // 2)

    def against(way: Way, other: Way) -> Order:
        return cost.compare(way.time, other.time, noise, pairs)  # type: ignore[arg-type]

    why |= {w.name: why[w.name] or "not timed" for w in able if not w.time}
    able = [w for w in able if w.time]
    ahead = {w.name: [other for other in able if against(w, other) == "slower"] for w in able}
    as_fast = [w for w in able if not ahead[w.name]]
    left = as_fast = as_fast or [min(able, key=lambda w: (w.ms, w.place))]
    decided: list[Decided] = []
    seeds = min((len(w.learned.seeds) for w in able if w.learned), default=0)
    same = SAME if seeds >= LEAST else OF_A_SEED
    for name, (value, equal_to) in _ties(memory, metric, same).items():
        told = [value(w) for w in left]
        # What is not known of all of them chooses none.
        known = not any(map(math.isnan, told))
        fewer = [w for w, x in zip(left, told, strict=True) if known and x <= equal_to(min(told))]
        if 0 < len(fewer) < len(left):
            left = fewer
            decided.append(name)
    start, *equal = sorted(left, key=lambda w: w.place)
    tied = sorted((w for w in as_fast if w is not start), key=lambda w: w.place)
    others = [w for w in timed if w is not start]
    orders = {w.name: against(w, start) for w in others}
    faster = [w for w in others if why[w.name] and orders[w.name] == "faster"]
    lean = [w for w in others if not why[w.name] and w.mib < MUCH_LESS * start.mib]
    kind: Kind = "only one ran" if len(ways) > 1 else "one way"
    return Answer(
        kind="start" if others else kind, basis=basis, start=start, equal=tuple(equal),
        tied=tuple(tied), decided=tuple(decided), why=why, order=orders,
        ratio={w.name: cost.ratio(w.time, start.time, noise)  # type: ignore[arg-type]
               for w in others},
        faster=min(faster, key=lambda w: (w.ms, w.place), default=None),
        lean=min(lean, key=lambda w: (w.mib, w.ms, w.place), default=None),
        uncompared=tuple(w for w in tied if orders[w.name] == "not compared"),
        outpaced={name: min(some, key=lambda w: (w.ms, w.place)) for name, some in ahead.items()
                  if some and orders.get(name) in ("within noise", "not compared")},
    )  # fmt: skip


def _why_not(way: Way, basis: Basis) -> str:
    if basis == "learning" and not way.learned:
        return "training failed" if way.lost else "learning not measured"
    if basis == "learning" and way.learned and way.learned.verdict != "learned":
        return way.learned.verdict
    if basis == "gradient" and not _faithful(way):
        return "gradient differs" if way.cosine == way.cosine else "gradient not compared"
    # What is wrong with the runs themselves weighs less than what they came to.
    return "failed mostly" if way.lost > way.ok else "not healthy" if way.flaw else ""


def _faithful(way: Way) -> bool:
    return way.cosine >= FAITHFUL or (way.algo == "bptt" and math.isnan(way.cosine))


def _ties(
    memory: str, metric: str, same: float
) -> dict[Decided, tuple[Callable[[Way], float], Callable[[float], float]]]:
    """What chooses among ways that are as fast: a number, the less the better, and up to where it
    counts as equal to the least: `same` of an accuracy.
    """
    loss = metric == "loss_final"
    return {
        "memory": (lambda w: w.mib, lambda least: cost.equal_memory(least, memory)),
        "accuracy": (
            lambda w: -w.learned.better if w.learned else math.nan,
            lambda least: least + same * (abs(least) if loss else 1.0),
        ),
        "approximations": (lambda w: _APPROXIMATIONS.get(w.algo, 1), lambda least: least),
    }
