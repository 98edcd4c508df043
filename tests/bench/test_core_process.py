"""Weights and gradients of the core, asked for from another process."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any

import brainstate
import jax
import numpy as np
import pytest

from bench.backends.brainscale import Brainscale
from bench.backends.braintrace import Braintrace
from bench.backends.core import Core
from bench.cell import build
from bench.cell.core_process import core_gradient, core_weights
from bench.cell.trees import filled, flat
from bench.command import cli
from bench.config import Batching, Device
from bench.sweep.provenance import ROOT
from bench.tasks.random_spikes import RandomSpikes

CONFIG = cli.cells_of(
    None,
    [
        "backend=brainscale",
        "task=random_spikes",
        "task.n_in=6",
        "task.rate=0.3",
        "n_hidden=4",
        "batch_size=3",
        "n_steps=5",
        "seed=1",
        "dtype=float64",
    ],
    multirun=False,
)[0].config


def test_weights_and_gradient_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PYTHONPATH", str(ROOT))
    core_config = replace(CONFIG, backend={"_target_": "bench.backends.core.Core"}, batch_size=2)
    weights = core_weights(sys.executable, CONFIG)
    asked = core_gradient(sys.executable, CONFIG, core_config)
    with jax.enable_x64(True), brainstate.environ.context(precision=64):
        build.set_up(CONFIG)
        task = RandomSpikes(5, 3, 1, n_in=6, rate=0.3)
        model = build.model_of(CONFIG, task)
        own = flat(
            {path: state.value for path, state in model.states(brainstate.ParamState).items()}
        )
        trainee = Core().trainee(model, core_config)
        xs, ys = next(task.batches(0))
        xs = xs[:, :2].astype(np.float64)
        here = flat(brainstate.transform.jit(lambda: trainee.gradient(xs, ys[:2])[0])())
    assert sorted(weights) == sorted(own)
    for name, value in own.items():
        np.testing.assert_array_equal(weights[name], value)
        np.testing.assert_allclose(asked[name], here[name], rtol=1e-12, atol=1e-14)
        assert asked[name].any()


def test_weights_of_other_shapes_are_refused() -> None:
    tree = {("a", "w"): np.zeros((2, 3)), ("b",): np.zeros(3)}
    arrays = {"a.w": np.ones((2, 3)), "b": np.arange(3.0)}
    values = filled(tree, arrays)
    np.testing.assert_array_equal(values["b",], arrays["b"])
    with pytest.raises(ValueError, match=r"weights: expected the shapes .*, got"):
        filled(tree, {**arrays, "b": np.zeros(4)})


@pytest.mark.parametrize(
    ("backend", "change", "reason"),
    [
        (Brainscale(), {}, ""),
        (Brainscale(), {"algo": {"_target_": "core.BPTT"}}, "brainscale has no x"),
        (
            Brainscale(),
            {"algo": {"_target_": "core.ES_D_RTRL", "decay_or_rank": 4}},
            "brainscale maps a rank to a decay and has no rank form",
        ),
        (Brainscale(), {"device": Device("gpu")}, "brainscale's environment has one CPU device"),
        (Braintrace("multi_step", 5), {}, ""),
        (Braintrace("multi_step", 2), {}, "n_steps=5 is not a multiple of backend.chunk=2"),
        (
            Braintrace("multi_step", 5),
            {"batching": Batching("vmap")},
            "braintrace refuses chunks under vmap",
        ),
        (Braintrace("single_step", 5), {}, "braintrace's chunks need backend.mode=multi_step"),
    ],
)
def test_what_a_peer_cannot_do_is_said(backend: Any, change: dict[str, Any], reason: str) -> None:
    assert backend.unsupported(replace(CONFIG, **change), {"algo": "x"}) == reason
