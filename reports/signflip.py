"""The exact sign-flip test and the bootstrap interval of paired log-ratios. Pure functions.

Under the null the two labels of a pair are exchangeable, so every pattern of signs is as likely as
the one seen, whatever the distribution: R. A. Fisher, The Design of Experiments (1935), section 21.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

Alternative = Literal["greater", "less", "two-sided"]

# Two halves of 2^20 sums each still fit easily; beyond that the patterns are drawn.
EXACT_UP_TO = 40
DRAWS = 100_000


def sign_flip_p(values: ArrayLike, alternative: Alternative = "two-sided") -> float:
    """Share of sign patterns whose sum is at least as extreme as the one seen.

    Args:
        values: [N] differences of pairs (log-ratios), symmetric about 0 under the null.
        alternative: which sums count as extreme.

    Returns:
        The p-value: exact for up to 40 pairs, at least 2^-N; from 100,000 seeded draws beyond,
        the pattern seen counted among them so that the test stays valid. 1.0 without pairs.
    """
    x = np.asarray(values, float)
    if alternative == "less":
        return sign_flip_p(-x, "greater")
    if alternative == "two-sided":
        # The sums are symmetric about 0: both tails weigh the same unless the sum seen is 0.
        return min(1.0, 2 * sign_flip_p(-x if x.sum() < 0 else x, "greater"))
    # Sums that differ by rounding only are equal.
    seen = x.sum() - 1e-12 * np.abs(x).sum()
    if len(x) > EXACT_UP_TO:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(DRAWS, len(x)))
        return float((1 + np.count_nonzero(signs @ x >= seen)) / (DRAWS + 1))
    left, right = _sums(x[: len(x) // 2]), np.sort(_sums(x[len(x) // 2 :]))
    reaching = len(right) - np.searchsorted(right, seen - left)
    return float(reaching.sum() / 2.0 ** len(x))


def bounded(values: ArrayLike) -> np.ndarray:
    """The values with nothing further from 0 than their median distance.

    A score of this kind keeps a sign-flip test exact, since the bound is the same for every pattern
    of signs, and one process that met a busy machine no longer outweighs all the others.

    Args:
        values: [N] differences, N at least 1.

    Returns:
        [N] values, clipped.
    """
    x = np.asarray(values, float)
    bound = np.median(np.abs(x))
    return np.clip(x, -bound, bound)


def bootstrap_interval(
    values: ArrayLike, level: float = 0.95, draws: int = 4000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of the median.

    Args:
        values: [N] independent values, N at least 1.
        level: share of the interval, between 0 and 1.
        draws: resamples.
        seed: of the resampling, so that the same values give the same interval.

    Returns:
        Lower and upper end, in the unit of the values.
    """
    x = np.asarray(values, float)
    rng = np.random.default_rng(seed)
    medians = np.median(rng.choice(x, size=(draws, len(x))), axis=1)
    lo, hi = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2])
    return float(lo), float(hi)


def _sums(x: np.ndarray) -> np.ndarray:
    """[2^N] sums of x under every pattern of signs."""
    sums = np.zeros(1)
    for value in x:
        sums = np.concatenate([sums + value, sums - value])
    return sums
