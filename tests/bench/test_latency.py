"""A stream learns what the cell's training step learns, and its clock is read call by call."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from bench.backends.base import ModelTrainee
from bench.metrics.base import Run
from bench.metrics.latency import Latency, steps_of
from tests.bench.test_metrics import built

TINY = ("model=gru", "n_hidden=8", "n_steps=5", "update_every=1")


@pytest.mark.parametrize("cell", [("batching=vmap",), ("task=integrator", "optimizer=sgd")])
def test_steps_called_one_by_one_learn_what_the_training_step_learns(cell: tuple[str, ...]) -> None:
    changed = "lr=0.05", "batch_size=2", "dtype=float64"
    run = built(*TINY, "algo=d_rtrl", *changed, *cell)
    values, batch = run.stepper.values(), run.stepper.prepare(*run.batch)
    learn = run.trainee.stream(run.batch[0][0])
    for _ in range(3):
        values, result = run.stepper(values, batch)
        losses = [learn(*step)[0] for step in steps_of(run)]
        np.testing.assert_allclose(losses, result.losses, rtol=1e-10)
    learn.store()
    found, wanted, initial = map(jax.tree.leaves, (run.stepper.values(), values, run.initial))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert max(np.abs(a - b).max() for a, b in zip(found, initial, strict=True)) > 0.1


@pytest.fixture(scope="module")
def run() -> Run:
    return built(*TINY, "algo=immediate", "batch_size=1")


def test_columns_and_weights_that_stay(run: Run) -> None:
    found = Latency(steps=1000).measure(run)
    metrics = found["metrics"]
    assert "invalid" not in found
    assert 0 < metrics["latency_p50_us"] < metrics["latency_p99_us"]
    assert metrics["latency_steps"] >= 1000
    assert metrics["stream_steps_per_s"] > 0 < metrics["scan_steps_per_s"]
    leaves = map(jax.tree.leaves, (run.stepper.values(), run.initial))
    for now, initial in zip(*leaves, strict=True):
        np.testing.assert_array_equal(now, initial)
    few = Latency(steps=1, budget_s=1e-9).measure(run)["metrics"]
    assert (few["latency_p99_us"] is None) == (few["latency_steps"] < 1000)


def test_the_quantiles_are_those_of_single_calls(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = itertools.count()

    def slow(*_: Any) -> None:
        time.sleep(0.03 if next(calls) % 20 == 0 else 0.002)

    monkeypatch.setattr(run.trainee, "stream", lambda x: slow)
    monkeypatch.setattr("bench.metrics.latency.LEAST_FOR_P99", 100)
    found = Latency(steps=200, budget_s=60).measure(run)["metrics"]
    assert found["latency_p50_us"] >= 2000
    assert found["latency_p99_us"] >= 30000
    assert found["latency_p50_us"] < found["latency_p99_us"]
    assert found["stream_steps_per_s"] < 1 / 0.0034


def test_what_has_no_stream_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run, "config", replace(run.config, update_every="sequence"))
        assert Latency().measure(run) == {
            "note": "no latency: a stream learns at every step: expected update_every=1; "
            "got sequence"
        }
    monkeypatch.setattr(type(run.trainee), "stream", ModelTrainee.stream)
    assert Latency().measure(run) == {
        "note": "no latency: the steps of this backend cannot be called one by one"
    }
