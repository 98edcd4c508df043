"""Times, learning and answers: each rule by itself."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom
from synthetic_records import record, study

from reports import page
from reports.judge import cost
from reports.judge.cost import Noise, Time
from reports.judge.facts import Setting
from reports.stats import Interval, interval


def cell(algo: str = "bptt", ms: float = 5.0, mib: float = 20.0, **rest: Any) -> dict[str, Any]:
    """A record with this time and memory; further metrics by name."""
    own = {
        k: rest.pop(k)
        for k in ("test_accuracy", "test_r2", "n_classes", "grad_cosine", "loss_final", "accuracy")
        if k in rest
    }
    figures = {
        "step_time_ms": ms,
        "step_time_ms_lo": ms,
        "step_time_ms_hi": ms,
        "memory_xla_mib": mib,
        "memory_peak_mib": min(mib, 1.0),
    }
    return record(algo, metrics=figures | own, **rest)


def first(records: list[dict[str, Any]]) -> Setting:
    return study(records).facts.settings[0]


def time(*ms: float, contended: bool = False, repeats: tuple[int, ...] = ()) -> Time:
    logs = tuple(np.log(ms).tolist())
    return Time(interval(ms), logs, len(ms), 0, frozenset(repeats or range(len(ms))), contended)


def test_noise_is_pooled_over_programs_and_unknown_without_repeats() -> None:
    assert cost.noise_of([time(5), time(6)]) is None
    assert cost.noise_of([time(5, 5.1), time(6, 6.1)]) is None
    rng = np.random.default_rng(0)
    noise = cost.noise_of(time(*np.exp(0.1 * rng.standard_normal(3))) for _ in range(200))
    assert noise
    assert noise.degrees == 400
    assert noise.sd == pytest.approx(0.1, rel=0.1)


# Logarithms of times of equal programs, [programs, processes].
NOISE = {
    "normal": lambda rng, of: 0.05 * rng.standard_normal(of),
    "heavy tails": lambda rng, of: 0.03 * rng.standard_t(3, of),
    "two modes": lambda rng, of: 0.3 * (rng.random(of) < 0.3) + 0.01 * rng.standard_normal(of),
    "spikes": lambda rng, of: 0.6 * (rng.random(of) < 0.05) + 0.02 * rng.standard_normal(of),
}


def parted(times: list[Time], noise: Noise | None) -> bool:
    """Whether any two of six are called different."""
    return any(cost.compare(a, b, noise, 15) != "within noise" for a, b in combinations(times, 2))


@pytest.mark.parametrize(("noise", "bound"), [(n, 0.01 if n == "normal" else 0.05) for n in NOISE])
def test_noise_that_machines_have_seldom_parts_equal_times(noise: str, bound: float) -> None:
    """Six equal ways: a sweep in which any two are called different is an alarm."""
    rng, draws, alarms = np.random.default_rng(2), 150, 0
    for _ in range(draws):
        shape = (6, 3 if noise == "normal" else 5)
        times = [time(*np.exp(x)) for x in NOISE[noise](rng, shape)]
        alarms += parted(times, cost.noise_of(times))
    assert alarms <= binom.ppf(0.999, draws, bound)


@pytest.mark.parametrize(("noise", "bound"), [(n, 0.02 if n == "spikes" else 0.01) for n in NOISE])
def test_two_processes_of_twelve_programs_seldom_part_equals(noise: str, bound: float) -> None:
    """As in the quick sweep: six ways at two sizes; the noise is pooled over both."""
    rng, draws, alarms = np.random.default_rng(6), 100, 0
    for _ in range(draws):
        times = [turned(*np.exp(x)) for x in NOISE[noise](rng, (12, 2))]
        alarms += sum(parted(some, with_ratios(times)) for some in (times[:6], times[6:]))
    assert alarms <= binom.ppf(0.999, 2 * draws, bound)


def test_two_processes_of_twelve_programs_tell_a_difference() -> None:
    """A tenth, where processes of one program differ by 1.5 %; alone each says 25 % at least."""
    rng, draws, seen = np.random.default_rng(7), 50, 0
    gaps = np.repeat([[0.0], [-np.log(1.1)]], [11, 1], axis=0)
    for _ in range(draws):
        times = [turned(*np.exp(x)) for x in gaps + 0.015 * rng.standard_normal((12, 2))]
        seen += cost.compare(times[-1], times[-2], with_ratios(times), 15) == "faster"
        alone = [turned_once(np.exp(t.ratios[0])) for t in times]
        assert cost.compare(alone[-1], alone[-2], cost.noise_of(alone), 15) == "within noise"
    assert seen >= 0.6 * draws


def turned(*ratios: float) -> Time:
    return replace(time(5.0), against=interval(ratios), ratios=tuple(np.log(ratios).tolist()))


def with_ratios(times: list[Time]) -> Noise:
    """The noise of ratios, beside one of times."""
    found = cost.noise_of([time(5, 5.1), time(6, 6.1), time(6, 6.1), *times])
    assert found
    return found


def turned_once(ratio: float) -> Time:
    one = Interval(ratio, 0.99 * ratio, 1.01 * ratio, "within one process")
    return replace(turned(ratio), against=one)


@pytest.mark.parametrize("noise", NOISE)
def test_ratios_of_equal_ways_are_parted_as_seldom(noise: str) -> None:
    rng, draws, alarms = np.random.default_rng(5), 150, 0
    for _ in range(draws):
        shape = (6, 3 if noise == "normal" else 5)
        times = [turned(*np.exp(x)) for x in NOISE[noise](rng, shape)]
        alarms += parted(times, with_ratios(times))
    assert alarms <= binom.ppf(0.999, draws, 0.05)


def test_a_ratio_of_one_process_may_be_another_in_the_next() -> None:
    """Processes of one program said 0.84 to 0.87, and another 1.05, each sure of itself."""
    told = turned_once(0.86)
    bptt = replace(turned(1.0), ratios=(), against=Interval(1.0, 1.0, 1.0))
    assert cost.compare(told, bptt, None) == "within noise"
    assert cost.ratio(told, bptt, None)[:2] == (
        pytest.approx(0.86),
        pytest.approx(np.nan, nan_ok=True),
    )
    assert cost.compare(turned_once(0.7), bptt, None) == "faster"
    wide = replace(turned(0.6), against=Interval(0.6, 0.25, 1.4, "within one process"))
    assert cost.compare(wide, bptt, None) == "within noise"
    # Where others were repeated it is known how far processes lie apart.
    quiet = cost.noise_of([time(5, 5.1, 5.2, 5.1), *[turned(0.9, 0.91, 0.9)] * 3])
    assert cost.compare(told, bptt, quiet) == "faster"
    rough = cost.noise_of([time(5, 5.1, 5.2, 5.1), *[turned(0.84, 1.05, 0.86)] * 3])
    assert cost.compare(told, bptt, rough) == "within noise"
    three = turned(0.7, 0.71, 0.69)
    assert cost.ratio(three, bptt, quiet).low == pytest.approx(0.67, abs=0.02)


def two_speeds(rng: np.random.Generator, slow: tuple[int, int], shift: float = 0.0) -> list[Time]:
    """Two programs in nine processes each, of which so many met the slower speed of the machine."""
    return [time(*np.exp(gap + 0.34 * (np.arange(9) < n) + 0.02 * rng.standard_normal(9)))
            for n, gap in zip(slow, (0.0, shift), strict=True)]  # fmt: skip


@pytest.mark.parametrize("slow", list(product((1, 3, 5, 8), repeat=2)))
def test_which_speed_of_its_machine_a_program_met_says_nothing_of_it(slow: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    equal, apart = two_speeds(rng, slow), two_speeds(rng, slow, shift=0.8)
    assert cost.compare(*equal, cost.noise_of(equal)) == "within noise"
    # All the same a larger difference is one, however the speeds fell.
    if slow[0] <= slow[1] + 2:
        assert cost.compare(*apart, cost.noise_of(apart)) == "faster"


def test_what_pairs_of_processes_differ_by_is_the_distance_of_two_speeds() -> None:
    rng = np.random.default_rng(4)
    found = cost.noise_of(two_speeds(rng, (3, 4), 0.1))
    assert 0.34 <= np.log1p(found.reach) <= 0.34 + 3 * 0.02
    one = cost.noise_of(time(*np.exp(x)) for x in 0.03 * rng.standard_normal((200, 9)))
    assert np.log1p(one.reach) == pytest.approx(0.03 * 2**0.5 * 1.645, rel=0.05)


def test_two_speeds_a_factor_apart_leave_the_faster_half() -> None:
    found = study([cell(ms=ms, seed=i) for i, ms in enumerate((5, 5.1, 40, 41))]).facts
    kept = found.settings[0].ways[0].time
    assert kept
    assert (kept.n, kept.odd) == (2, 2)


def test_a_difference_beyond_the_noise_is_called() -> None:
    noise = Noise(0.02, 20)
    fast, slow = time(5, 5.1, 4.9), time(6, 6.1, 5.9)
    assert cost.compare(slow, fast, noise) == "slower"
    assert cost.compare(fast, slow, noise) == "faster"
    assert (
        cost.compare(time(5.0), time(5.2), Noise(0.001, 20)) == "within noise"
    )  # 4 %: below the bar
    assert cost.compare(time(5.0), time(6.0), None) == "within noise"
    assert cost.compare(time(5.0), time(7.0), None) == "faster"


def test_times_under_contention_are_compared_only_round_by_round() -> None:
    noise = Noise(0.02, 20)
    busy = time(9, contended=True)
    assert cost.compare(busy, time(3), noise) == "not compared"
    rounds = [time(9, 9.1, 8.9, contended=True), time(3, 3.1, 2.9, contended=True)]
    assert cost.compare(*rounds, noise) == "slower"
    near = time(7.2, 7.3, 7.1, contended=True)  # several threads: a load takes more from one
    assert cost.compare(rounds[0], near, noise) == "within noise"
    threads = [replace(t, one_thread=True) for t in (rounds[0], near)]
    assert cost.compare(*threads, noise) == "slower"
    apart = time(3, 3.1, 2.9, contended=True, repeats=(7, 8, 9))
    assert cost.compare(rounds[0], apart, noise) == "not compared"


def test_processes_that_ran_undisturbed_stand_for_a_program() -> None:
    records = [cell(ms=5.0, repeat=i) for i in range(3)] + [cell(ms=9.0, repeat=i) for i in (3, 4)]
    for built in records[3:]:
        built["provenance"]["load_before"] = 7.0
    (way,) = first(records).ways
    assert way.time
    assert (way.time.n, way.time.contended, way.ms) == (3, False, pytest.approx(5.0))
    for built in records:
        built["provenance"]["load_before"] = 7.0
    (way,) = first(records).ways
    assert way.time
    assert way.time.contended


def test_learning_rates_seeds_and_repeats_are_one_program() -> None:
    records = []
    for lr in (1e-3, 1e-2):
        for built in (cell(ms=5.0, seed=s, repeat=r) for s in range(2) for r in range(2)):
            built["config"]["lr"] = lr
            built["key"] = built["key"][:-2] + f"{int(lr * 1e3):02d}"
            records.append(built)
    (way,) = first(records).ways
    assert way.time
    assert way.time.n == 8
    assert way.learned
    assert (way.learned.n_lr, len(way.learned.seeds)) == (2, 2)


def test_nothing_is_pooled_over_tasks_models_sizes_and_libraries() -> None:
    for name, values in (
        ("task", "ab"),
        ("model", "ab"),
        ("n_hidden", (8, 16)),
        ("n_steps", (8, 16)),
        ("batch_size", (1, 2)),
    ):
        facts = study([cell(ms=i + 1.0, **{name: v}) for i, v in enumerate(values)]).facts
        assert sorted(w.ms for s in facts.settings for w in s.ways) == [1.0, 2.0], name
        assert len(facts.settings) == 2
    facts = study([cell(ms=1.0), cell(ms=2.0, backend="peer")]).facts
    assert [w.name for w in facts.settings[0].ways] == ["bptt · core", "bptt · peer"]


def test_batching_is_a_way_for_time_and_a_repeat_for_learning() -> None:
    setting = first([cell(ms=5, batching="manual", test_accuracy=0.80),
                     cell(ms=9, batching="vmap", test_accuracy=0.84)])  # fmt: skip
    assert [w.ms for w in setting.ways] == [5, 9]
    learned = [w.learned for w in setting.ways]
    assert learned[0] == learned[1]
    assert learned[0]
    assert list(learned[0].seeds.values()) == [pytest.approx(0.82)]
    assert learned[0].rounding == pytest.approx(0.04)


def test_guessing_is_told_by_classes_and_test_sample() -> None:
    for accuracy, n_test, chance in ((0.13, 100, True), (0.13, 2000, False), (0.5, 100, False)):
        built = cell(test_accuracy=accuracy, n_classes=10)
        built["config"]["task"]["n_test"] = n_test
        found = first([built]).ways[0].learned
        assert found
        assert (found.verdict == "at chance") == chance
    found = (
        first([cell(test_accuracy=None, accuracy=None, loss_final=2.301, n_classes=10)])
        .ways[0]
        .learned
    )
    assert found
    assert (found.metric, found.verdict) == ("loss_final", "at chance")


def test_guessing_numbers_explains_nothing() -> None:
    cells = [
        cell(
            algo,
            seed=seed,
            n_classes=None,
            test_accuracy=None,
            accuracy=None,
            test_r2=value + 0.001 * seed,
        )
        for algo, value in (("bptt", 0.9), ("d_rtrl", 0.2), ("immediate", 0.005), ("uoro", -0.4))
        for seed in range(3)
    ]
    setting = first(cells)
    assert setting.metric == "test_r2"
    assert {w.name: w.learned.verdict for w in setting.ways} == {
        "bptt": "learned",
        "d_rtrl": "significantly worse",
        "immediate": "at chance",
        "uoro": "at chance",
    }


def test_seeds_that_diverged_count_as_guesses() -> None:
    """R² of what is no number is null: a mean over the seeds that are left would hide it."""
    none = {"accuracy": None, "test_accuracy": None, "n_classes": None}

    def found(**ways: list[float | None]) -> dict[str, tuple[float, str]]:
        cells = [
            cell(algo, seed=seed, test_r2=score, loss_final=score, **none)
            for algo, scores in ways.items()
            for seed, score in enumerate(scores)
        ]
        learned = {w.name: w.learned for w in first(cells).ways}
        return {name: (round(f.figure.centre, 2), f.verdict) for name, f in learned.items()}

    assert found(bptt=[0.9] * 3, d_rtrl=[None, None, 0.9]) == {
        "bptt": (0.9, "learned"),
        "d_rtrl": (0.3, "far behind"),
    }
    assert found(d_rtrl=[None] * 3) == {"d_rtrl": (0.0, "at chance")}
    rates = [
        {
            **cell(test_r2=score, health="" if score else "loss is not finite", **none),
            "key": f"{lr}",
        }
        for lr, score in ((1e-3, -8.0), (1e30, None))
    ]
    for built, lr in zip(rates, (1e-3, 1e30), strict=True):
        built["config"]["lr"] = lr
    assert first(rates).ways[0].learned.lr == 1e-3  # a poor number is better than none
    unknown = first([cell(loss_final=None, **none)])
    assert (unknown.metric, unknown.ways[0].learned) == ("", None)


def test_ties_go_by_memory_then_accuracy_then_approximations() -> None:
    def chosen(**mib_and_accuracy: tuple[float, float]) -> tuple[str, tuple[str, ...], list[str]]:
        answer = first(
            [cell(a, 5, m, test_accuracy=acc) for a, (m, acc) in mib_and_accuracy.items()]
        ).answer
        assert answer.start
        return answer.start.name, answer.decided, [w.name for w in answer.equal]

    assert chosen(bptt=(20, 0.9), d_rtrl=(10, 0.9)) == ("d_rtrl", ("memory",), [])
    assert chosen(bptt=(20, 0.8), d_rtrl=(20.1, 0.9)) == ("d_rtrl", ("accuracy",), [])
    assert chosen(es_d_rtrl=(20, 0.9), bptt=(20, 0.9)) == ("bptt", ("approximations",), [])
    equal = [cell("bptt", 5, 20, batching=b) for b in ("vmap", "manual")]
    answer = first(equal).answer
    assert answer.start
    assert (answer.start.name, [w.name for w in answer.equal]) == ("bptt · manual", ["bptt · vmap"])


def test_a_sick_way_is_named_with_its_words_and_not_recommended() -> None:
    setting = first([cell("bptt", 3, health="never spikes"), cell("d_rtrl", 7)])
    assert setting.answer.why == {"bptt": "not healthy", "d_rtrl": ""}
    assert {w.name: w.flaw for w in setting.ways} == {"bptt": "never spikes", "d_rtrl": ""}
    assert setting.answer.faster
    assert setting.answer.faster.name == "bptt"


def silent(built: dict[str, Any], weights: int = 2) -> dict[str, Any]:
    """The record with this many weights that get no gradient though BPTT gives them one."""
    names = [f"gate.{i}" for i in range(weights)]
    built["fidelity"] |= {name: {"cosine": None, "rel_error": 1.0} for name in names}
    return built


def test_a_way_that_leaves_weights_without_a_gradient_is_not_healthy() -> None:
    built = silent(cell("d_rtrl", 1, health="no gradient reaches gate.0, gate.1"))
    setting = first([built, cell("bptt", 7)])
    assert {w.name: w.flaw for w in setting.ways}["d_rtrl"] == "no gradient for 2 of 4 weights"
    assert setting.answer.start
    assert setting.answer.start.name == "bptt"


def test_missing_metrics_and_settings_are_no_error() -> None:
    bare = cell()
    bare["metrics"] = {"step_time_ms": 3.0}
    bare["row"] |= {"n_layers": None, "n_hidden": None}
    bare["provenance"] = {}
    nothing = cell("d_rtrl")
    nothing["metrics"] = {}
    for records in ([bare], [nothing], [bare, nothing], [record(status="oom")]):
        assert page.answer(study(records).facts)


def test_what_was_measured_again_counts_once() -> None:
    old, new = (
        cell(ms=9, commit="a", created="2025-01-01"),
        cell(ms=5, commit="b", created="2025-02-01"),
    )
    (way,) = first([old, new]).ways
    assert way.time
    assert (way.time.n, way.ms) == (1, 5)


def test_the_options_of_one_model_are_not_named_for_another() -> None:
    records = [cell(model=model, seed=i) for i, model in enumerate(("gru", "lif_net", "lif_net"))]
    for built, gain in zip(records[1:], (0.5, 1.0), strict=True):
        built["config"]["model"]["recurrent_gain"] = gain
    names = {s.name for s in study(records).facts.settings}
    assert names == {"gru", "lif_net · recurrent_gain = 0.5", "lif_net · recurrent_gain = 1.0"}
