"""The gate with a clock: is head slower than base by more than the bar, beyond chance and moods?

One test a cell: Welch's, on logarithms, of "head is slower by no more than the bar", with Holm's
correction over all cells. The spread that it works with is the larger of the cell's own and the
mean over all cells: three processes that happen to agree are not yet a quiet machine.

Two sweeps run one after the other, each in its own mood of the machine, which no test on their
processes can see. A change no larger than `MOOD` is therefore left to a duel, and so is one of up
to `SHARED` that other cells went through as well, or the BPTT that took turns with this one in the
same process. The ratio to that BPTT has no mood; measured beside other programs with several
threads it says as little as a time, since a core that is gone costs one program more than another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from reports.compare.pairing import Cell
from reports.compare.result import Line, Verdict
from reports.records.columns import describe
from reports.records.table import one_thread
from reports.stats import LEAST, Welch, holm

TIME, RATIO = "step_time_ms", "time_vs_bptt"
BAR = 0.05  # the least change that counts, as a share
MOOD = 0.15  # what sweeps one after the other may differ by without any change
SHARED = 0.25  # the same of a change that the other cells went through as well
LEVEL = 0.025  # one-sided: an alarm takes a 95 % interval beyond the bar
POWER = 0.8
Sides = tuple[np.ndarray, np.ndarray]  # base and head, each [processes]
_QUIETEST = 1e-6  # a spread of zero is a clock that does not tick
_AGAINST = "against BPTT in the same process, unless that became faster"
_CONTENDED = "contended: other programs ran beside them; a duel can tell"
_LONE = "one cell alone: a mood of the machine can look like this; a duel can tell"
_CLOCKED = ("ms", "s", "1/s")


def time_lines(cells: Sequence[Cell], metric: str, bar: float) -> list[Line]:
    """One line for each cell in which a side has the metric or should have it.

    Of a step time also one of its ratio to BPTT, where both sides have that.
    """
    found = [made for cell in cells if (made := _line(cell, metric))]
    lines = [line for line, _ in found]
    tested = {i: (sides, cell) for i, (_, (sides, cell)) in enumerate(found) if sides}
    # On logarithms, and so that more is always worse.
    sign = -1.0 if describe(metric).better == "high" else 1.0
    moody = metric != RATIO
    beside = [_of_bptt(sides, cell) if metric == TIME else math.nan
              for sides, cell in tested.values()]  # fmt: skip
    told = decide([(sign * np.log(b), sign * np.log(h)) for (b, h), _ in tested.values()], bar,
                  moody, beside)  # fmt: skip
    for i, one in zip(tested, told, strict=True):
        low, high = sorted(math.expm1(sign * end) for end in one.test.interval())
        lines[i] = replace(
            lines[i], verdict=one.verdict, p=one.p, low=low, high=high,
            note=_joined([one.note or _AGAINST * (not moody and one.verdict == "worse"),
                          lines[i].note]),
            detectable=detectable(one.test, bar, len(told), MOOD * moody),
        )  # fmt: skip
    if metric != TIME:
        return lines
    both = [cell for cell in cells if not any(np.isnan(s).all() for s in cell.column(RATIO))]
    return lines + time_lines(both, RATIO, bar)


def _of_bptt(times: Sides, cell: Cell) -> float:
    """[log] how much the BPTT slowed down that a cell took turns with; nan where it took none."""
    sides = zip(cell.column(RATIO), _busy(cell, RATIO), strict=True)
    ratios = [np.log(side[(side > 0) & ~busy]) for side, busy in sides]
    if not all(map(len, ratios)):
        return math.nan
    gaps = [head.mean() - base.mean() for base, head in (map(np.log, times), ratios)]
    return float(gaps[0] - gaps[1])


class Decided(NamedTuple):
    """The verdict on one cell, why, its corrected p-value and the test behind it."""

    verdict: Verdict
    note: str
    p: float
    test: Welch


def decide(samples: Sequence[Sides], bar: float, moody: bool = True,
           beside: Sequence[float] = ()) -> list[Decided]:  # fmt: skip
    """The verdicts on cells that are compared together.

    Args:
        samples: (base, head) of each cell: logarithms of its processes, at least two a side, of
            what is worse when it is more.
        bar: the least change that counts, as a share.
        moody: whether the machine's mood is part of them.
        beside: [log] of each cell how much slower it was what ran by turns with it; nan for none.
    """
    if not samples:
        return []
    limit = math.log1p(bar)
    spread = float(np.mean([side.std(ddof=1) for sides in samples for side in sides]))
    tests = [Welch.of(*sides, floor=max(spread, _QUIETEST)) for sides in samples]
    alone = [[t._replace(gap=sign * t.gap).p_above(limit) for t in tests] for sign in (1, -1)]
    together = [holm(p) for p in alone]
    gaps = np.array([t.gap for t in tests])
    found = []
    for i, test in enumerate(tests):
        slower = test.gap > 0
        p = together[not slower][i]
        others = np.append(np.delete(gaps, i), [x for x in beside[i : i + 1] if x == x])
        mood = _mood(test.gap, others) if moody else ""
        verdict: Verdict = "cannot tell"
        if p <= LEVEL and not mood:
            verdict = "worse" if slower else "better"
            alone_here = moody and not len(others) and abs(test.gap) <= math.log1p(SHARED)
            note = _LONE if alone_here else ""
        elif p <= LEVEL:
            note = mood
        elif max(map(abs, test.interval())) <= limit:
            verdict, note = "same", ""
        elif alone[not slower][i] <= LEVEL:
            note = (f"beyond the bar, but not beyond chance among {len(tests)} cells; "
                    "more repeats can tell")  # fmt: skip
        else:
            note = "the interval reaches across the bar; more repeats can tell"
        found.append(Decided(verdict, note, p, test))
    return found


def _mood(gap: float, others: np.ndarray) -> str:
    """Why a change can be the machine's and not the program's; "" where it cannot.

    Args:
        gap: of a cell, on logarithms.
        others: [N] the gaps of what else ran.
    """
    if abs(gap) <= math.log1p(MOOD):
        return f"two sweeps differ by up to {MOOD:.0%} without a change; a duel can tell"
    own = math.copysign(1.0, gap) * (gap - (float(np.median(others)) if len(others) else 0.0))
    if own <= math.log1p(MOOD) and abs(gap) <= math.log1p(SHARED):
        return "what ran beside it changed as well, as in a mood of the machine; a duel can tell"
    return ""


def _line(cell: Cell, metric: str) -> tuple[Line, tuple[Sides | None, Cell]] | None:
    """A cell's line before any test, and the processes to test where that can be done."""
    sides = cell.column(metric)
    if all(np.isnan(side).all() for side in sides) and not (metric == TIME and cell.timed):
        return None
    there = [~np.isnan(side) for side in sides]
    base, head = (side[known] for side, known in zip(sides, there, strict=True))
    before, after = (float(np.median(side)) if len(side) else None for side in (base, head))
    line = Line(cell.name, metric, "measured", "cannot tell", before, after, keys=cell.keys)
    if gone := cell.gone(metric, "low"):
        return replace(line, verdict=gone[0], note=gone[1]), (None, cell)
    if min(base.min(), head.min()) <= 0:
        return replace(line, note="a number that is not positive, so of no ratio"), (None, cell)
    line = replace(line, change=float(np.exp(np.log(head).mean() - np.log(base).mean()) - 1))
    machine = cell.difference("fingerprint").removeprefix("different ")
    busy = _busy(cell, metric)
    calm = [s[known & ~b] for s, known, b in zip(sides, there, busy, strict=True)]
    left_out = len(base) + len(head) - sum(map(len, calm))
    few = min(len(base), len(head))
    told: Sides | None = None
    if machine:
        note = f"different machines ({machine})"
    elif few < LEAST:
        note = f"{few} process{'es' if few > 1 else ''} a side; repeats={LEAST} or more can tell"
    elif min(map(len, calm)) < LEAST:
        note = _CONTENDED + "; threads=1 makes ratios that these do not move" * (metric == RATIO)
    else:
        told = calm[0], calm[1]
        note = f"{left_out} contended process{'es' * (left_out > 1)} left out" if left_out else ""
    return replace(line, note=_joined([cell.lacking(metric), note])), (told, cell)


def _busy(cell: Cell, metric: str) -> list[np.ndarray]:
    """Which processes of base and of head have a number that other programs may have moved.

    They slow both parts of a ratio alike where its process has one thread, and nothing that no
    clock measures.
    """
    busy = [side > 0 for side in cell.column("contended")]
    if metric == RATIO:
        alone = [one_thread(cell.both.rows.iloc[at]).to_numpy() for at in cell.at]
        return [side & ~single for side, single in zip(busy, alone, strict=True)]
    clocked = describe(metric).unit in _CLOCKED
    return [side & clocked for side in busy]


def _joined(notes: Sequence[str]) -> str:
    return "; ".join(filter(None, notes))


def detectable(test: Welch, bar: float, cells: int, mood: float = MOOD) -> float:
    """The change for the worse that is called with 80 % power, by the noncentral t."""
    critical = float(stats.t.isf(LEVEL / cells, test.degrees))
    reach = optimize.brentq(
        lambda shift: stats.nct.sf(critical, test.degrees, shift) - POWER, 0, 10 * critical + 10
    )
    beyond_moods = math.log1p(mood) + float(stats.norm.ppf(POWER)) * test.error
    return math.expm1(max(math.log1p(bar) + reach * test.error, beyond_moods))
