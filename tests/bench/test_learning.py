"""Cells of the real algorithms: contract columns, equal batchings, flags."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.cell.build import build, set_up
from bench.cell.worker import failure
from bench.command import cli
from bench.metrics import memory
from bench.metrics.agreement import Agreement
from bench.metrics.fidelity import Fidelity
from bench.metrics.health import Health
from bench.metrics.learning import Learning
from bench.sweep import measure, sweep
from bench.sweep.record import merge
from tests.bench.sweeps import in_this_process
from tests.bench.test_metrics import built

COLUMNS = {
    "step_time_ms", "timesteps_per_s", "sequences_per_s", "trace_s", "lower_s", "compile_s",
    "first_call_s", "memory_xla_mib", "memory_temp_mib", "memory_peak_mib", "etrace_mib",
    "flops_per_step", "limit_ratio", "loss_first", "loss_final", "accuracy", "grad_cosine",
    "grad_rel_error", "grad_norm", "firing_rate", "test_accuracy", "n_compilations",
    "bytes_per_step", "window_steps", "n_classes",
}  # fmt: skip

FLOOR = {"product_flops_per_s": [9e10, 1e11], "copy_bytes_per_s": [9e9, 1e10]}


CELL = ["algo=d_rtrl", "model=lif_net", "n_hidden=16", "batch_size=64", "epochs=2", "dtype=float64"]


@pytest.fixture(scope="module")
def by_devices(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """Records of one cell: on one device with all metrics, in this process, and on two."""
    out = tmp_path_factory.mktemp("out")
    times = ["warmup_s=0.2", "budget_s=0.2", "against=null"]
    one = ["devices=1", *(f"metric.timing.{setting}" for setting in times)]
    two = ["devices=2", "metric=[memory,learning]"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(out)
        patch.setattr(sweep, "build_report", lambda *_: "none")
        patch.setattr(measure, "rates_here", lambda *_: FLOOR)
        assert cli.main([f"out={out}", "batching=vmap", *CELL, *two]) == 0
        in_this_process(patch.setattr)
        # It changes the allocator of its process for good; test_cells has one of its own.
        patch.setattr(memory, "_peak_of_step", lambda _: (2**20, "none"))
        assert cli.main([f"out={out}", "batching=vmap", *CELL, *one]) == 0
    records = [json.loads(path.read_text()) for path in (out / "cells").glob("*.json")]
    return {record["config"]["devices"]: record for record in records}


@pytest.fixture(scope="module")
def by_batching(by_devices: dict[int, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Losses and fidelity of that cell in each batching."""
    found = {"vmap": by_devices[1]}
    for mode in ("manual", "single"):
        (cell,) = cli.cells_of(None, [f"batching={mode}", *CELL], multirun=False)
        run, found[mode] = build(cell.config, cell.choices)
        for metric in (Learning(), Fidelity()):
            merge(found[mode], metric.measure(run))
    set_up(replace(run.config, dtype="float32"))
    return found


def test_the_contracts_columns_are_there(by_devices: dict[int, dict[str, Any]]) -> None:
    metrics = by_devices[1]["metrics"]
    assert {name for name in COLUMNS if metrics.get(name) is None} == set()
    assert all(isinstance(v, int | float | None) for v in metrics.values())
    assert len(by_devices[1]["curves"]["loss"]) == 2
    weights = by_devices[1]["fidelity"]
    assert weights["readout.weight"]["rel_error"] < 1e-12
    assert 0 < weights["layers.0.projection.comm.weight.weight"]["rel_error"] < 1


def test_batchings_train_alike(by_batching: dict[str, dict[str, Any]]) -> None:
    manual = by_batching["manual"]
    for mode in ("vmap", "single"):
        other = by_batching[mode]
        assert other["curves"]["loss"] == pytest.approx(manual["curves"]["loss"], rel=1e-9)
        for name in ("grad_cosine", "grad_rel_error", "grad_norm", "test_accuracy"):
            assert other["metrics"][name] == pytest.approx(manual["metrics"][name], rel=1e-9)


def test_test_data_tell_what_guessing_gets_right_and_where_there_are_none_nothing_is_told() -> None:
    """A score that is null is one of training that diverged."""
    small = ["algo=bptt", "model=gru", "n_hidden=4", "batch_size=64", "epochs=1"]
    run = built("task=breast_cancer", "n_steps=10", *small)
    found = Learning().measure(run)["metrics"]
    assert found["guess_accuracy"] == np.mean(run.task.test()[1] == 1) > 0.6
    assert found["n_test"] == 114
    none = built("task=sine", "task.n_test=null", "task.n_batches=1", "n_steps=8", *small)
    found = Learning().measure(none)["metrics"]
    assert "r2" in found
    assert not {"test_r2", "n_test", "guess_accuracy"} & found.keys()


def test_the_published_spiking_network_is_flagged() -> None:
    run = built(
        "model=lif_snn",
        "algo=es_d_rtrl",
        "algo.decay_or_rank=0.99",
        "task=digits_spikes",
        "n_steps=10",
        "n_hidden=16",
        "batch_size=64",
        "epochs=3",
    )
    run.parts = Learning().measure(run)
    words = Health().measure(run)["health"].split("; ")
    assert "layer layers.0.neuron never spikes" in words
    assert "loss stuck at ln(10) = 2.3026" in words


# braintrace 0.2.8 under jax 0.12.
@pytest.mark.filterwarnings("ignore:core.Jaxpr is missing a DebugInfo:DeprecationWarning")
@pytest.mark.parametrize(("algo", "weights"), [("d_rtrl", 3), ("es_d_rtrl", 2)])
def test_braintrace_agrees(algo: str, weights: int) -> None:
    run = built("backend=braintrace", f"algo={algo}", "task=digits", "n_hidden=8", "batch_size=4")
    metrics = Agreement().measure(run)["metrics"]
    assert metrics["agreement_rel_error"] < 1e-12
    assert metrics["agreement_weights"] == weights


def test_a_batch_split_over_devices_trains_alike(by_devices: dict[int, dict[str, Any]]) -> None:
    one, two = by_devices[1], by_devices[2]
    assert two["curves"]["loss"] == pytest.approx(one["curves"]["loss"], rel=1e-12)
    saved = {
        name: one["memory"]["xla"][name] - two["memory"]["xla"][name]
        for name in ("argument", "temp")
    }
    # Each of the two holds half of the inputs [8, 64, 8] and labels [64], and less of the rest.
    assert saved["argument"] * 2**20 == pytest.approx((8 * 64 * 8 * 8 + 64 * 4) / 2)
    assert saved["temp"] > 0.2 * one["memory"]["xla"]["temp"]


def test_a_step_that_cannot_fit_says_what_it_asks_for() -> None:
    # A trace of 16 x 80 x 64 numbers, 0.3 MiB.
    with pytest.raises(MemoryError) as error:
        built("algo.window=1", "n_hidden=64", "batch_size=16", "limits.memory_gib=2e-4")
    assert re.match(
        r"the compiled step asks for [\d,]+ MiB, the memory cap is 0 MiB", str(error.value)
    )
    assert failure(error.value) == ("oom", f"out of memory: MemoryError: {error.value}")
