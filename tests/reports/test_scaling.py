"""Power laws and cross-overs: planted truths come back, and the intervals keep their promise."""

from __future__ import annotations

import numpy as np
import pytest

from reports.scaling import cross_over, fit

DRAWS = 1000
SIZES = np.array([50.0, 100.0, 200.0, 400.0, 1000.0])


def test_a_planted_law_without_noise_comes_back() -> None:
    law = fit(SIZES, 3 * SIZES**1.5)
    assert law.exponent == pytest.approx(1.5)
    assert law.high - law.low < 1e-9
    assert np.exp(law.intercept) == pytest.approx(3)
    assert law.top == pytest.approx(1.5)
    assert (law.points, law.degrees, law.bent) == (5, 3, False)


@pytest.mark.parametrize(("sizes", "slices"), [(SIZES, 1), (SIZES[:3], 1), (SIZES[:3], 4)])
def test_intervals_of_the_exponent_hold_the_truth_in_95_percent(
    sizes: np.ndarray, slices: int
) -> None:
    rng = np.random.default_rng(1)
    x = np.tile(sizes, slices)
    labels = np.repeat(np.arange(slices), len(sizes))
    held = 0
    for _ in range(DRAWS):
        level = np.exp(rng.normal(size=slices))[labels]
        law = fit(x, level * x**0.9 * np.exp(0.1 * rng.standard_normal(len(x))), labels)
        held += law.low <= 0.9 <= law.high
    assert 0.93 <= held / DRAWS <= 0.97


@pytest.mark.parametrize("spread", [(0.05, 0.05), (0.02, 0.1)])
def test_intervals_of_the_cross_over_hold_the_truth_in_95_percent(
    spread: tuple[float, float],
) -> None:
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(DRAWS):
        noise = [np.exp(s * rng.standard_normal(len(SIZES))) for s in spread]
        found = cross_over(SIZES, (SIZES / 200) * noise[0], SIZES, (SIZES / 200) ** 0.2 * noise[1])
        assert found is not None
        held += found.low <= 200 <= found.high
    assert 0.93 <= held / DRAWS <= 0.97


def test_a_cross_over_lies_where_it_was_planted() -> None:
    found = cross_over(SIZES, SIZES, SIZES, 20 * SIZES**0.5)
    assert found is not None
    assert found.at == pytest.approx(400)
    assert found.inside
    outside = cross_over(SIZES, SIZES, SIZES, 100 * SIZES**0.5)
    assert outside is not None
    assert not outside.inside


def test_parallel_laws_do_not_cross() -> None:
    assert cross_over(SIZES, SIZES, SIZES, 2 * SIZES) is None


def test_where_slopes_are_not_told_apart_the_interval_is_open() -> None:
    rng = np.random.default_rng(3)
    a, b = (SIZES * np.exp(0.2 * rng.standard_normal(5)) for _ in range(2))
    found = cross_over(SIZES, a, SIZES, b)
    assert found is not None
    assert found.low == 0 or np.isinf(found.high)


def test_two_points_have_an_exponent_but_no_interval() -> None:
    law = fit([10, 100], [1, 10])
    assert law.exponent == pytest.approx(1)
    assert np.isnan(law.low)
    assert np.isnan(law.high)


def test_a_bent_curve_is_called_bent_and_the_top_says_where_it_is_heading() -> None:
    x = np.array([8.0, 16.0, 32.0, 64.0, 128.0, 256.0])
    law = fit(x, 20 + x)  # a fixed cost, then linear
    assert law.bent
    assert law.exponent < law.top < 1.0


def test_slices_with_levels_of_their_own_share_one_exponent() -> None:
    x = np.array([1.0, 2, 4, 10, 20, 40])
    y = np.concatenate([x[:3] ** 2, 1000 * x[3:] ** 2])
    labels = ["a"] * 3 + ["b"] * 3
    assert fit(x, y, labels).exponent == pytest.approx(2)
    assert fit(x, y).exponent > 3  # what ignoring the slices would claim


@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        ([1, 2], [0, 1], "positive, finite y"),
        ([-1, 2], [1, 1], "positive, finite x"),
        ([1, 2], [1, np.nan], "positive, finite y"),
        ([2, 2, 2], [1, 2, 3], "two different sizes"),
    ],
)
def test_what_cannot_be_fitted_is_refused(x: list[float], y: list[float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        fit(x, y)
