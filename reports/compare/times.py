"""The gate with a clock: is a difference between processes larger than chance and than noise?

The two sweeps ran one after the other, so a machine that changed its pace in between looks like a
change of the code. An alarm therefore needs the whole 99 % interval beyond the bar, not only a
small p-value; an interleaved duel can do with less.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from reports import resampling as stats
from reports.compare.exact import difference
from reports.compare.pairing import Side
from reports.compare.result import Line
from reports.records.columns import describe

ALPHA = 0.05
CONFIDENCE = 0.99  # of the interval that is shown and that has to lie beyond the bar
LEAST_PROCESSES = 3  # on each side; fewer say nothing about the spread between processes


def measured_line(
    cell: str,
    metric: str,
    base: pd.DataFrame,
    head: pd.DataFrame,
    sides: tuple[Side, Side],
    bar: float,
) -> Line | None:
    """The line of one metric, its p-value not corrected yet; None where neither side has it."""
    if metric not in base or metric not in head:
        return None
    b, h = (rows[metric].dropna().to_numpy(dtype=float) for rows in (base, head))
    if not (len(b) or len(h)):
        return None
    line = Line(
        cell,
        metric,
        "measured",
        "cannot tell",
        float(np.median(b)) if len(b) else None,
        float(np.median(h)) if len(h) else None,
        keys=(*base["key"], *head["key"]),
    )
    if not (len(b) and len(h)) or min(b.min(), h.min()) <= 0:
        return replace(line, note="not measured on both sides")
    line = replace(line, change=float(np.exp(np.log(h).mean() - np.log(b).mean()) - 1))
    machine = difference(base, head, sides, ("fingerprint",))
    if machine:
        return replace(line, note=f"different machines ({machine.removeprefix('different ')})")
    if min(len(b), len(h)) < LEAST_PROCESSES:
        return replace(
            line,
            note=f"{min(len(b), len(h))} process(es) a side; repeats="
            f"{LEAST_PROCESSES} or more can tell",
        )
    log_b, log_h = np.log(b), np.log(h)
    error, degrees = stats.welch_error(log_b, log_h)
    interval = stats.welch_interval(log_b, log_h, CONFIDENCE)
    return replace(
        line,
        low=math.expm1(interval.low),
        high=math.expm1(interval.high),
        p=stats.permutation_p(log_b, log_h),
        detectable=math.expm1(
            stats.detectable(error, degrees, math.log1p(bar), confidence=CONFIDENCE)
        ),
    )


def decide(lines: list[Line], bar: float) -> list[Line]:
    """The lines with corrected p-values and their verdicts."""
    tested = [i for i, line in enumerate(lines) if line.p is not None]
    adjusted = stats.holm([lines[i].p or 0.0 for i in tested])
    out = list(lines)
    for i, p in zip(tested, adjusted, strict=True):
        out[i] = _decided(replace(lines[i], p=p), bar, len(tested))
    return out


def _decided(line: Line, bar: float, comparisons: int) -> Line:
    assert line.low is not None
    assert line.high is not None
    assert line.p is not None
    up, down = math.log1p(bar), -math.log1p(bar)
    low, high = math.log1p(line.low), math.log1p(line.high)
    higher_is_worse = describe(line.metric).better != "high"
    if line.p <= ALPHA and low > up:
        return replace(line, verdict="worse" if higher_is_worse else "better")
    if line.p <= ALPHA and high < down:
        return replace(line, verdict="better" if higher_is_worse else "worse")
    if low >= down and high <= up:
        return replace(line, verdict="same")
    if line.p > ALPHA and (low > up or high < down):
        return replace(
            line,
            note=f"beyond the bar, but not beyond chance among {comparisons} "
            "comparisons; more repeats can tell",
        )
    return replace(line, note="the interval reaches across the bar; more repeats can tell")
