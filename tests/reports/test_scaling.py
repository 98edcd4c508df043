"""Power laws and cross-overs: planted truths come back, and the intervals keep their promise."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_records import record, study

from reports.document import Table, Words
from reports.laws import Meeting, meetings, reading
from reports.scaling import PowerLaw, cross_over, fit
from reports.sections.scaling import scaling
from reports.study import Study

DRAWS = 1000
SIZES = np.array([50.0, 100.0, 200.0, 400.0, 1000.0])


def test_a_planted_law_without_noise_comes_back() -> None:
    law = fit(SIZES, 3 * SIZES**1.5)
    assert law.exponent == pytest.approx(1.5)
    assert law.high - law.low < 1e-9
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


def law(exponent: float, low: float, high: float, top: float) -> PowerLaw:
    return PowerLaw(exponent, low, high, 0.1, 2, 4, top, False, (1.0, 8.0, 32.0, 128.0))


@pytest.mark.parametrize(
    ("exponent", "low", "high", "top", "told"),
    [
        (0.91, 0.59, 1.22, 1.09, "as theory says"),
        (1.02, 1.01, 1.03, 1.02, "as theory says"),
        (0.64, 0.19, 1.08, 1.04, "heading there"),
        (0.62, 0.21, 1.03, 0.85, "not decided"),  # theory lies inside, and far from the exponent
        (0.55, 0.11, 0.99, 0.79, "not decided"),  # theory lies outside, and barely
        (0.99, -0.60, 2.58, 1.00, "not decided"),  # anything would lie inside
        (0.60, 0.50, 0.70, 0.65, "less than theory"),
        (0.40, 0.30, 0.50, 0.75, "not decided"),  # still bending towards theory
        (1.50, 1.40, 1.60, 1.50, "more than theory"),
        (0.50, np.nan, np.nan, 0.5, "not decided"),
    ],
)
def test_a_wide_interval_neither_confirms_theory_nor_contradicts_it(
    exponent: float, low: float, high: float, top: float, told: str
) -> None:
    assert reading(law(exponent, low, high, top), 1.0, counted=False) == told


def test_what_is_counted_has_an_exact_exponent() -> None:
    assert reading(law(0.68, 0.05, 1.31, 1.0), 1.0, counted=True) == "heading there"
    assert reading(law(0.68, 0.05, 1.31, 0.7), 1.0, counted=True) == "less than theory"
    # A trace that grows as N^2 bends while biases count: that does not take it to N^4.
    assert reading(law(1.72, 1.4, 2.0, 1.92), 4.0, counted=True) == "less than theory"
    assert reading(law(1.72, 1.4, 2.0, 1.92), 2.0, counted=True) == "heading there"


def batches(metric: str = "step_time_ms", **series: list[float]) -> Study:
    """A study of some algorithms over batches of 1, 8, 32, ... with that metric."""
    sizes = [1, 8, 32, 128, 512]
    records = [
        record(algo, batch_size=b, metrics={"memory_peak_mib": 1.0, metric: value})
        for algo, values in series.items()
        for b, value in zip(sizes, values, strict=False)
    ]
    return study(records)


def crossings(**series: list[float]) -> list[Meeting]:
    return [m for m in meetings(batches(**series)) if m.metric == "step_time_ms"]


def test_a_cross_over_that_the_points_show_is_told_with_who_is_cheaper_where() -> None:
    (found,) = crossings(d_rtrl=[1.0, 3.0, 8.0, 17.0, 48.0], es_d_rtrl=[6.0, 9.0, 11.0, 13.0, 16.0])
    assert (found.first, found.second) == ("d_rtrl", "es_d_rtrl")
    assert 32 < found.cross.at < 128
    assert 0 < found.cross.low < found.cross.at < found.cross.high < np.inf


@pytest.mark.parametrize(
    ("d_rtrl", "es_d_rtrl"),
    [
        # The largest size contradicts what the laws say of it, and the points cross twice.
        ([0.215, 0.439, 1.353, 4.371], [0.385, 0.538, 1.315, 5.011]),
        # The laws cross between the sizes, the points nowhere.
        ([1.05, 1.01, 1.6, 4.5], [1.0, 1.0, 1.0, 1.0]),
        # The points cross once, by less than their noise, and the laws bound nothing.
        ([0.232, 0.541, 1.297, 5.481], [0.353, 0.598, 1.693, 5.069]),
    ],
)
def test_a_cross_over_that_the_points_do_not_bear_out_is_not_told(
    d_rtrl: list[float], es_d_rtrl: list[float]
) -> None:
    b = [1.0, 8.0, 32.0, 128.0]
    fitted = cross_over(b, d_rtrl, b, es_d_rtrl)
    assert fitted is not None
    assert fitted.inside
    assert crossings(d_rtrl=d_rtrl, es_d_rtrl=es_d_rtrl) == []


def test_bent_curves_that_clearly_cross_do_so_though_their_laws_bound_nothing() -> None:
    (found,) = crossings(bptt=[4.0, 6.0, 20.0, 50.0], d_rtrl=[7.0, 15.0, 15.0, 15.0])
    assert (found.cross.low, found.cross.high) == (0, np.inf)
    assert 8 < found.cross.at < 32


def test_a_size_at_which_both_cost_the_same_is_where_they_cross() -> None:
    (found,) = crossings(
        d_rtrl=[1.0, 3.0, 11.0, 27.0, 80.0], es_d_rtrl=[6.0, 9.0, 11.0, 13.0, 16.0]
    )
    assert found.cross.at == pytest.approx(32)


def test_the_tables_of_counted_bytes_have_no_intervals_and_the_words_say_why() -> None:
    blocks = scaling(batches(d_rtrl=[1.0, 3.0, 8.0, 17.0], es_d_rtrl=[6.0, 9.0, 11.0, 13.0])).blocks
    tables = {b.caption: b for b in blocks if isinstance(b, Table) and b.caption}
    assert "95 % interval" not in tables["temporaries (MiB)"].head
    assert "95 % interval" not in tables["eligibility traces (MiB)"].head
    assert "95 % interval" in tables["step time (ms)"].head
    for made in tables.values():
        assert {len(row) for row in made.rows} == {len(made.head)}
        assert [made.head[i] for i in made.numeric][-1] == "points"
    assert isinstance(blocks[0], Words)
    assert "counted, not measured" in blocks[0].text
