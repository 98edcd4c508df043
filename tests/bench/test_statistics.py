"""Statistics of timings: intervals that cover, rules that stop."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.cell.statistics import median_interval, narrow_enough, steady

times = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=60)


@given(times)
def test_intervals_hold_the_median_and_stay_within_the_samples(samples: list[float]) -> None:
    low, high = median_interval(samples)
    assert min(samples) <= low <= float(np.median(samples)) <= high <= max(samples)


def test_median_interval_is_the_textbooks() -> None:
    # Sign-test tables: for n = 10 the 95 % interval is (x_2, x_9), for n = 20 it is (x_6, x_15).
    assert median_interval([float(i) for i in range(1, 11)]) == (2.0, 9.0)
    assert median_interval([float(i) for i in range(1, 21)]) == (6.0, 15.0)
    # Five samples cannot give 95 %: the whole range is the answer.
    assert median_interval([3.0, 1.0, 2.0, 5.0, 4.0]) == (1.0, 5.0)


def test_intervals_cover_the_true_median() -> None:
    rng = np.random.default_rng(0)
    draws = rng.exponential(size=(400, 25))
    truth = np.log(2)
    exact = np.mean([low <= truth <= high for low, high in map(median_interval, draws.tolist())])
    # The order-statistic interval covers at least 95 %; 400 draws know that to about 2 %.
    assert exact >= 0.93


def test_sampling_stops_when_the_interval_is_narrow() -> None:
    assert narrow_enough([1.0] * 10, 0.05)
    assert not narrow_enough([1.0, 2.0] * 5, 0.05)


def test_steady_compares_medians() -> None:
    assert steady([1.0, 1.0, 9.0], [1.05, 1.05, 0.1], within=0.1)
    assert not steady([2.0, 2.0], [1.0, 1.0], within=0.1)
