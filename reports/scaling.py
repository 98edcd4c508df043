"""Power laws fitted to sizes that were swept, with intervals, and where two of them cross.

Least squares on logarithms, log y = a_s + p log x + e: one intercept a_s for each slice s of the
other settings, one exponent p for the series. With independent, equally spread errors the Student
interval
of p is exact whatever the number of points (Draper and Smith, Applied Regression Analysis, ch. 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtrit


@dataclass(frozen=True)
class PowerLaw:
    """y ∝ x^exponent, with a 95 % interval of the exponent.

    Args:
        exponent, low, high: the fit; low and high are nan where no degree of freedom is left.
        spread: standard deviation of the residuals of log y.
        degrees: degrees of freedom of `spread`.
        points: how many values were fitted.
        top: exponent between the two largest sizes alone: where it is heading.
        bent: whether a curved line fits better beyond chance, so that one exponent is too simple.
        x: the sizes.
    """

    exponent: float
    low: float
    high: float
    spread: float
    degrees: int
    points: int
    top: float
    bent: bool
    x: tuple[float, ...]


def fit(
    x: ArrayLike, y: ArrayLike, slices: ArrayLike | None = None, confidence: float = 0.95
) -> PowerLaw:
    """Fits one exponent to positive x and y.

    Args:
        x, y: [N] sizes and what was measured there.
        slices: [N] labels; each label has an intercept of its own. None: all one slice.

    Raises:
        ValueError: a value is not positive and finite, or x does not vary inside any slice.
    """
    log_x, log_y = _log(x, "x"), _log(y, "y")
    labels = np.zeros(len(log_x), int) if slices is None else pd.factorize(np.asarray(slices))[0]
    u, v = _centred(log_x, labels), _centred(log_y, labels)
    s_xx = float(u @ u)
    if s_xx < 1e-12:
        raise ValueError("a power law needs at least two different sizes in one slice")
    exponent = float(u @ v) / s_xx
    residual = v - exponent * u
    degrees = len(u) - (int(labels.max()) + 1) - 1
    spread = math.sqrt(float(residual @ residual) / degrees) if degrees > 0 else math.nan
    half = (
        float(stdtrit(degrees, 0.5 + confidence / 2)) * spread / math.sqrt(s_xx)
        if degrees > 0
        else math.nan
    )
    return PowerLaw(
        exponent=exponent,
        low=exponent - half,
        high=exponent + half,
        spread=spread,
        degrees=degrees,
        points=len(u),
        top=_top(log_x, log_y, labels),
        bent=_bent(log_x, labels, residual, degrees),
        x=tuple(np.unique(np.exp(log_x)).tolist()),
    )


def _log(values: ArrayLike, name: str) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if not (np.isfinite(array).all() and (array > 0).all()):
        raise ValueError(f"a power law needs positive, finite {name}; got {array.tolist()}")
    return np.log(array)


def _centred(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    means = np.bincount(labels, values) / np.bincount(labels)
    return values - means[labels]


def _top(log_x: np.ndarray, log_y: np.ndarray, labels: np.ndarray) -> float:
    """The exponent between the two largest sizes, over all slices that have both."""
    sizes = np.unique(log_x)[-2:]
    rises = []
    for label in np.unique(labels):
        ends = [log_y[(labels == label) & (log_x == size)] for size in sizes]
        if all(len(end) for end in ends):
            rises.append(ends[1].mean() - ends[0].mean())
    return float(np.mean(rises) / (sizes[1] - sizes[0])) if rises else math.nan


def _bent(log_x: np.ndarray, labels: np.ndarray, residual: np.ndarray, degrees: int) -> bool:
    """Whether a square term in log x is significant (1 %) and bends the line by more than 2 %."""
    if degrees < 2:
        return False
    u = _centred(log_x, labels)
    curve = _centred(log_x**2, labels)
    curve = curve - u * float(u @ curve) / float(u @ u)
    weight = float(curve @ curve)
    if weight < 1e-9:
        return False
    bend = float(curve @ residual) / weight
    left = residual - bend * curve
    error = math.sqrt(max(float(left @ left), 1e-24) / (degrees - 1) / weight)
    matters = abs(bend) * float(np.abs(curve).max()) > 0.02
    return matters and abs(bend) > float(stdtrit(degrees - 1, 0.995)) * error


@dataclass(frozen=True)
class CrossOver:
    """The size at which two power laws meet, with a 95 % interval.

    `low` is 0 or `high` is infinite where the data do not bound it on that side; both are nan
    where they
    bound it nowhere. `inside` says whether `at` lies between the sizes that were measured.
    """

    at: float
    low: float
    high: float
    inside: bool


def cross_over(
    x_a: ArrayLike, y_a: ArrayLike, x_b: ArrayLike, y_b: ArrayLike, confidence: float = 0.95
) -> CrossOver | None:
    """Where the fitted laws of a and b meet; None when they are parallel.

    The interval holds each x at which a difference of zero is not rejected: Fieller's (1954) set,
    with variances of their own for a and b and Welch's degrees of freedom.

    Raises:
        ValueError: as `fit`.
    """
    lines = [_Line.of(x, y) for x, y in ((x_a, y_a), (x_b, y_b))]
    slope = lines[0].slope - lines[1].slope
    if abs(slope) < 1e-9:
        return None
    at = -(lines[0].height(0.0) - lines[1].height(0.0)) / slope
    spans = [(line.log_x.min(), line.log_x.max()) for line in lines]
    inside = max(s[0] for s in spans) <= at <= min(s[1] for s in spans)
    low, high = _fieller(lines[0], lines[1], at, confidence)
    return CrossOver(_exp(at), _exp(low), _exp(high), bool(inside))


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


@dataclass(frozen=True)
class _Line:
    log_x: np.ndarray
    mean_y: float
    slope: float
    variance: float
    degrees: int

    @classmethod
    def of(cls, x: ArrayLike, y: ArrayLike) -> _Line:
        law = fit(x, y)
        return cls(
            _log(x, "x"),
            float(_log(y, "y").mean()),
            law.exponent,
            law.spread**2 if law.degrees > 0 else math.nan,
            law.degrees,
        )

    def height(self, at: float) -> float:
        return self.mean_y + self.slope * (at - float(self.log_x.mean()))

    def variance_at(self, at: float) -> float:
        centred = self.log_x - self.log_x.mean()
        return self.variance * (
            1 / len(centred) + (at - float(self.log_x.mean())) ** 2 / float(centred @ centred)
        )


def _fieller(a: _Line, b: _Line, at: float, confidence: float) -> tuple[float, float]:
    """The ends of the set of log x around `at` where a and b are not told apart."""
    if a.degrees < 1 or b.degrees < 1:
        return math.nan, math.nan
    if a.variance == b.variance == 0:
        return at, at
    v_a, v_b = a.variance_at(at), b.variance_at(at)
    degrees = (v_a + v_b) ** 2 / (v_a**2 / a.degrees + v_b**2 / b.degrees)
    t = float(stdtrit(degrees, 0.5 + confidence / 2))
    # gap(x)^2 <= t^2 var(x) is a quadratic in x; expand around `at`, where the gap is zero.
    slope = a.slope - b.slope
    curvature = [
        line.variance / float(np.sum((line.log_x - line.log_x.mean()) ** 2)) for line in (a, b)
    ]
    offset = [at - float(line.log_x.mean()) for line in (a, b)]
    square = slope**2 - t**2 * sum(curvature)
    linear = -2 * t**2 * sum(c * o for c, o in zip(curvature, offset, strict=True))
    constant = -(t**2) * (v_a + v_b)
    discriminant = linear**2 - 4 * square * constant
    if square <= 0:  # the difference in slope is not significant: one side, or both, is open
        if discriminant <= 0:
            return -math.inf, math.inf
        roots = sorted((-linear + s * math.sqrt(discriminant)) / (2 * square) for s in (-1, 1))
        # The set is everything outside the roots; `at` lies in one of its two halves.
        return (-math.inf, at + roots[0]) if roots[0] >= 0 else (at + roots[1], math.inf)
    roots = sorted((-linear + s * math.sqrt(discriminant)) / (2 * square) for s in (-1, 1))
    return at + roots[0], at + roots[1]
