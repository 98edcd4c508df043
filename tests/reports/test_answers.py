"""The first sentence is right whatever the noise, and in whatever order the records come."""

from __future__ import annotations

import numpy as np
import planted_learning  # noqa: F401  its sets join the planted ones
import pytest
from planted_records import PLANTED, Planted, at, by_turns, contended
from planted_times import (
    faster_by_turns_of_one_thread_on_a_busy_machine,
    within_noise_of_the_recommended_and_slower_than_the_fastest,
)
from synthetic_records import Records, record, study, way

from reports import page
from reports.judge import Setting, cost
from reports.judge.cost import Time
from reports.page import Context, tables
from reports.stats import Interval


def said(records: Records) -> str:
    return page.answer(study(records).facts)


@pytest.mark.parametrize("planted", PLANTED, ids=lambda p: p.__name__)
def test_the_first_sentence_is_right(planted: Planted) -> None:
    wanted, unwanted = PLANTED[planted]
    facts = study(shuffled(planted)[0]).facts
    first = page.answer(facts)
    assert all(map(agree, facts.settings)), first
    assert [w for w in wanted if w not in first] == [], first
    assert [w for w in unwanted if w in first] == [], first


@pytest.mark.parametrize("planted", [*PLANTED][::6], ids=lambda p: p.__name__)
def test_the_order_of_the_records_does_not_matter(planted: Planted) -> None:
    one, other = map(said, shuffled(planted))
    assert one == other


def shuffled(planted: Planted) -> tuple[Records, Records]:
    """In an order of chance, and as they were made."""
    rng = np.random.default_rng([0, *planted.__name__.encode()])
    records = planted(rng)
    return [records[i] for i in rng.permutation(len(records))], records


def agree(setting: Setting) -> bool:
    """Whether the rows call as fast those that the sentence does."""
    answer, rows = setting.answer, standings(setting)
    words = ("recommended", "recommended as well", "the only way measured", "within noise",
             "not compared")  # fmt: skip
    as_fast = {
        name for name, why in answer.why.items() if not why and rows[name].split(";")[0] in words
    }
    named = {w.name for w in (answer.start, *answer.tied) if w and not answer.why[w.name]}
    return as_fast == named or answer.kind == "not timed"


def standings(setting: Setting) -> dict[str, str]:
    """Way -> how it stands, as its row says."""
    cells = tables.ways(setting, 1).cells
    return dict(zip(map(str, cells["way"]), map(str, cells[""]), strict=True))


def test_to_be_within_noise_is_not_transitive_and_a_row_says_so() -> None:
    made = within_noise_of_the_recommended_and_slower_than_the_fastest(np.random.default_rng(0))
    assert standings(study(made).facts.settings[0]) == {
        "d_rtrl": "recommended", "bptt": "within noise",
        "es_d_rtrl": "within noise of the recommended, slower than bptt",
    }  # fmt: skip
    some = [r for r in made if r["row"]["algo"] == "es_d_rtrl"]
    for built in some:
        built["metrics"]["step_time_ms"] = None
    assert standings(study(made).facts.settings[0])["es_d_rtrl"] == "not timed"


UNTIMED = dict.fromkeys(("step_time_ms", "step_time_ms_lo", "step_time_ms_hi"))


@pytest.mark.parametrize(("ways", "wanted"), [
    ({"bptt": (40, 0.9), "d_rtrl": (20, 0.9)}, "; d_rtrl needs the least memory, 20 MiB."),
    ({"bptt": (20, 0.9), "d_rtrl": (20, 0.9)}, "; bptt and d_rtrl need the same memory, 20 MiB."),
    ({"bptt": (40, 0.9), "d_rtrl": (20, 0.1)},
     "; bptt alone learned as well as the best and needs 40 MiB."),
    ({"bptt": (40, 0.9), "d_rtrl": (30, 0.9), "es_d_rtrl": (5, 0.1)},
     "; of the ways that learn as well as the best d_rtrl needs the least memory, 30 MiB."),
])  # fmt: skip
def test_without_times_the_least_memory_is_that_of_the_ways_that_qualify(
    ways: dict[str, tuple[float, float]], wanted: str
) -> None:
    rng = np.random.default_rng(0)
    records = [r for algo, (mib, learned) in ways.items()
               for r in way(rng, algo, 5, mib, learned, spread=0.003, metrics=UNTIMED)]  # fmt: skip
    assert f"nothing was timed{wanted}" in said(records)


def test_the_least_memory_is_claimed_where_all_is_known() -> None:
    rng = np.random.default_rng(0)
    unknown = dict.fromkeys(("memory_xla_mib", "memory_peak_mib"))
    tied = [*way(rng, "bptt", 5, 40, noise=0, spread=0),
            *way(rng, "d_rtrl", 5, 20, noise=0, spread=0)]  # fmt: skip
    assert "start with d_rtrl, which needs the least memory of the fastest" in said(tied)
    third = way(rng, "es_d_rtrl", 5, 20, noise=0, spread=0, metrics=unknown)
    assert "start with bptt, which has the least approximate gradient" in said([*tied, *third])
    both = [
        *way(rng, "bptt", 5, 40, noise=0, spread=0, batching="manual"),
        *way(rng, "bptt", 5, 40, noise=0, spread=0, batching="vmap", metrics=unknown),
    ]
    assert "equal in memory" not in said(both)
    untimed = [*way(rng, "bptt", 5, 40, spread=0, metrics=UNTIMED),
               *way(rng, "d_rtrl", 5, 20, spread=0, metrics=UNTIMED | unknown)]  # fmt: skip
    assert ("bptt needs the least memory, 40 MiB, as far as that was measured: not of d_rtrl."
            in said(untimed))  # fmt: skip


