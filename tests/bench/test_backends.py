"""Other implementations: BPTT in plain JAX is the core's, and what none can do is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import brainstate
import jax
import numpy as np
import pytest

from bench.backends.base import Backend, ModelTrainee, StepResult
from bench.backends.braintrace import Braintrace
from bench.backends.core import Core
from bench.backends.plain_jax import PlainJax
from bench.cell import build
from bench.cell.gradients import cosine_and_error
from bench.cell.trees import flat
from bench.command import cli
from bench.config import Batching, Config
from bench.errors import BadInput
from bench.tasks.random_spikes import RandomSpikes

pytestmark = pytest.mark.usefixtures("kept")

MODELS = {
    "gru": {"_target_": "bench.models.gru.GRU"},
    "lif_net": {"_target_": "bench.models.lif_net.LIFNet", "tau_mem": 3.0, "tau_out": 7.0},
}
CONFIG = cli.cells_of(
    None,
    [
        "algo=bptt",
        "task=random_spikes",
        "n_hidden=8",
        "n_layers=2",
        "batch_size=3",
        "lr=1e-2",
        "dtype=float64",
    ],
    multirun=False,
)[0].config


def trained(backend: Backend, config: Config, updates: int) -> list[dict[str, np.ndarray]]:
    """The first gradient, and the weights after some updates."""
    task = RandomSpikes(n_steps=10, batch_size=config.batch_size, seed=0, n_in=12, rate=0.3)
    # Built in single precision and compared in double, as a cell of float32 is.
    with jax.enable_x64(False), brainstate.environ.context(precision=32):
        model = build.model_of(config, task)
    for state in model.states(brainstate.ParamState).values():
        state.value = jax.tree.map(lambda leaf: leaf.astype("float64"), state.value)
    trainee = backend.trainee(model, config)
    assert "mask" in backend.losses
    task.mask = np.linspace(0, 1, 10)
    trainee.task = task
    xs, ys = next(task.batches(0))
    xs = xs.astype(np.float64)
    sample = (xs[:, 0], ys[0]) if config.batching.mode == "single" else (xs, ys)
    gradient = flat(brainstate.transform.jit(lambda: trainee.gradient(*sample)[0])())
    step = brainstate.transform.jit(lambda: trainee.train(xs, ys).grad_norm)
    for _ in range(updates):
        step()
    return [gradient, flat({path: state.value for path, state in trainee.weights.items()})]


class WithoutReadout(ModelTrainee):
    def gradient(self, xs: Any, ys: Any) -> Any:
        weights = {path: state.value for path, state in self.weights.items()}
        return {("readout",): weights.pop(("readout", "weight")), **weights}, StepResult(xs, None)

    def trace_bytes(self, xs: Any) -> dict[str, int]:
        return {}


def test_weights_without_a_gradient_are_named() -> None:
    config = replace(CONFIG, model=MODELS["gru"], n_layers=1)
    model = build.model_of(config, RandomSpikes(10, 3, seed=0, n_in=12, rate=0.3))
    with pytest.raises(BadInput, match=r"got none of readout\.weight\."):
        WithoutReadout(model, config).train(np.zeros((2, 3, 12)), np.zeros(3, int))


@pytest.mark.parametrize(
    ("model", "mode", "updates"),
    [("gru", "vmap", 3), ("lif_net", "manual", 3), ("lif_net", "single", 0)],
)
def test_gradient_and_training_are_the_cores(model: str, mode: str, updates: int) -> None:
    config = replace(CONFIG, model=MODELS[model], batching=Batching(mode))
    with jax.enable_x64(True), brainstate.environ.context(precision=64):
        build.set_up(config)
        ours = trained(PlainJax(), config, updates)
        theirs = trained(Core(), config, updates)
    for a, b, tolerance in zip(ours, theirs, (1e-14, 1e-12), strict=True):
        assert a.keys() == b.keys()
        _, error = cosine_and_error(a, b)
        assert error is not None
        assert error < tolerance


def test_what_is_not_written_down_is_skipped_with_a_reason() -> None:
    config = replace(CONFIG, model=MODELS["gru"])
    choices = {"algo": "d_rtrl", "model": "mine"}
    reasons = [
        PlainJax().unsupported(replace(config, **change), choices)
        for change in (
            {},
            {"algo": {"_target_": "core.D_RTRL"}},
            {"model": {"_target_": "mine.Net"}},
            {"update_every": 1},
        )
    ]
    assert reasons == [
        "",
        "plain JAX is written down for bptt, not for d_rtrl",
        "plain JAX has no mine",
        "plain JAX updates once a sequence",
    ]


@pytest.mark.parametrize(
    ("backend", "change", "reason"),
    [
        (Braintrace("multi_step", 5), {}, ""),
        (Braintrace("multi_step", 2), {}, "n_steps=5 is not a multiple of backend.chunk=2"),
        (
            Braintrace("multi_step", 5),
            {"batching": Batching("vmap")},
            "braintrace refuses chunks under vmap",
        ),
        (Braintrace("single_step", 5), {}, "braintrace's chunks need backend.mode=multi_step"),
        (Braintrace(), {"algo": {"_target_": "core.BPTT"}}, "braintrace has no x"),
        (
            Braintrace(),
            {"algo": {"_target_": "core.ES_D_RTRL", "decay_or_rank": 4}},
            "braintrace maps a rank to a decay and has no rank form",
        ),
    ],
)
def test_what_braintrace_cannot_do_is_said(
    backend: Braintrace, change: dict[str, Any], reason: str
) -> None:
    config = replace(CONFIG, algo={"_target_": "core.D_RTRL"}, n_steps=5)
    assert backend.unsupported(replace(config, **change), {"algo": "x"}) == reason
