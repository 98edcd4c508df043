"""Statistics of comparisons: pure functions of numbers, without I/O or a clock.

Differences are of logarithms, so that a ratio and its inverse weigh the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, stdtrit

if TYPE_CHECKING:
    import pandas as pd

_EXACT_FLIPS = 18  # 2^18 sign patterns are still quick to enumerate
_EXACT_SPLITS = 200_000  # ways to deal two samples anew that are enumerated
_DRAWS = 20_000


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its confidence interval."""

    centre: float
    low: float
    high: float


def mean_interval(values: ArrayLike) -> Interval:
    """The mean of at least one value with Student's 95 % interval, nan for a single one."""
    array = np.asarray(values, dtype=float)
    n, centre = len(array), float(array.mean())
    half = float(half_interval(array.std(ddof=1), n)) if n > 1 else math.nan
    return Interval(centre, centre - half, centre + half)


def half_interval(spread: float | pd.Series, n: int | pd.Series) -> Any:
    """Half of Student's 95 % interval of a mean of n values, from their standard deviation."""
    return stdtrit(n - 1, 0.975) * spread / np.sqrt(n)


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[..., np.ndarray] = np.mean,
    confidence: float = 0.95,
    draws: int = 4000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap with the small-sample correction of Hesterberg (2015, section 3.1).

    The plain percentile interval of n values is too short by about sqrt((n-1)/n) z/t; the
    percentiles are moved outwards by just that.

    Args:
        values: [N] independent values, N >= 2.
        statistic: reduces the last axis, called with ``axis=-1``.
        seed: of the resampling; the same call gives the same interval.

    Raises:
        ValueError: fewer than two values.
    """
    array = _finite(values)
    n = len(array)
    if n < 2:
        raise ValueError(f"a bootstrap interval needs at least two values; got {n}")
    rng = np.random.default_rng(seed)
    resampled = statistic(array[rng.integers(n, size=(draws, n))], axis=-1)
    t = float(stdtrit(n - 1, 0.5 - confidence / 2))
    tail = float(ndtr(math.sqrt(n / (n - 1)) * t))
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Interval(float(statistic(array, axis=-1)), float(low), float(high))


def sign_flip_p(differences: ArrayLike, seed: int = 0) -> float:
    """Two-sided p of "the differences are symmetric around zero", by flipping their signs.

    Exact (all 2^N patterns) up to 18 differences, sampled beyond with the observed pattern counted
    in, so that it is never too small. N differences cannot give less than 2^(1-N).
    """
    d = _finite(differences)
    if not len(d):
        raise ValueError("a sign-flip test needs at least one difference")
    observed = abs(d.sum())
    if len(d) <= _EXACT_FLIPS:
        sums = np.zeros(1)
        for value in d:
            sums = np.concatenate([sums + value, sums - value])
        return float(np.mean(_at_least(np.abs(sums), observed)))
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], size=(_DRAWS, len(d)))
    return float((1 + _at_least(np.abs(signs @ d), observed).sum()) / (_DRAWS + 1))


def permutation_p(a: ArrayLike, b: ArrayLike, seed: int = 0) -> float:
    """Two-sided p of "a and b come from one distribution", by dealing the values anew.

    Exact while there are at most 200,000 ways to deal, sampled beyond with the observed one
    counted in.
    """
    a, b = _finite(a), _finite(b)
    if not (len(a) and len(b)):
        raise ValueError(
            f"a permutation test needs values on both sides; got {len(a)} and {len(b)}"
        )
    pooled = np.concatenate([a, b])
    n, total = len(a), pooled.sum()

    def gap(sum_a: np.ndarray) -> np.ndarray:
        return np.abs(sum_a / n - (total - sum_a) / len(b))

    observed = float(gap(np.asarray(a.sum())))
    if math.comb(len(pooled), n) <= _EXACT_SPLITS:
        chosen = _splits(len(pooled), n)
        return float(np.mean(_at_least(gap(pooled[chosen].sum(axis=1)), observed)))
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.broadcast_to(pooled, (_DRAWS, len(pooled))), axis=1)
    hits = _at_least(gap(shuffled[:, :n].sum(axis=1)), observed).sum()
    return float((1 + hits) / (_DRAWS + 1))


@lru_cache(maxsize=8)
def _splits(total: int, n: int) -> np.ndarray:
    """[ways, n] every choice of n indices out of `total`."""
    return np.array(list(combinations(range(total), n)))


def welch_interval(base: ArrayLike, head: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean of head minus mean of base with Welch's interval: no equal spread is assumed."""
    a, b = _finite(base), _finite(head)
    centre = float(b.mean() - a.mean())
    error, degrees = welch_error(a, b)
    half = float(stdtrit(degrees, 0.5 + confidence / 2)) * error
    return Interval(centre, centre - half, centre + half)


def welch_error(base: ArrayLike, head: ArrayLike) -> tuple[float, float]:
    """(standard error of the difference of means, Welch's degrees of freedom).

    Raises:
        ValueError: a side has fewer than two values.
    """
    a, b = _finite(base), _finite(head)
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a spread needs two values on each side; got {len(a)} and {len(b)}")
    v_a, v_b = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    if v_a + v_b == 0:
        return 0.0, float(len(a) + len(b) - 2)
    degrees = (v_a + v_b) ** 2 / (v_a**2 / (len(a) - 1) + v_b**2 / (len(b) - 1))
    return math.sqrt(v_a + v_b), float(degrees)


def detectable(
    error: float, degrees: float, bar: float = 0.0, power: float = 0.8, confidence: float = 0.95
) -> float:
    """The smallest true difference that is called with the given power when it must exceed
    `bar`.
    """
    reach = float(stdtrit(degrees, 0.5 + confidence / 2) + stdtrit(degrees, power))
    return bar + reach * error


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the given order: the chance of any false alarm stays below
    alpha.
    """
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted = [0.0] * len(p)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = running
    return adjusted


def _at_least(values: np.ndarray, observed: float) -> np.ndarray:
    """values >= observed, a rounding error aside: the observed arrangement must count itself."""
    return values >= observed - 1e-12 * max(1.0, abs(observed))


def _finite(values: ArrayLike) -> np.ndarray:
    array = np.asarray(values, dtype=float).ravel()
    if not np.isfinite(array).all():
        raise ValueError("statistics need finite numbers; drop failed measurements first")
    return array
