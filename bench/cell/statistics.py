"""Statistics of repeated timings: pure functions of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

CONFIDENCE = 0.95
LOW = 0.1


def median_interval(samples: list[float]) -> tuple[float, float]:
    """Order-statistic interval of the median at 95 %, exact for independent samples.

    With fewer than 6 it is the whole range: no pair of order statistics covers that often.
    """
    ordered = sorted(samples)
    n = len(ordered)
    # Largest k with P(Binomial(n, 1/2) < k) <= 2.5 %, so that (x_k, x_{n+1-k}) covers 95 %.
    tails = np.cumsum([math.comb(n, k) / 2**n for k in range(n // 2)])
    k = int(np.searchsorted(tails, (1 - CONFIDENCE) / 2, side="right"))
    low = max(k - 1, 0)
    return ordered[low], ordered[n - 1 - low]


def narrow_enough(samples: list[float], width: float) -> bool:
    """Whether the interval of the median is at most ``width`` times the median wide."""
    low, high = median_interval(samples)
    return high - low <= width * float(np.median(samples))


def steady(earlier: list[float], later: list[float], within: float) -> bool:
    """Whether the medians of two blocks of timings differ by at most a fraction ``within``."""
    a, b = float(np.median(earlier)), float(np.median(later))
    return abs(a - b) <= within * max(a, b)


def low_quantile(samples: Sequence[float]) -> float:
    """The lowest decile: what a step takes when nothing else runs, on a machine that is not quiet.

    Under load the median jumps between two values from process to process; this does far less.
    """
    return float(np.quantile(samples, LOW))


def ratio_interval(
    one: Sequence[Sequence[float]], other: Sequence[Sequence[float]], resamples: int = 400
) -> tuple[float, float, float]:
    """Ratio of the low quantiles of two that took turns, with its bootstrap interval at 95 %.

    Rounds are drawn, not single times: those of one turn have the machine's mood in common.
    ``one`` and ``other`` are the times of each round's turn.
    """
    rounds = len(one)
    rng = np.random.default_rng(0)
    draws = rng.multinomial(rounds, np.full(rounds, 1 / rounds), resamples)
    draws = np.vstack([np.ones(rounds, int), draws])  # first the rounds as they are
    ratios = _low_of(one, draws) / _low_of(other, draws)
    low, high = np.quantile(ratios[1:], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(ratios[0]), float(low), float(high)


def _low_of(turns: Sequence[Sequence[float]], draws: np.ndarray) -> np.ndarray:
    """Low quantile of all times, each turn as often as each draw says; one for each draw."""
    times = np.concatenate([np.asarray(turn, float) for turn in turns])
    order = np.argsort(times)
    of_turn = np.repeat(np.arange(len(turns)), [len(turn) for turn in turns])[order]
    found = []
    for draw in draws:
        weight = np.cumsum(draw[of_turn])
        found.append(times[order[np.searchsorted(weight, LOW * weight[-1])]])
    return np.array(found)