def test_a_lone_way_of_which_only_a_disturbed_time_is_known() -> None:
    none = ("memory_xla_mib", "memory_peak_mib", "accuracy", "test_accuracy", "loss_final")
    lone = way(np.random.default_rng(0), "bptt", 5, 40, noise=0, spread=0,
               metrics=dict.fromkeys(none))  # fmt: skip
    told = said(contended(lone))
    assert "equal settings: bptt. Its time was measured under contention: 5 ms" in told


def test_nothing_learned_is_said_of_what_was_measured() -> None:
    rng = np.random.default_rng(0)
    guessing = way(rng, "bptt", 5, 20, 0.1, spread=0.002)
    assert "no way's test accuracy is better than" in said(guessing)
    mixed = [*guessing, *way(rng, "d_rtrl", 2, 20, None)]
    assert "no way's test accuracy, as far as it was measured, is better than" in said(mixed)


def test_rounds_under_contention_are_compared_and_the_table_says_so() -> None:
    rng = np.random.default_rng(0)
    made = [r for algo, ms in (("bptt", 9), ("d_rtrl", 3))
            for r in way(rng, algo, ms, 20, seeds=1, repeats=3)]  # fmt: skip
    told = page.markdown(Context(study(contended(made)), [], []))
    assert "start with **d_rtrl**, the fastest" in told
    assert "is compared only with times that share three of its rounds of the sweep." in told


def test_times_of_a_broken_clock_are_no_error() -> None:
    rng = np.random.default_rng(0)
    clocks = {"bptt": 5.0, "d_rtrl": 1e-320, "es_d_rtrl": 0.0, "rtrl": 1e300}
    made = [r for algo, ms in clocks.items()
            for r in way(rng, algo, 5, 20, metrics={"step_time_ms": ms})]  # fmt: skip
    told = standings(study(made).facts.settings[0])
    assert told.pop("bptt") == "recommended"
    assert {*told.values()} == {"not timed"}


def test_what_a_record_holds_moves_no_cursor() -> None:
    assert " on a[2Jbc d with " in said([record(task="a\x1b[2Jb\u202ec\nd")])


def paired(ratio: float, half: float, beside: str = "manual core") -> Time:
    own = Interval(ratio, ratio / (1 + half), ratio * (1 + half), "95 %")
    return Time(Interval(5.0), (np.log(5.0),), 1, 0, frozenset(), True, own, beside)


def test_ratios_to_one_bptt_are_compared_whatever_else_was_running() -> None:
    assert cost.compare(paired(0.7, 0.02), paired(1.0, 0.02), None) == "faster"
    assert cost.compare(paired(1.3, 0.02), paired(1.0, 0.02), None) == "slower"
    assert cost.compare(paired(0.81, 0.001), paired(1.0, 0.001), None) == "within noise"  # the bar
    assert cost.compare(paired(0.8, 0.3), paired(1.0, 0.3), None) == "within noise"
    assert cost.ratio(paired(0.8, 0.02), paired(1.0, 0.0), None).high == pytest.approx(0.816)


def test_ratios_to_two_bptts_are_not_compared() -> None:
    assert cost.compare(paired(0.5, 0.02), paired(1.0, 0.02, "vmap core"), None) == "not compared"


def test_all_ratios_are_to_one_bptt_whatever_the_batching_and_the_updates() -> None:
    rng = np.random.default_rng(0)
    made = contended(way(rng, "bptt", 5, 20, seeds=1))
    for algo, batching, every, ratio in (("bptt", "vmap", "sequence", 1.5),
                                         ("bptt", "manual", 1, 9), ("bptt", "manual", 10, 3),
                                         ("d_rtrl", "vmap", "sequence", 0.7),
                                         ("d_rtrl", "manual", 1, 4)):  # fmt: skip
        some = way(rng, algo, 5 * ratio, 20, seeds=1, noise=0.5, batching=batching)
        made += at(by_turns(contended(some), ratio), update_every=every)
    at(made, threads=1)
    (setting,) = study(made).facts.settings
    told = {w.name: round(w.against.centre, 2) for w in setting.ways if w.against}
    assert told == {
        "bptt · manual": 1, "bptt · vmap": 1.5,
        "bptt (updated every step) · manual": 9, "bptt update_every=10 · manual": 3,
        "d_rtrl · vmap": 0.7, "d_rtrl (updated every step) · manual": 4,
    }  # fmt: skip
    assert setting.answer.start
    assert setting.answer.start.name == "d_rtrl · vmap"
    assert set(setting.answer.order.values()) == {"slower"}


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
    records = faster_by_turns_of_one_thread_on_a_busy_machine(np.random.default_rng(0))
    told = page.markdown(Context(study(records), [], []))
    assert "| way | time over BPTT's | ms per training step |" in told
    assert "| **d_rtrl** | 0.6 (0.585 to 0.615) |" in told
    assert "time over BPTT's |" not in page.markdown(Context(study([record("bptt")]), [], []))


def test_what_one_process_says_of_itself_shows_on_hover_alone() -> None:
    one = faster_by_turns_of_one_thread_on_a_busy_machine(np.random.default_rng(0))
    (setting,) = study([r for r in one if r["row"]["seed"] == 1]).facts.settings
    made = tables.ways(setting, 1)
    ratio = made.cells["time over BPTT's"].tolist()[0]
    assert (ratio, ratio.tip) == ("0.6", "1 process; 0.588 to 0.612 within it (95 %)")
    assert "\nd_rtrl,0.6,,," in made.csv()
    assert "| **d_rtrl** | 0.6 |" in made.markdown()
    assert standings(setting)["bptt"] == "67 % slower"
