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
from scipy import special, stats

from reports.compare.pairing import RATIO, TIME, Cell
from reports.compare.result import Line, Verdict
from reports.stats import LEAST, Welch, holm

BAR = 0.05  # the least change that counts, as a share
MOOD = 0.15  # what sweeps one after the other may differ by without any change
SHARED = 0.25  # the same of a change that the other cells went through as well
LEVEL = 0.025  # one-sided: an alarm takes a 95 % interval beyond the bar
POWER = 0.8
Sides = tuple[np.ndarray, np.ndarray]  # base and head, each [processes] logarithms
_QUIETEST = 1e-6  # a spread of zero is a clock that does not tick
_AGAINST = "against BPTT in the same process, unless that became faster"
_CONTENDED = "contended: other programs ran beside them; a duel can tell"
_LONE = "one cell alone: a mood of the machine can look like this; a duel can tell"


def time_lines(cells: Sequence[Cell], metric: str, bar: float) -> list[Line]:
    """One line for each cell whose step time a side has or should have, or whose ratio to BPTT
    both sides have.
    """
    lines: list[Line] = []
    tested: dict[int, tuple[Sides, float]] = {}  # where in lines; and the BPTT beside it
    for cell in cells:
        has = [len(side) > 0 for side in cell.numbers(metric)]
        asked = any(has) or np.concatenate(cell.column("timed")).all()
        if not (asked if metric == TIME else all(has)):
            continue
        line, sides = _begun(cell, metric)
        if sides:
            tested[len(lines)] = sides, _of_bptt(cell) if metric == TIME else math.nan
        lines.append(line)
    told = decide([sides for sides, _ in tested.values()], bar, metric == TIME,
                  [bptt for _, bptt in tested.values()])  # fmt: skip
    for i, one in zip(tested, told, strict=True):
        low, high = one.test.interval()
        why = one.note or _AGAINST * (metric == RATIO and one.verdict == "worse")
        lines[i] = replace(
            lines[i], verdict=one.verdict, p=one.p, change=math.expm1(one.test.gap),
            low=math.expm1(low), high=math.expm1(high), note=_joined(why, lines[i].note),
            detectable=detectable(one.test, bar, len(told), MOOD * (metric == TIME)),
        )  # fmt: skip
    return lines


def _begun(cell: Cell, metric: str) -> tuple[Line, Sides | None]:
    """A cell's line before any test, and the processes to test where that can be done."""
    line, judge = cell.line(metric, "measured", "low")
    if not judge:
        return line, None
    sides = cell.numbers(metric)
    if min(map(np.min, sides)) <= 0:
        return replace(line, note="a number that is not positive, so of no ratio"), None
    calm = cell.numbers(f"calm.{metric}")
    few, left_out = min(map(len, sides)), sum(map(len, sides)) - sum(map(len, calm))
    testable, note = False, ""
    if machine := cell.difference("fingerprint").removeprefix("different "):
        note = f"different machines ({machine})"
    elif few < LEAST:
        note = f"{few} process{'es' if few > 1 else ''} a side; repeats={LEAST} or more can tell"
    elif min(map(len, calm)) < LEAST:
        note = (
            _CONTENDED
            + "; threads=1, on a core of its own, makes ratios that these do not move"
            * (metric == RATIO)
        )
    else:
        testable = True
        note = f"{left_out} contended process{'es' * (left_out > 1)} left out" if left_out else ""
    return replace(line, note=_joined(line.note, note)), calm if testable else None


def _of_bptt(cell: Cell) -> float:
    """[log] how much the BPTT slowed down that a cell took turns with; nan where it took none."""
    times, ratios = (cell.numbers(f"calm.{metric}") for metric in (TIME, RATIO))
    if not all(map(len, ratios)):
        return math.nan
    of_time, of_ratio = (float(head.mean() - base.mean()) for base, head in (times, ratios))
    return of_time - of_ratio


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


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def detectable(test: Welch, bar: float, cells: int, mood: float) -> float:
    """The change for the worse that is called with 80 % power, by the noncentral t."""
    critical = float(stats.t.isf(LEVEL / cells, test.degrees))
    reach = float(special.nctdtrinc(test.degrees, 1 - POWER, critical))
    beyond_moods = math.log1p(mood) + float(stats.norm.ppf(POWER)) * test.error
    return math.expm1(max(math.log1p(bar) + reach * test.error, beyond_moods))
