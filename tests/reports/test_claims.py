"""Claims: every one can come out each way, is traced to rows, and the list is complete."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, get_args

import pytest
from synthetic_records import ALGOS, Records, grid, record, study

from reports.claims import all_claims, answer_all
from reports.claims.base import Finding, Growth, Verdict
from reports.document import Words
from reports.html.page import _VERDICTS
from reports.scaling import PowerLaw
from reports.sections.claims import claims as claims_section

CHECKS = {claim.id: claim.check for claim in all_claims()}
HOLDS, FAILS, OPEN, UNTESTED = "holds", "does not hold", "not decided", "not tested here"


def answers(records: Records) -> dict[str, Finding]:
    return {a.claim.id: a.finding for a in answer_all(study(records))}


def answered(claim: str, records: Records) -> Finding:
    return CHECKS[claim](study(records))


def with_metric(records: Records, metric: str, rule: Any) -> Records:
    out = copy.deepcopy(records)
    for built in out:
        if built["status"] == "ok":
            built["metrics"][metric] = rule(built["row"], built["config"])
    return out


STEPS = grid(algo=ALGOS, n_steps=[8, 32, 128])
WIDTHS = grid(algo=ALGOS, n_hidden=[64, 128, 256])
BATCHES = grid(algo=ALGOS, batch_size=[1, 8, 64, 128], batching=["manual", "vmap", "single"])
GPU = grid(algo=ALGOS, batch_size=[1, 64], device=["gpu"])
RANKS = [record("es_d_rtrl", algo_config={"decay_or_rank": r}) for r in (1, 2, 4, 8)]
DECAYS = [record("es_d_rtrl", algo_config={"decay_or_rank": d}) for d in (0.5, 0.9, 0.99)]
LIF = [record("es_d_rtrl", task="random_classification", seed=s) for s in range(3)]
SNN = [record("es_d_rtrl", model="lif_snn", task="random_spikes", seed=s) for s in range(3)]
GRU = [record("d_rtrl", model="gru")]
WINDOWS = [record("d_rtrl", algo_config={"window": w}) for w in (1, 16, "sequence")]
WIDE = grid(algo=["es_d_rtrl"], n_hidden=[1024])


def rank_law(error: Any) -> Records:
    made = with_metric(RANKS, "etrace_mib", lambda row, c: 0.5 * c["algo"]["decay_or_rank"])
    return with_metric(made, "grad_rel_error", lambda row, c: error(c["algo"]["decay_or_rank"]))


def calls(batched: float) -> Records:
    return with_metric(BATCHES, "calls_per_step", lambda row, c: row["batch_size"]
                       if row["batching"] == "single" else batched)  # fmt: skip


def failed(records: Records) -> Records:
    return [{**built, "status": "oom", "metrics": {}} for built in records]


def constant(metric: str, value: float, records: Records) -> Records:
    return with_metric(records, metric, lambda row, c: value)


def zero_readout() -> Records:
    made = copy.deepcopy(GRU)
    made[0]["fidelity"]["out.weight"] = {"cosine": None, "rel_error": 1.0}
    return made


def decay_of_one(status: str) -> Records:
    return [record("es_d_rtrl", status=status, algo_config={"decay_or_rank": 1.0})]


def linear_in(name: str, metric: str, records: Records, power: float = 1.0) -> Records:
    return with_metric(records, metric, lambda row, c: 0.01 * row[name] ** power)


# claim -> (records under which it holds, records under which it does not)
PLANTED: dict[str, tuple[Records, Records]] = {
    "flat-in-time": (STEPS, linear_in("n_steps", "memory_temp_mib", STEPS)),
    "bptt-grows": (STEPS, constant("memory_temp_mib", 3.0, STEPS)),
    "d-rtrl-memory": (BATCHES + WIDTHS, linear_in("n_hidden", "etrace_mib", WIDTHS, 3.0)),
    "es-d-rtrl-memory": (BATCHES + WIDTHS, linear_in("n_hidden", "etrace_mib", WIDTHS, 2.0)),
    "n-to-the-fourth": (linear_in("n_hidden", "etrace_mib", WIDTHS, 4.0), WIDTHS),
    "rank-memory": (rank_law(lambda r: 1 / r), constant("etrace_mib", 1.0, RANKS)),
    "decay-memory": (
        DECAYS,
        with_metric(DECAYS, "etrace_mib", lambda row, c: c["algo"]["decay_or_rank"]),
    ),
    "one-allocation": (calls(1.0), calls(2.0)),
    "manual-faster": (BATCHES, linear_in("batch_size", "step_time_ms", BATCHES)),
    "vmap-efficient": (linear_in("batch_size", "step_time_ms", BATCHES), BATCHES),
    "loop-costs-b": (BATCHES, constant("step_time_ms", 5.0, BATCHES)),
    "batching-pays": (BATCHES, constant("step_time_ms", 5.0, BATCHES)),
    "free-on-gpu": (constant("step_time_ms", 5.0, GPU), GPU),
    "es-cheaper": (WIDTHS, constant("step_time_ms", 5.0, WIDTHS)),
    "under-100": (failed(WIDTHS), WIDTHS),
    "es-scales": (WIDE, failed(WIDE)),
    "compiles-once": (WIDTHS, constant("step_time_ms", 1e5, WIDTHS)),
    "d-rtrl-exact": (constant("grad_rel_error", 1e-6, WIDTHS), WIDTHS),
    "es-approximate": (WIDTHS, constant("grad_rel_error", 1e-6, WIDTHS)),
    "rank-accuracy": (rank_law(lambda r: 1 / r), rank_law(lambda r: 0.3)),
    "decay-of-one": (decay_of_one("ok"), decay_of_one("crashed")),
    "manual-is-vmap": (
        BATCHES,
        with_metric(BATCHES, "loss_first", lambda row, c: 1 + (row["batching"] == "vmap")),
    ),
    "samples-independent": (
        BATCHES,
        with_metric(BATCHES, "loss_first", lambda row, c: 1 + (row["batching"] == "vmap")),
    ),
    "multi-step": (
        WINDOWS,
        with_metric(WINDOWS, "loss_first", lambda row, c: len(str(c["algo"]["window"]))),
    ),
    "all-weights": (GRU, zero_readout()),
    "lif-learns": (LIF, constant("loss_final", 2.3, constant("loss_first", 2.3, LIF))),
    "snn-learns": (SNN, [{**built, "health": "the network never spikes"} for built in SNN]),
    "exchangeable": (WIDTHS, WIDTHS),
}


def test_one_sample_at_a_time_says_nothing_of_growth_with_the_batch() -> None:
    one = with_metric([built for built in BATCHES if built["row"]["batching"] == "single"],
                      "etrace_mib", lambda row, config: 0.1)  # fmt: skip
    batched = [built for built in BATCHES if built["row"]["batching"] != "single"]
    batched += WIDTHS
    both, alone = (answered("d-rtrl-memory", of) for of in (batched + one, batched))
    assert (both.figure, set(both.keys)) == (alone.figure, set(alone.keys))
    assert both.verdict == alone.verdict == HOLDS
    assert answered("d-rtrl-memory", one).verdict == UNTESTED


def test_other_libraries_are_not_held_against_an_algorithm() -> None:
    theirs = with_metric(grid(algo=ALGOS, n_hidden=[64, 128, 256], backend=["braintrace"]),
                         "etrace_mib", lambda row, config: (row["n_hidden"] / 64) ** 3)  # fmt: skip
    own = BATCHES + WIDTHS
    alone, both = answers(own), answers(own + theirs)
    assert alone["d-rtrl-memory"].verdict == HOLDS
    assert both == alone
    assert answers(theirs)["d-rtrl-memory"].verdict == FAILS


def test_every_claim_has_planted_records_and_an_identifier_of_its_own() -> None:
    claims = all_claims()
    assert {claim.id for claim in claims} == set(PLANTED)
    assert len(claims) == len(PLANTED) > 25


@pytest.mark.parametrize("claim", PLANTED)
def test_a_claim_holds_where_it_was_planted_to(claim: str) -> None:
    found = answered(claim, PLANTED[claim][0])
    assert (found.verdict, bool(found.keys)) == (HOLDS, True), found.figure


@pytest.mark.parametrize("claim", [c for c in PLANTED if c != "exchangeable"])
def test_a_claim_does_not_hold_where_it_was_planted_not_to(claim: str) -> None:
    found = answered(claim, PLANTED[claim][1])
    assert (found.verdict, bool(found.keys)) == (FAILS, True), found.figure


def test_without_the_right_cells_a_claim_is_not_tested_and_says_what_it_takes() -> None:
    found = answers([record("bptt", status="crashed")])
    assert len(found) == len(PLANTED)
    for claim, finding in found.items():
        assert finding.verdict == UNTESTED, claim
        assert finding.figure.startswith("It takes "), claim
        assert not finding.keys


def test_keys_name_rows_that_exist() -> None:
    records = [*STEPS, *WIDTHS, *BATCHES]
    known = {built["key"] for built in records}
    used = [key for finding in answers(records).values() for key in finding.keys]
    assert used
    assert set(used) <= known


def test_all_five_tutorials_are_answered() -> None:
    named = {tutorial for claim in all_claims() for tutorial in claim.tutorials}
    assert named == {
        "Batching Online Learning", "在线学习的批处理操作", "Batching Strategies",
        "Batching Strategies (notebook)", "SNN Online Learning with BrainTrace",
    }  # fmt: skip


def costs(metric: str, values: dict[tuple[Any, ...], float], *, by: tuple[str, ...]) -> Records:
    """One record for each key of `values`, which sets the columns `by`, with that metric."""
    return [
        record(**dict(zip(by, key, strict=True)), metrics={metric: value})
        for key, value in values.items()
    ]


def es_against_d_rtrl(time: list[float], memory: list[float]) -> Records:
    """Pairs at 128 neurons, one for each number of steps, whose ratios are given."""
    return [
        record(algo, n_hidden=128, n_steps=8 * 2**i,
               metrics={"step_time_ms": 5 * t, "memory_xla_mib": 3 * m, "memory_peak_mib": 1.0,
                        "etrace_mib": 1.0 if algo == "d_rtrl" else 0.01})
        for i, pair in enumerate(zip(time, memory, strict=True))
        for algo, (t, m) in (("d_rtrl", (1.0, 1.0)), ("es_d_rtrl", pair))
    ]  # fmt: skip


def test_undecided_is_an_answer_of_its_own_shown_and_counted_apart() -> None:
    records = es_against_d_rtrl([0.7, 1.0, 1.4], [0.5] * 3)
    assert answered("es-cheaper", records).verdict == OPEN
    section = claims_section(study(records))
    assert isinstance(section.blocks[0], Words)
    assert "1 was tested and not decided" in section.blocks[0].text
    shown = [a.finding.verdict for a in section.blocks[1].answers]  # type: ignore[union-attr]
    assert shown.index(OPEN) == len(shown) - shown.count(UNTESTED) - 1
    assert set(_VERDICTS) == set(get_args(Verdict))
    assert len(set(_VERDICTS.values())) == 4


@pytest.mark.parametrize(
    ("time", "memory", "verdict"),
    [
        ([0.5] * 3, [0.5] * 3, HOLDS),
        ([0.5] * 3, [0.05, 0.5, 0.9], HOLDS),  # counted: every pair is below
        ([0.5] * 3, [1.006] * 3, FAILS),  # whatever the traces are
        ([0.5] * 3, [0.5, 1.0, 1.1], OPEN),
        ([0.6, 1.05, 1.6], [0.5] * 3, OPEN),  # centre above one, interval around it
        ([1.3, 1.4, 1.5], [0.5] * 3, FAILS),
    ],
)
def test_the_cheaper_algorithm_is_judged_by_memory_not_by_traces(
    time: list[float], memory: list[float], verdict: str
) -> None:
    found = answered("es-cheaper", es_against_d_rtrl(time, memory))
    assert found.verdict == verdict, found.figure
    assert "memory by XLA" in found.figure


def test_one_at_a_time_does_not_say_which_algorithm_is_cheaper() -> None:
    batched = es_against_d_rtrl([1.3, 1.4, 1.5], [1.0] * 3)
    alone = copy.deepcopy(es_against_d_rtrl([0.1] * 3, [0.1] * 3))
    for built in alone:
        built["row"]["batching"] = built["config"]["batching"] = "single"
        built["key"] += "s"
    assert answered("es-cheaper", batched + alone) == answered("es-cheaper", batched)
    assert answered("es-cheaper", alone).verdict == UNTESTED


def test_options_of_one_algorithm_are_averaged_and_shared_settings_are_held() -> None:
    def one(algo: str, every: int, time: float, **options: Any) -> dict[str, Any]:
        made = record(algo, n_hidden=128, algo_config=options, seed=0,
                      metrics={"step_time_ms": time, "memory_xla_mib": 1.0})  # fmt: skip
        made["config"]["update_every"] = every
        made["key"] += f"{every}"
        return made

    records = [one("d_rtrl", 1, 8.0), one("d_rtrl", 4, 1.0)]
    for every, centre in ((1, 4.0), (4, 0.5)):
        records += [one("es_d_rtrl", every, centre * x, decay_or_rank=d)
                    for d, x in ((0.5, 0.5), (0.9, 2.0))]  # fmt: skip
    assert "0.5× [0.5, 0.5] over 2 pairs" in answered("es-cheaper", records).figure


def test_a_loop_is_held_against_its_largest_batch() -> None:
    records = costs("step_time_ms", {(algo, "single", b): 6.0 + b for algo in ALGOS
                                     for b in (1, 8, 64, 128)},
                    by=("algo", "batching", "batch_size"))  # fmt: skip
    found = answered("loop-costs-b", records)
    assert f"in a batch of 128 over that of one alone: {134 / 128 / 7:.3g}×" in found.figure
    assert found.verdict == FAILS


def test_growth_with_the_batch_is_not_enough_for_b_times_one_sample() -> None:
    fixed_cost = {1: 1.0, 8: 3.5, 64: 32.0, 128: 62.0}
    records = costs("step_time_ms", {(algo, "single", b): t * (1 + 0.2 * i)
                                     for i, algo in enumerate(ALGOS)
                                     for b, t in fixed_cost.items()},
                    by=("algo", "batching", "batch_size"))  # fmt: skip
    found = answered("loop-costs-b", records)
    assert (found.verdict, "0.484×" in found.figure) == (FAILS, True), found.figure


def test_a_batch_on_a_gpu_is_the_largest_one() -> None:
    records = costs("step_time_ms", {("gpu", 1): 1.0, ("gpu", 64): 1.2, ("gpu", 256): 1.4},
                    by=("device", "batch_size"))  # fmt: skip
    found = answered("free-on-gpu", records)
    assert found.verdict == HOLDS
    assert "a batch of 256 over that of one sample: 1.4× over 1 pair" in found.figure


def test_the_widest_network_is_quoted_with_the_memory_of_its_batch() -> None:
    made = record("d_rtrl", "manual", batch_size=128, n_hidden=128, metrics={"etrace_mib": 14.9})
    loop = record("d_rtrl", "single", batch_size=128, n_hidden=128, metrics={"etrace_mib": 0.117})
    found = answered("under-100", [made, loop])
    assert "14.9 MiB" in found.figure
    assert "0.117" not in found.figure
    assert answered("under-100", [loop]).verdict == UNTESTED


def test_one_samples_trace_is_not_divided_by_the_batch() -> None:
    entries = 128**2 * 4 / 2**20
    records = [record("d_rtrl", "single", batch_size=32, n_hidden=h,
                      metrics={"etrace_mib": entries * (h / 128) ** 2})
               for h in (32, 64, 128)]  # fmt: skip
    assert "it holds 16384 numbers a sample" in answered("n-to-the-fourth", records).figure


def test_unknown_noise_is_not_taken_for_equality() -> None:
    """Over several pairs the interval decides, however wide the bar of an unrepeated cell is."""
    ratios = (0.75, 0.9, 1.1, 1.29)
    values = {("d_rtrl", way, 8 * 2**i): 5 * (r if way == "vmap" else 1)
              for i, r in enumerate(ratios) for way in ("manual", "vmap")}  # fmt: skip
    records = costs("step_time_ms", values, by=("algo", "batching", "n_steps"))
    for claim in ("manual-faster", "vmap-efficient"):
        assert answered(claim, records).verdict == OPEN


def test_half_a_claim_tested_leaves_it_open() -> None:
    found = answered("d-rtrl-memory", BATCHES)
    assert found.verdict == OPEN
    assert "The rest is not tested: it takes d_rtrl at three values of H" in found.figure
    cubic = linear_in("n_hidden", "etrace_mib", WIDTHS, 3.0)
    assert answered("d-rtrl-memory", BATCHES + cubic).verdict == FAILS


def test_a_wide_interval_of_the_exponent_does_not_hold_theory() -> None:
    sizes = (1.0, 8.0, 32.0, 128.0)
    law = PowerLaw(0.55, 0.09, 1.01, 0.1, 2, 4, top=0.7, bent=False, x=sizes)
    assert Growth(law, 1.0, 128.0, ()).is_about(1.0) is None
    assert Growth(replace(law, top=0.95), 1.0, 128.0, ()).is_about(1.0) is True
    assert Growth(replace(law, low=0.5, high=0.6), 1.0, 128.0, ()).is_about(1.0) is False
    assert Growth(replace(law, low=-1.0, high=2.0), 1.0, 128.0, ()).is_about(1.0) is None


def test_counted_bytes_have_no_interval() -> None:
    assert "[" not in answered("d-rtrl-memory", BATCHES + WIDTHS).figure
    assert "[" not in answered("flat-in-time", STEPS).figure


def test_a_loss_whose_fall_is_not_told_from_none_is_open() -> None:
    runs = [record("es_d_rtrl", model="lif_snn", seed=s,
                   metrics={"loss_first": 1.0, "loss_final": end})
            for s, end in enumerate((0.7, 1.1, 0.95))]  # fmt: skip
    assert answered("snn-learns", runs).verdict == OPEN
    assert answered("snn-learns", runs[:1]).verdict == HOLDS


def test_what_could_not_have_come_out_otherwise_says_so() -> None:
    assert answered("exchangeable", WIDTHS).figure.startswith("By construction")


def test_three_ranks_at_three_widths_are_not_a_sweep_of_the_rank() -> None:
    records = [record("es_d_rtrl", n_hidden=h, algo_config={"decay_or_rank": r})
               for r, h in ((1, 64), (2, 128), (4, 256))]  # fmt: skip
    assert answered("rank-memory", records).verdict == UNTESTED


def test_other_options_do_not_count_as_the_decays() -> None:
    records = [record("es_d_rtrl", algo_config={"decay_or_rank": d, "window": w},
                      metrics={"etrace_mib": float(w)})
               for d in (0.5, 0.9) for w in (1, 4)]  # fmt: skip
    assert answered("decay-memory", records).verdict == HOLDS
