"""The first sentence is right whatever the noise, and in whatever order the records come."""

from __future__ import annotations

import numpy as np
import pytest
from planted_records import PLANTED, Planted, at, by_turns, faster_by_turns_on_a_busy_machine
from synthetic_records import Records, record, study, way

from reports import page
from reports.judge import cost
from reports.judge.cost import Time
from reports.page.context import Context
from reports.stats import Interval

DRAWS = 6


def said(records: Records) -> str:
    return page.answer(study(records).facts)


@pytest.mark.parametrize("planted", PLANTED, ids=lambda p: p.__name__)
def test_the_first_sentence_is_right(planted: Planted) -> None:
    wanted, unwanted = PLANTED[planted]
    for draw in range(DRAWS):
        rng = np.random.default_rng([draw, *planted.__name__.encode()])
        records = planted(rng)
        first = said([records[i] for i in rng.permutation(len(records))])
        assert draw or first == said(records)
        assert [w for w in wanted if w not in first] == [], first
        assert [w for w in unwanted if w in first] == [], first


def test_what_a_record_holds_moves_no_cursor() -> None:
    assert " on a[2Jbc d with " in said([record(task="a\x1b[2Jb\u202ec\nd")])


def paired(ratio: float, half: float, beside: str = "manual core") -> Time:
    own = Interval(ratio, ratio / (1 + half), ratio * (1 + half), "95 %")
    return Time(Interval(5.0), (np.log(5.0),), 1, 0, frozenset(), True, own, beside)


def test_ratios_to_one_bptt_are_compared_whatever_else_was_running() -> None:
    assert cost.compare(paired(0.8, 0.02), paired(1.0, 0.02), None) == "faster"
    assert cost.compare(paired(1.3, 0.02), paired(1.0, 0.02), None) == "slower"
    assert cost.compare(paired(0.97, 0.001), paired(1.0, 0.001), None) == "within noise"  # the bar
    assert cost.compare(paired(0.8, 0.3), paired(1.0, 0.3), None) == "within noise"
    assert cost.ratio(paired(0.8, 0.02), paired(1.0, 0.0), None).high == pytest.approx(0.816)


def test_ratios_to_two_bptts_are_not_compared() -> None:
    assert cost.compare(paired(0.5, 0.02), paired(1.0, 0.02, "vmap core"), None) == "not compared"


def test_a_ratio_is_to_the_bptt_with_the_same_options() -> None:
    made = []
    for every, ratio in ((1, 0.5), ("sequence", 0.9)):
        rng = np.random.default_rng(0)
        slow = 10 if every == 1 else 1
        some = [*way(rng, "bptt", 5 * slow, 20, seeds=1),
                *by_turns(way(rng, "d_rtrl", 5 * slow * ratio, 20, seeds=1), ratio)]  # fmt: skip
        made += at(some, update_every=every)
    (setting,) = study(made).facts.settings
    times = {w.name: w.time for w in setting.ways}
    once = times["d_rtrl update_every=1"], times["bptt update_every=1"]
    assert cost.compare(*once, None) == "faster"  # type: ignore[arg-type]
    start = setting.answer.start
    assert start
    assert start.name == "d_rtrl update_every=sequence"


def test_ratios_of_equal_ways_seldom_part_them() -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        times = [paired(float(np.exp(0.1 / 1.96 * rng.standard_normal())), np.exp(0.1) - 1)
                 for _ in range(6)]  # fmt: skip
        alarms += any(cost.compare(a, b, None, 15) != "within noise"
                      for i, a in enumerate(times) for b in times[:i])  # fmt: skip
    assert alarms <= 8  # 1 % of 200 is 2; 8 is four standard errors away


def test_the_ratio_to_bptt_stands_first_and_may_be_absent() -> None:
    records = faster_by_turns_on_a_busy_machine(np.random.default_rng(0))
    told = page.markdown(Context(study(records), [], []))
    assert "| way | time over BPTT's | ms per training step |" in told
    assert "| **d_rtrl** | 0.6 (0.593 to 0.607) |" in told
    assert "time over BPTT's |" not in page.markdown(Context(study([record("bptt")]), [], []))
