"""Claims: every one can come out each way, is traced to rows, and the list is complete."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from synthetic_records import grid, record

from reports.claims import all_claims, answer_all
from reports.claims.base import Finding
from reports.records import Sweeps
from reports.study import Study

Records = list[dict[str, Any]]
ALGOS = ["bptt", "d_rtrl", "es_d_rtrl"]
CHECKS = {claim.id: claim.check for claim in all_claims()}
HOLDS, FAILS, UNTESTED = "holds", "does not hold", "not tested here"


def answers(records: Records) -> dict[str, Finding]:
    return {a.claim.id: a.finding for a in answer_all(Study(Sweeps((Path("."),), records)))}


def answered(claim: str, records: Records) -> Finding:
    return CHECKS[claim](Study(Sweeps((Path("."),), records)))


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
    both, alone = (answered("d-rtrl-memory", of) for of in (batched + one, batched))
    assert (both.figure, set(both.keys)) == (alone.figure, set(alone.keys))
    assert both.verdict == alone.verdict == HOLDS
    assert answered("d-rtrl-memory", one).verdict == UNTESTED


def test_other_libraries_are_not_held_against_an_algorithm() -> None:
    theirs = with_metric(grid(algo=ALGOS, n_hidden=[64, 128, 256], backend=["braintrace"]),
                         "etrace_mib", lambda row, config: (row["n_hidden"] / 64) ** 3)  # fmt: skip
    alone, both = answers(WIDTHS), answers(WIDTHS + theirs)
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
