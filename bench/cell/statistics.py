"""Statistics of repeated timings: pure functions of numbers."""

from __future__ import annotations

import math

import numpy as np

CONFIDENCE = 0.95


def median_interval(samples: list[float]) -> tuple[float, float]:
    """Order-statistic interval of the median at 95 %, exact for independent samples.

    Args:
        samples: at least one number; with fewer than 6 the interval is the whole range, because no
            pair of order statistics covers that often.

    Returns:
        Lower and upper end.
    """
    ordered = sorted(samples)
    n = len(ordered)
    # Largest k with P(Binomial(n, 1/2) < k) <= 2.5 %, so that (x_k, x_{n+1-k}) covers 95 %.
    tail, k = 0.0, 0
    while k < n // 2:
        tail += math.comb(n, k) / 2**n
        if tail > (1 - CONFIDENCE) / 2:
            break
        k += 1
    low = max(k - 1, 0)
    return ordered[low], ordered[n - 1 - low]


def bootstrap_interval(samples: list[float], seed: int = 0, resamples: int = 2000
                       ) -> tuple[float, float]:
    """Percentile bootstrap interval of the median at 95 %, seeded so that it repeats.

    Args:
        samples: at least one number.
        seed: of the resampling.
        resamples: bootstrap samples.

    Returns:
        Lower and upper end.
    """
    values = np.asarray(samples, dtype=float)
    rng = np.random.default_rng(seed)
    medians = np.median(values[rng.integers(0, len(values), (resamples, len(values)))], axis=1)
    low, high = np.quantile(medians, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def narrow_enough(samples: list[float], width: float) -> bool:
    """Whether the interval of the median is at most ``width`` times the median wide."""
    low, high = median_interval(samples)
    return high - low <= width * float(np.median(samples))


def steady(earlier: list[float], later: list[float], within: float) -> bool:
    """Whether the medians of two blocks of timings differ by at most a fraction ``within``."""
    a, b = float(np.median(earlier)), float(np.median(later))
    return abs(a - b) <= within * max(a, b)
