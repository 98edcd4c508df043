"""The gate with a clock: is head slower than base by more than the bar, beyond chance and moods?

One test a cell: Welch's, on logarithms, of "head is slower by no more than the bar", with Holm's
correction over all cells. The spread that it works with is the larger of the cell's own and the
mean over all cells: three processes that happen to agree are not yet a quiet machine.

Two sweeps run one after the other, each in its own mood of the machine, which no test on their
processes can see. A change no larger than `MOOD` is therefore left to a duel.
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
from reports.stats import ALPHA, LEAST, Welch, holm

BAR = 0.05  # the least change that counts, as a share
MOOD = 0.15  # what sweeps one after the other may differ by without any change
POWER = 0.8
Sides = tuple[np.ndarray, np.ndarray]  # base and head, each [processes]
_QUIETEST = 1e-6  # a spread of zero is a clock that does not tick


def time_lines(cells: Sequence[Cell], metric: str, bar: float) -> list[Line]:
    """One line for each cell in which a side has the metric."""
    found = [(line, cell) for cell in cells if (line := _line(cell, metric))]
    # On logarithms, and so that more is always worse.
    sign = -1.0 if describe(metric).better == "high" else 1.0
    logs: dict[Line, Sides] = {}
    for line, cell in found:
        if not line.note:
            base, head = (sign * np.log(values) for values in _values(cell, metric))
            logs[line] = base, head
    told = decide(list(logs.values()), bar)
    return [line for line, _ in found if line.note] + [
        replace(
            line,
            verdict=one.verdict,
            note=one.note,
            p=one.p,
            low=min(ends := [math.expm1(sign * end) for end in one.test.interval()]),
            high=max(ends),
            detectable=detectable(one.test, bar, len(told)),
        )
        for line, one in zip(logs, told, strict=True)
    ]


class Decided(NamedTuple):
    """The verdict on one cell, why, its corrected p-value and the test behind it."""

    verdict: Verdict
    note: str
    p: float
    test: Welch


def decide(samples: Sequence[Sides], bar: float) -> list[Decided]:
    """The verdicts on cells that are compared together.

    Args:
        samples: (base, head) of each cell: logarithms of its processes, at least two a side, of
            what is worse when it is more.
        bar: the least change that counts, as a share.
    """
    if not samples:
        return []
    limit = math.log1p(bar)
    spread = float(np.mean([side.std(ddof=1) for sides in samples for side in sides]))
    tests = [Welch.of(*sides, floor=max(spread, _QUIETEST)) for sides in samples]
    alone = [[t._replace(gap=sign * t.gap).p_above(limit) for t in tests] for sign in (1, -1)]
    together = [holm(p) for p in alone]
    return [_decided(test, limit, alone[test.gap < 0][i], together[test.gap < 0][i], len(tests))
            for i, test in enumerate(tests)]  # fmt: skip


def _decided(test: Welch, limit: float, alone: float, p: float, cells: int) -> Decided:
    if p <= ALPHA and abs(test.gap) > math.log1p(MOOD):
        return Decided("worse" if test.gap > 0 else "better", "", p, test)
    if p > ALPHA and max(map(abs, test.interval())) <= limit:
        return Decided("same", "", p, test)
    if p <= ALPHA:
        note = f"two sweeps differ by up to {MOOD:.0%} without a change; a duel can tell"
    elif alone <= ALPHA:
        note = f"beyond the bar, but not beyond chance among {cells} cells; more repeats can tell"
    else:
        note = "the interval reaches across the bar; more repeats can tell"
    return Decided("cannot tell", note, p, test)


def _values(cell: Cell, metric: str) -> Sides:
    base, head = (rows[metric].dropna().to_numpy(dtype=float) if metric in rows else np.empty(0)
                  for rows in (cell.base, cell.head))  # fmt: skip
    return base, head


def _line(cell: Cell, metric: str) -> Line | None:
    """The line of a cell before any test; its note says why there can be none."""
    b, h = _values(cell, metric)
    if not (len(b) or len(h)):
        return None
    before, after = (float(np.median(v)) if len(v) else None for v in (b, h))
    line = Line(cell.name, metric, "measured", "cannot tell", before, after, keys=cell.keys)
    if not len(h):
        return replace(line, verdict="lost", note="base has it and head lacks it")
    if not len(b):
        return replace(line, note="base does not record it")
    if min(b.min(), h.min()) <= 0:
        return replace(line, note="a time that is not positive")
    line = replace(line, change=float(np.exp(np.log(h).mean() - np.log(b).mean()) - 1))
    machine = cell.difference("fingerprint")
    if machine:
        return replace(line, note=f"different machines ({machine.removeprefix('different ')})")
    if min(len(b), len(h)) < LEAST:
        few = min(len(b), len(h))
        return replace(line, note=f"{few} process{'es' if few > 1 else ''} a side; "
                                  f"repeats={LEAST} or more can tell")  # fmt: skip
    return line


def detectable(test: Welch, bar: float, cells: int) -> float:
    """The change for the worse that is called with 80 % power, by the noncentral t."""
    critical = float(stats.t.isf(ALPHA / cells, test.degrees))
    reach = optimize.brentq(
        lambda shift: stats.nct.sf(critical, test.degrees, shift) - POWER, 0, 10 * critical + 10
    )
    beyond_moods = math.log1p(MOOD) + float(stats.norm.ppf(POWER)) * test.error
    return math.expm1(max(math.log1p(bar) + reach * test.error, beyond_moods))
