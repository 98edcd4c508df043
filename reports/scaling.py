"""Growth with a size: a fixed cost and a power law, and where two curves change places."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

POWERS = np.round(np.arange(-1.0, 5.0001, 0.01), 2)
FLAT = 0.05  # a quantity that changes by less over all sizes does not grow
DOMINATED = 0.5  # of the quantity at the largest size: a larger fixed cost hides how the rest grows


@dataclass(frozen=True)
class Law:
    """y = a + b x^exponent, with a fixed cost a ≥ 0.

    Args:
        exponent, low, high: with a 95 % interval; its ends are nan where three sizes or fewer leave
            nothing to tell it from.
        fixed_share: a over y at the largest size.
        dominated: that share is so large that the exponent says little.
        x: the sizes.
    """

    exponent: float
    low: float
    high: float
    fixed_share: float
    dominated: bool
    x: tuple[float, ...]


def fit(x: ArrayLike, y: ArrayLike) -> Law:
    """Least squares of relative errors, over all exponents.

    The interval holds the exponents whose best fit is not significantly worse (profile likelihood).

    Args:
        x, y: [N] sizes and what was measured there, N >= 2, positive and finite.

    Raises:
        ValueError: a value is not, or x does not vary.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if not (np.isfinite([x, y]).all() and (x > 0).all() and (y > 0).all() and np.ptp(x) > 0):
        raise ValueError(f"a power law needs positive sizes that vary; got {x} and {y}")
    sizes = tuple(np.unique(x).tolist())
    if y.max() < (1 + FLAT) * y.min():
        slope = float(np.polyfit(np.log(x), np.log(y), 1)[0])
        return Law(slope, slope, slope, 0.0, False, sizes)
    scaled = x / x.max()
    fixed, factor, errors = _with_powers(scaled, y)
    best = int(errors.argmin())
    share = float(fixed[best] / (fixed[best] + factor[best]))
    degrees = len(x) - 3
    low = high = math.nan
    if degrees > 0:
        reach = float(stdtrit(degrees, 0.975)) ** 2 / degrees
        near = POWERS[errors <= errors[best] * (1 + reach) + 1e-12]
        low, high = float(near.min()), float(near.max())
    return Law(float(POWERS[best]), low, high, share, share > DOMINATED, sizes)


def _with_powers(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(fixed costs, factors, squared relative errors) for each of `POWERS`; none negative."""
    u, v = 1 / y, x ** POWERS[:, None] / y  # [N], [P, N]: what a and b are multiplied by
    uu, uv, vv, u1, v1 = u @ u, v @ u, (v**2).sum(1), u.sum(), v.sum(1)
    det = uu * vv - uv**2
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (vv * u1 - uv * v1) / det, (uu * v1 - uv * u1) / det
    # Where a negative fixed cost would fit best, none does; the power of 0 is one itself.
    alone = ~(det > 1e-9 * uu * vv) | (a < 0) | (b < 0)
    a, b = np.where(alone, 0.0, a), np.where(alone, v1 / vv, b)
    return a, b, ((a[:, None] * u + b[:, None] * v - 1) ** 2).sum(1)


def crossing(x: ArrayLike, a: ArrayLike, b: ArrayLike, bar: float) -> tuple[float, float] | None:
    """The neighbouring sizes between which the order of two curves turned; None where it did not.

    Args:
        x: [N] sizes, ascending.
        a, b: [N] positive.
        bar: share by which they have to differ, on both sides of the turn, to have an order.
    """
    x = np.asarray(x, dtype=float)
    gap = np.log(np.asarray(a, dtype=float) / np.asarray(b, dtype=float))
    told = np.flatnonzero(np.abs(gap) > math.log1p(bar))
    turns = [(i, j) for i, j in itertools.pairwise(told) if gap[i] * gap[j] < 0]
    # More than one turn is noise, or no crossing that a sentence could tell.
    return (float(x[turns[0][0]]), float(x[turns[0][1]])) if len(turns) == 1 else None
