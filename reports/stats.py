"""Statistics of comparisons: pure functions of numbers, without I/O or a clock.

Times are compared by their logarithms, so that a ratio and its inverse weigh the same, and the unit
is always the process (or the seed), never a sample inside of one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special, stats

ALPHA = 0.05
LEAST = 3  # values that say something of their own spread
OWN, RANGE, STUDENT = "within one process", "min to max", "95 %"


class Interval(NamedTuple):
    """An estimate and the ends of what is known about it.

    Attributes:
        centre: the estimate.
        low, high: the ends; NaN where nothing is known.
        kind: what the ends are: "within one process", "min to max", "95 %", or "" for nothing.
    """

    centre: float
    low: float = math.nan
    high: float = math.nan
    kind: str = ""


def interval(
    values: ArrayLike,
    own: tuple[float, float] = (math.nan, math.nan),
    bounds: tuple[float, float] | None = None,
) -> Interval:
    """What several processes or seeds say of one number.

    One value has only its own spread; of two the two are told; from three on it is Student's 95 %
    interval, on logarithms where all are positive and none is bounded.

    Args:
        values: [N], N >= 1.
        own: the ends that a single process recorded of its own samples.
        bounds: where the values themselves end, as 0 and 1 of a share.
    """
    array = np.asarray(values, dtype=float)
    logs = bounds is None and bool((array > 0).all())
    if len(array) == 1:
        known = not math.isnan(own[0] + own[1])
        return Interval(float(array[0]), *own, OWN) if known else Interval(float(array[0]))
    if len(array) < LEAST:
        centre = float(np.exp(np.log(array).mean()) if logs else array.mean())
        return Interval(centre, float(array.min()), float(array.max()), RANGE)
    scaled = np.log(array) if logs else array
    error = float(stats.sem(scaled))
    # Without any spread there is no scale; the interval is the point.
    low, high = stats.t.interval(0.95, len(array) - 1, scaled.mean(), error or 1e-300)
    ends = np.array([scaled.mean(), low, high])
    centre, low, high = np.exp(ends) if logs else np.clip(ends, *(bounds or (-np.inf, np.inf)))
    return Interval(float(centre), float(low), float(high), STUDENT)


def own_ends(rows: pd.DataFrame, metric: str) -> tuple[float, float]:
    """What the first of these processes recorded of its own samples; NaN where it did not."""
    low, high = (float(rows[name].iloc[0]) if name in rows else math.nan
                 for name in (f"{metric}_lo", f"{metric}_hi"))  # fmt: skip
    return low, high


def wilson(share: float, n: int) -> Interval:
    """A share of n cases with Wilson's 95 % interval."""
    ends = stats.binomtest(round(share * n), n).proportion_ci(method="wilson")
    return Interval(share, float(ends.low), float(ends.high), STUDENT)


class Welch(NamedTuple):
    """Two independent sets of logarithms compared without assuming equal spreads (Welch, 1947).

    Attributes:
        gap: mean of head minus mean of base.
        error: its standard error.
        degrees: Welch's degrees of freedom.
    """

    gap: float
    error: float
    degrees: float

    @classmethod
    def of(cls, base: np.ndarray, head: np.ndarray, floor: float = 1e-12) -> Welch:
        """From logarithms; a side's standard deviation counts as at least `floor`."""
        b, h = (max(float(v.std(ddof=1)), floor) ** 2 / len(v) for v in (base, head))
        degrees = (b + h) ** 2 / (b**2 / (len(base) - 1) + h**2 / (len(head) - 1))
        return cls(float(head.mean() - base.mean()), math.sqrt(b + h), degrees)

    def p_above(self, bar: float) -> float:
        """One-sided p of "the gap is no more than `bar`"."""
        return float(special.stdtr(self.degrees, (bar - self.gap) / self.error))

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        half = float(special.stdtrit(self.degrees, 0.5 + confidence / 2)) * self.error
        return self.gap - half, self.gap + half


def paired_ratio(base: ArrayLike, head: ArrayLike) -> Interval:
    """The geometric mean of head over base, pair by pair: `interval` of the ratios."""
    return interval(np.exp(_logs(head) - _logs(base)))


def behind_best(values: pd.DataFrame) -> pd.Series:
    """p of "this way is no worse than the best" for each way; NaN below three seeds.

    Seeds that all ways share are blocks, and Tukey's studentised range of what is left after them
    corrects over all pairs of ways, so that picking the best costs nothing.

    Args:
        values: [seed, way], one value each; higher is better (negate losses).
    """
    shared = values.dropna()
    seeds, ways = shared.shape
    p = pd.Series(math.nan, index=values.columns)
    if seeds < LEAST or ways < 2:
        return p
    table = shared.to_numpy(dtype=float)
    left = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    degrees = (seeds - 1) * (ways - 1)
    error = math.sqrt(float((left**2).sum()) / degrees / seeds)
    gaps = table.mean(axis=0).max() - table.mean(axis=0)
    if error < 1e-12:
        p[:] = np.where(gaps > 1e-12, 0.0, 1.0)
    else:
        p[:] = stats.studentized_range.sf(gaps / error, ways, degrees)
    return p


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the given order: the chance of any false alarm stays below
    alpha.
    """
    order = np.argsort(p, kind="stable")
    steps = np.arange(len(p), 0, -1) * np.asarray(p, dtype=float)[order]
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


def _logs(values: ArrayLike) -> np.ndarray:
    array = np.atleast_1d(np.asarray(values, dtype=float))
    if not (len(array) and np.isfinite(array).all() and (array > 0).all()):
        raise ValueError(f"times and ratios are positive, finite numbers; got {array.tolist()}")
    return np.log(array)
