"""Statistics of comparisons: intervals cover, equal things are not told apart, corrections hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from reports import stats

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_one_process_has_its_own_spread_and_says_so() -> None:
    assert stats.interval([3.0], own=(2.9, 3.2)) == (3.0, 2.9, 3.2, "within one process")
    centre, low, high, kind = stats.interval([3.0])
    assert (centre, kind) == (3.0, "")
    assert math.isnan(low)
    assert math.isnan(high)


def test_two_processes_are_told_and_not_widened() -> None:
    found = stats.interval([1.0, 4.0], own=(0.9, 1.1))
    assert found == (pytest.approx(2.0), 1.0, 4.0, "min to max")
    assert stats.interval([0.2, 0.4], bounds=(0, 1)) == (pytest.approx(0.3), 0.2, 0.4, "min to max")


def test_three_are_students_interval_on_logarithms() -> None:
    found = stats.interval(np.exp([0.0, 1.0, 2.0]))
    half = 4.302652729911275 / math.sqrt(3)  # t of 2 degrees of freedom, by a table
    assert np.log(found[:3]) == pytest.approx([1.0, 1 - half, 1 + half])
    assert found.kind == "95 %"
    shares = stats.interval([0.9, 0.95, 1.0], bounds=(0, 1))
    assert shares.high == 1.0
    assert shares.low == pytest.approx(0.95 - 4.302652729911275 * 0.05 / math.sqrt(3))
    assert stats.interval([2.0, 2.0, 2.0])[:3] == pytest.approx((2.0, 2.0, 2.0))
    assert stats.interval([0.0, 0.0, 0.0])[:3] == (0.0, 0.0, 0.0)  # and nothing of 1e-300


def test_wilson_by_hand() -> None:
    # Brown, Cai and DasGupta (2001): centre (x + z^2/2) / (n + z^2).
    found = stats.wilson(0.9, 360)
    middle = (324 + 1.96**2 / 2) / (360 + 1.96**2)
    assert (found.low + found.high) / 2 == pytest.approx(middle, 1e-4)
    assert stats.wilson(1.0, 20).high == 1.0
    assert stats.wilson(1.0, 20).low < 0.9


def test_welch_is_scipys() -> None:
    rng = np.random.default_rng(6)
    base, head = rng.standard_normal(4), 3 * rng.standard_normal(7)
    mine = stats.Welch.of(base, head)
    theirs = scipy_stats.ttest_ind(head - 0.2, base, equal_var=False, alternative="greater")
    assert mine.p_above(0.2) == pytest.approx(theirs.pvalue)
    both = scipy_stats.ttest_ind(head, base, equal_var=False).confidence_interval(0.95)
    assert mine.interval() == pytest.approx((both.low, both.high))
    still = np.zeros(3)  # a clock that does not tick
    assert stats.Welch.of(still, still + 0.2).p_above(math.log(1.05)) < 1e-9
    assert stats.Welch.of(still, still).p_above(0.0) == 0.5


@pytest.mark.parametrize(("ways", "seeds", "paired"), [(2, 3, True), (4, 5, False)])
def test_equal_ways_are_seldom_called_behind(ways: int, seeds: int, paired: bool) -> None:
    rng = np.random.default_rng(4)
    calls = 0
    for _ in range(100):
        drawn = 0.02 * rng.standard_normal((ways, seeds)) + paired * 0.1 * rng.random(seeds)
        values = {str(w): dict(enumerate(row)) for w, row in enumerate(drawn)}
        best = max(values, key=lambda w: sum(values[w].values()))
        calls += min(stats.behind(values, best, paired).values()) <= stats.ALPHA
    assert calls <= 100 * 0.11


def test_unpaired_is_scipys_tukey_and_paired_takes_seeds_out() -> None:
    rng = np.random.default_rng(6)
    drawn = scipy_stats.zscore(rng.standard_normal((3, 5)), axis=1)  # they scatter as much
    rows = np.array([[0.9], [0.88], [0.86]]) + 0.02 * drawn
    values = {w: dict(enumerate(row)) for w, row in zip("abc", rows, strict=True)}
    theirs = scipy_stats.tukey_hsd(*rows).pvalue[0]
    found = stats.behind(values, "a", paired=False)
    assert [found["b"], found["c"]] == pytest.approx(theirs[1:], rel=1e-6)
    shifted = {w: {s: v + 10 * s for s, v in row.items()} for w, row in values.items()}
    assert stats.behind(shifted, "a") == pytest.approx(stats.behind(values, "a"))


def test_a_way_that_learns_less_is_behind_and_fewer_than_three_seeds_say_nothing() -> None:
    rng = np.random.default_rng(5)
    rows = np.array([[0.95], [0.95], [0.7]]) + 0.01 * rng.standard_normal((3, 3))
    values = {w: dict(enumerate(row)) for w, row in zip("abc", rows, strict=True)}
    p = stats.behind(values, "a")
    assert p["c"] < 0.01
    assert p["b"] > 0.05
    assert all(np.isnan([*stats.behind({w: {0: 1.0, 1: 2.0} for w in "ab"}, "a").values()]))
    still = {w: dict.fromkeys(range(3), v) for w, v in (("a", 0.9), ("b", 0.9), ("c", 0.8))}
    assert stats.behind(still, "a") == {"b": 1.0, "c": 0.0}
    other = {"a": dict(enumerate(rows[0])), "c": dict(enumerate(rows[2], 5))}
    assert stats.behind(other, "a")["c"] < 0.01  # no seed is shared


@pytest.mark.parametrize("paired", [True, False])
def test_ways_that_diverged_on_a_seed_hide_no_other_difference(paired: bool) -> None:
    rng = np.random.default_rng(5)
    rows = np.array([[0.95], [0.85], [0.95], [0.95]]) + 0.005 * rng.standard_normal((4, 5))
    rows[2, 3] = rows[3, 1] = 0.1
    values = {w: dict(enumerate(row)) for w, row in zip("abcd", rows, strict=True)}
    found = stats.behind(values, "a", paired)
    alone = stats.behind({w: values[w] for w in "ab"}, "a", paired)["b"]
    assert found["b"] == pytest.approx(alone)  # the correction is for those that are compared
    assert found["b"] < 0.001
    assert min(found["c"], found["d"]) > 0.05


def test_equal_ways_that_scatter_unequally_are_seldom_called_behind() -> None:
    """One noise for all said of nine ways in 17 of 100 draws that one is behind."""
    rng, draws, calls = np.random.default_rng(0), 60, 0
    for _ in range(draws):
        spreads = 0.01 * np.exp(0.7 * rng.standard_normal((9, 1)))
        rows = 0.9 + spreads * rng.standard_normal((9, 5))
        values = {str(w): dict(enumerate(row)) for w, row in enumerate(rows)}
        calls += min(stats.behind(values, str(rows.mean(1).argmax())).values()) < stats.ALPHA
    assert calls <= scipy_stats.binom.ppf(0.99, draws, 0.08)


@given(p_values)
@settings(deadline=None)
def test_holm_never_lowers_a_p_and_keeps_the_order(p: list[float]) -> None:
    adjusted = stats.holm(p)
    assert all(a >= b and a <= 1 for a, b in zip(adjusted, p, strict=True))
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.asarray(adjusted)[order]) >= 0).all()


def test_holm_by_hand() -> None:
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
