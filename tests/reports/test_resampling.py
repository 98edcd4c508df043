"""Statistics of comparisons: intervals cover, p is uniform under the null, corrections hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports import resampling as stats

finite = st.floats(-1e3, 1e3).filter(lambda v: v == 0 or abs(v) > 1e-6)
samples = st.lists(finite, min_size=2, max_size=10)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def least_permutation_p(n_base: int, n_head: int) -> float:
    """The smallest p that a two-sided permutation test of these sample sizes can give."""
    mirrored = 2 if n_base == n_head else 1
    return mirrored / math.comb(n_base + n_head, n_base)


@pytest.mark.parametrize("n", [7, 15, 40])
@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_bootstrap_intervals_cover(n: int, statistic: object) -> None:
    rng = np.random.default_rng(n)
    draws = 600
    held = 0
    for _ in range(draws):
        interval = stats.bootstrap_interval(rng.standard_normal(n), statistic, draws=800)  # type: ignore[arg-type]
        held += interval.low <= 0 <= interval.high
    # Wider than it promises is allowed for the median of few values; narrower is not.
    assert 0.92 <= held / draws <= 0.995


@given(samples)
@settings(max_examples=50, deadline=None)
def test_a_bootstrap_interval_stays_within_the_data_and_repeats(values: list[float]) -> None:
    first = stats.bootstrap_interval(values, draws=200)
    slack = 1e-9 * max(1.0, *map(abs, values))
    assert min(values) - slack <= first.low <= first.high <= max(values) + slack
    assert first == stats.bootstrap_interval(values, draws=200)


@pytest.mark.parametrize("n", [6, 9])
def test_sign_flip_p_is_uniform_under_the_null(n: int) -> None:
    rng = np.random.default_rng(n)
    p = np.array([stats.sign_flip_p(rng.standard_normal(n)) for _ in range(2000)])
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        exact = math.floor(level * 2 ** (n - 1)) / 2 ** (n - 1)  # the test has 2^(n-1) levels
        assert np.mean(p <= level) == pytest.approx(exact, abs=0.035)


def test_permutation_p_is_uniform_under_the_null() -> None:
    rng = np.random.default_rng(0)
    p = np.array(
        [stats.permutation_p(rng.exponential(size=5), rng.exponential(size=6)) for _ in range(1500)]
    )
    for level in (0.05, 0.25, 0.5, 0.75):
        assert np.mean(p <= level) == pytest.approx(level, abs=0.04)


@given(samples)
@settings(deadline=None)
def test_sign_flip_p_is_a_probability_no_smaller_than_possible(values: list[float]) -> None:
    p = stats.sign_flip_p(values)
    assert 2.0 ** (1 - len(values)) <= p <= 1
    assert p == pytest.approx(stats.sign_flip_p([-v for v in values]))
    assert p == pytest.approx(stats.sign_flip_p([7.5 * v for v in values]))


def test_sign_flip_p_against_counting_by_hand() -> None:
    assert stats.sign_flip_p([1, 2, 3]) == 2 / 8
    assert stats.sign_flip_p([1, 2, -3]) == 1
    assert stats.sign_flip_p([0, 0]) == 1


def test_many_differences_are_sampled_and_agree_with_the_exact_test() -> None:
    values = np.random.default_rng(5).normal(0.4, 1, 18)
    exact = stats.sign_flip_p(values)
    sampled = stats.sign_flip_p(np.append(values, 0.0))  # a zero changes no pattern's sum
    assert sampled == pytest.approx(exact, abs=0.02)


@given(samples, samples)
@settings(deadline=None)
def test_permutation_p_is_symmetric_and_possible(a: list[float], b: list[float]) -> None:
    p = stats.permutation_p(a, b)
    assert least_permutation_p(len(a), len(b)) * (1 - 1e-9) <= p <= 1
    assert p == pytest.approx(stats.permutation_p(b, a))


def test_least_permutation_p_is_reached() -> None:
    for n_base, n_head in ((3, 3), (4, 3), (5, 5)):
        p = stats.permutation_p(np.arange(n_base), 100.0 + np.arange(n_head))
        assert p == pytest.approx(least_permutation_p(n_base, n_head))


def test_mean_interval_by_hand() -> None:
    found = stats.mean_interval([1, 2, 3, 6])
    half = 3.182446 * math.sqrt(14 / 3) / 2  # t quantile of 3 degrees of freedom
    assert (found.centre, found.low, found.high) == pytest.approx((3, 3 - half, 3 + half))
    alone = stats.mean_interval([7.0])
    assert alone.centre == 7
    assert math.isnan(alone.low)
    assert math.isnan(alone.high)


def test_welch_interval_covers_unequal_spreads() -> None:
    rng = np.random.default_rng(9)
    held = 0
    for _ in range(2000):
        interval = stats.welch_interval(rng.normal(1, 1, 5), rng.normal(3, 4, 8))
        held += interval.low <= 2 <= interval.high
    assert 0.93 <= held / 2000 <= 0.97


@given(p_values)
@settings(deadline=None)
def test_holm_never_lowers_a_p_and_keeps_the_order(p: list[float]) -> None:
    adjusted = stats.holm(p)
    assert all(a >= b for a, b in zip(adjusted, p, strict=True))
    assert all(a <= 1 for a in adjusted)
    order = sorted(range(len(p)), key=lambda i: p[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)


def test_holm_by_hand() -> None:
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([]) == []


def test_holm_keeps_the_chance_of_any_false_alarm() -> None:
    rng = np.random.default_rng(4)
    alarms = sum(min(stats.holm(rng.uniform(size=12).tolist())) <= 0.05 for _ in range(4000))
    assert alarms / 4000 <= 0.06


def test_detectable_grows_with_the_error_and_the_bar() -> None:
    assert (
        stats.detectable(0.01, 10) < stats.detectable(0.02, 10) < stats.detectable(0.02, 10, 0.05)
    )
    rng = np.random.default_rng(6)
    change = stats.detectable(math.sqrt(2 / 8), 14)
    seen = sum(
        stats.welch_interval(rng.standard_normal(8), rng.normal(change, 1, 8)).low > 0
        for _ in range(2000)
    )
    assert seen / 2000 == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: stats.bootstrap_interval([1.0]), "at least two values"),
        (lambda: stats.sign_flip_p([]), "at least one difference"),
        (lambda: stats.permutation_p([], [1.0]), "values on both sides"),
        (lambda: stats.welch_error([1.0], [1.0, 2.0]), "two values on each side"),
        (lambda: stats.sign_flip_p([math.nan]), "finite numbers"),
    ],
)
def test_too_little_is_refused(call: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()  # type: ignore[operator]
