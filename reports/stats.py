"""Statistics of comparisons; their unit is the process or the seed, never a sample inside one."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special, stats

ALPHA = 0.05
LEAST = 3  # values that say something of their own spread
LOUD = 0.001  # p at which the seeds of a way scatter more than those of others
Z95 = 1.96  # standard errors to either end of a 95 % interval
OWN, RANGE, STUDENT = "within one process", "min to max", "95 %"


class Interval(NamedTuple):
    """An estimate and the ends of what is known about it; NaN where nothing is."""

    centre: float
    low: float = math.nan
    high: float = math.nan
    kind: str = ""  # what the ends are: "within one process", "min to max", "95 %", or ""

    @property
    def error(self) -> float:
        """The standard error of its logarithm, by its ends; 0 where they are not known."""
        return math.log(self.high / self.low) / (2 * Z95) if self.low > 0 else 0.0


def interval(
    values: ArrayLike, own: tuple[float, float] = (math.nan, math.nan),
    bounds: tuple[float, float] | None = None,
) -> Interval:  # fmt: skip
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
    half = float(special.stdtrit(len(array) - 1, 0.975)) * error
    ends = scaled.mean() + np.array([0.0, -half, half])
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
    """Two independent sets of logarithms compared without assuming equal spreads (Welch, 1947)."""

    gap: float  # mean of head minus mean of base
    error: float  # its standard error
    degrees: float  # Welch's degrees of freedom

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


def behind(
    values: Mapping[str, Mapping[Hashable, float]], best: str, paired: bool = True,
    least: float = 0.0, own: Mapping[str, float] | None = None,
) -> dict[str, float]:  # fmt: skip
    """p of "this way is as good as the best" for every other way; NaN below three seeds.

    By Tukey's studentised range, which corrects over all pairs of ways, so that picking the best
    costs nothing. Paired, the seeds that all share are blocks, where there are three of them. The
    noise is pooled, but for ways whose seeds scatter significantly more than the middle one's: one
    that diverged would hide every other difference. That of a way is its own where it is larger.
    Nor do those count among the pairs of the others, which two of four would leave little power.

    Args:
        values: way -> seed -> value; higher is better (negate losses).
        best: the way that the others are compared with.
        least: what a value's standard deviation counts as at least.
        own: way -> a variance that all its seeds share.
    """
    p = dict.fromkeys(sorted(values.keys() - {best}), math.nan)
    ways = [w for w in [best, *p] if len(values[w]) >= LEAST]
    if best not in ways or len(ways) < 2:
        return p
    shared = set.intersection(*(set(values[w]) for w in ways))
    paired = paired and len(shared) >= LEAST
    rows = [np.array([values[w][s] for s in sorted(shared if paired else values[w], key=str)])
            for w in ways]  # fmt: skip
    degrees = np.array([len(row) - 1 for row in rows])
    spread = np.array([row.var(ddof=1) for row in rows])
    bar = stats.f.isf(LOUD, degrees, degrees.sum() / 2)
    calm = spread <= bar * np.sort(spread)[(len(ways) - 1) // 2]
    if paired := paired and calm.sum() > 1:
        rows = list(np.array(rows) - np.array(rows)[calm].mean(axis=0))
        spread = np.array([row.var(ddof=1) for row in rows])
    pooled = int(degrees[calm].sum() - paired * degrees[0])
    within = max(float((spread * degrees)[calm].sum()) / pooled, least**2)
    errors = np.maximum(spread, within) / (degrees + 1)
    errors += np.array([(own or {}).get(way, 0.0) for way in ways])
    errors = np.sqrt((errors + errors[0]) / 2)
    gaps = rows[0].mean() - np.array([row.mean() for row in rows])
    still = errors < 1e-12
    compared = np.where(calm & calm[0], max(2, calm.sum()), len(ways))
    told = stats.studentized_range.sf(gaps / np.where(still, 1, errors), compared, pooled)
    told = np.where(still, np.where(gaps > 1e-12, 0.0, 1.0), told)
    return p | dict(zip(ways[1:], told[1:].tolist(), strict=True))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the given order: the chance of any false alarm stays below
    alpha.
    """
    order = np.argsort(p, kind="stable")
    steps = np.arange(len(p), 0, -1) * np.asarray(p, dtype=float)[order]
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]
