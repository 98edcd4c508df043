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

import numpy as np
from scipy import optimize, stats

from reports.compare.pairing import Cell
from reports.compare.result import Line
from reports.records.columns import describe
from reports.stats import ALPHA, LEAST, Welch, holm

BAR = 0.05  # the least change that counts, as a share
MOOD = 0.15  # what sweeps one after the other may differ by without any change
POWER = 0.8
_QUIETEST = 1e-6  # a spread of zero is a clock that does not tick


def time_lines(cells: Sequence[Cell], metric: str, bar: float) -> list[Line]:
    """One line for each cell in which a side has the metric."""
    found = [(line, cell) for cell in cells if (line := _line(cell, metric))]
    # On logarithms, and so that more is always worse.
    sign = -1.0 if describe(metric).better == "high" else 1.0
    logs = {line: [sign * np.log(v) for v in _values(cell, metric)]
            for line, cell in found if not line.note}  # fmt: skip
    lines = [line for line, _ in found if line.note]
    if not logs:
        return lines
    spread = float(np.mean([side.std(ddof=1) for sides in logs.values() for side in sides]))
    tests = [Welch.of(*sides, max(spread, _QUIETEST)) for sides in logs.values()]
    worse = holm([test.p_above(math.log1p(bar)) for test in tests])
    better = holm([test._replace(gap=-test.gap).p_above(math.log1p(bar)) for test in tests])
    return lines + [
        _told(line, test, p, q, bar, sign, len(tests))
        for line, test, p, q in zip(logs, tests, worse, better, strict=True)
    ]


def _values(cell: Cell, metric: str) -> list[np.ndarray]:
    return [rows[metric].dropna().to_numpy(dtype=float) if metric in rows else np.empty(0)
            for rows in (cell.base, cell.head)]  # fmt: skip


def _line(cell: Cell, metric: str) -> Line | None:
    """The line of a cell before any test; its note says why there can be none."""
    b, h = _values(cell, metric)
    if not (len(b) or len(h)):
        return None
    middle = [float(np.median(v)) if len(v) else None for v in (b, h)]
    line = Line(cell.name, metric, "measured", "cannot tell", *middle, keys=cell.keys)
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


def _told(
    line: Line, test: Welch, p_worse: float, p_better: float, bar: float, sign: float, lines: int
) -> Line:
    """The line with its verdict; `test` is of what is worse when it is more."""
    low, high = sorted(math.expm1(sign * end) for end in test.interval())
    line = replace(line, low=low, high=high, p=p_worse if test.gap > 0 else p_better,
                   detectable=_detectable(test, bar, lines))  # fmt: skip
    if line.p is not None and line.p <= ALPHA:
        if abs(test.gap) > math.log1p(MOOD):
            return replace(line, verdict="worse" if test.gap > 0 else "better")
        return replace(line, note=f"two sweeps differ by up to {MOOD:.0%} without a change; "
                                  "a duel can tell")  # fmt: skip
    if max(map(abs, test.interval())) <= math.log1p(bar):
        return replace(line, verdict="same")
    if test._replace(gap=abs(test.gap)).p_above(math.log1p(bar)) <= ALPHA:
        return replace(line, note=f"beyond the bar, but not beyond chance among {lines} "
                                  "comparisons; more repeats can tell")  # fmt: skip
    return replace(line, note="the interval reaches across the bar; more repeats can tell")


def _detectable(test: Welch, bar: float, lines: int) -> float:
    """The change for the worse that is called with 80 % power, by the noncentral t."""
    critical = float(stats.t.isf(ALPHA / lines, test.degrees))
    reach = optimize.brentq(
        lambda shift: stats.nct.sf(critical, test.degrees, shift) - POWER, 0, 10 * critical + 10)
    beyond_moods = math.log1p(MOOD) + float(stats.norm.ppf(POWER)) * test.error
    return math.expm1(max(math.log1p(bar) + reach * test.error, beyond_moods))
