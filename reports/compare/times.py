"""The gate with a clock: is head slower than base by more than the bar, beyond chance and moods?

One test a cell: Welch's, on logarithms, of "head is slower by no more than the bar", with Holm's
correction over all cells. The spread that it works with is the larger of the cell's own and the
mean over all cells: three processes that happen to agree are not yet a quiet machine.

Two sweeps run one after the other, each in its own mood of the machine, which no test on their
processes can see. A change no larger than `MOOD`, or shared by the other cells and no larger than
`SHARED`, is therefore left to a duel. A ratio to BPTT timed in the same process has no such mood.
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
_CLOCKED = ("ms", "s", "1/s")


def time_lines(cells: Sequence[Cell], metric: str, bar: float) -> list[Line]:
    """One line for each cell in which a side has the metric or should have it.

    Of a step time also one of its ratio to BPTT, where both sides have that.
    """
    lines: list[Line] = []
    tested: dict[int, Sides] = {}
    for cell in cells:
        line, sides = _line(cell, metric)
        if line is not None and sides is not None:
            tested[len(lines)] = sides
        lines += [line] if line is not None else []
    # On logarithms, and so that more is always worse.
    sign = -1.0 if describe(metric).better == "high" else 1.0
    told = decide([(sign * np.log(b), sign * np.log(h)) for b, h in tested.values()], bar,
                  moody=metric != RATIO)  # fmt: skip
    for i, one in zip(tested, told, strict=True):
        low, high = sorted(math.expm1(sign * end) for end in one.test.interval())
        lines[i] = replace(
            lines[i], verdict=one.verdict, p=one.p, low=low, high=high,
            note=_joined([one.note or _AGAINST * (metric == RATIO and one.verdict == "worse"),
                          lines[i].note]),
            detectable=detectable(one.test, bar, len(told), MOOD * (metric != RATIO)),
        )  # fmt: skip
    if metric != TIME:
        return lines
    both = [cell for cell in cells if not any(np.isnan(s).all() for s in cell.column(RATIO))]
    return lines + time_lines(both, RATIO, bar)


class Decided(NamedTuple):
    """The verdict on one cell, why, its corrected p-value and the test behind it."""

    verdict: Verdict
    note: str
    p: float
    test: Welch


def decide(samples: Sequence[Sides], bar: float, moody: bool = True) -> list[Decided]:
    """The verdicts on cells that are compared together.

    Args:
        samples: (base, head) of each cell: logarithms of its processes, at least two a side, of
            what is worse when it is more.
        bar: the least change that counts, as a share.
        moody: whether the machine's mood is part of them.
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
        others = float(np.median(np.delete(gaps, i))) if len(gaps) > 1 else 0.0
        mood = _mood(test.gap, others) if moody else ""
        verdict: Verdict = "cannot tell"
        if p <= LEVEL and not mood:
            verdict, note = "worse" if slower else "better", ""
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


def _mood(gap: float, others: float) -> str:
    """Why a change can be the machine's and not the program's; "" where it cannot.

    Args:
        gap: of a cell, on logarithms.
        others: the median gap of the other cells.
    """
    if abs(gap) <= math.log1p(MOOD):
        return f"two sweeps differ by up to {MOOD:.0%} without a change; a duel can tell"
    shared = math.copysign(1.0, gap) * (gap - others) <= math.log1p(MOOD)
    if shared and abs(gap) <= math.log1p(SHARED):
        return "the other cells changed as well, as in a mood of the machine; a duel can tell"
    return ""


def _line(cell: Cell, metric: str) -> tuple[Line | None, Sides | None]:
    """A cell's line before any test, and the processes to test where that can be done."""
    sides = cell.column(metric)
    if all(np.isnan(side).all() for side in sides) and not (metric == TIME and cell.timed):
        return None, None
    there = [~np.isnan(side) for side in sides]
    base, head = (side[known] for side, known in zip(sides, there, strict=True))
    before, after = (float(np.median(side)) if len(side) else None for side in (base, head))
    line = Line(cell.name, metric, "measured", "cannot tell", before, after, keys=cell.keys)
    if gone := cell.gone(metric, "low"):
        return replace(line, verdict=gone[0], note=gone[1]), None
    if min(base.min(), head.min()) <= 0:
        return replace(line, note="a time that is not positive"), None
    line = replace(line, change=float(np.exp(np.log(head).mean() - np.log(base).mean()) - 1))
    notes = [cell.lacking(metric)]
    machine = cell.difference("fingerprint").removeprefix("different ")
    # Other programs hit both parts of a ratio alike, and nothing that no clock measures.
    clocked = describe(metric).unit in _CLOCKED
    calm = [side[known & ~((busy > 0) & clocked)]
            for side, known, busy in zip(sides, there, cell.column("contended"), strict=True)]
    left_out = len(base) + len(head) - sum(map(len, calm))
    few = min(len(base), len(head))
    if machine:
        notes.append(f"different machines ({machine})")
    elif few < LEAST:
        notes.append(f"{few} process{'es' if few > 1 else ''} a side; "
                     f"repeats={LEAST} or more can tell")  # fmt: skip
    elif min(map(len, calm)) < LEAST:
        notes.append("contended: other programs ran beside them; a duel can tell")
    else:
        notes.append(f"{left_out} contended process{'es' if left_out > 1 else ''} left out"
                     if left_out else "")  # fmt: skip
        return replace(line, note=_joined(notes)), (calm[0], calm[1])
    return replace(line, note=_joined(notes)), None


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
