"""Losses of numbers, on part of a sequence, with a penalty on rates; and the optimizers.

The reference is BPTT by ``jax.grad`` of the network written down without brainstate.
"""

from __future__ import annotations

import functools
from typing import Any

import brainstate
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bench.backends.core import CoreTrainee
from bench.cell.build import build, model_of, set_up
from bench.cell.trees import flat
from bench.command import cli
from bench.config import Config
from bench.errors import Skip
from bench.instantiate import task_of

pytestmark = pytest.mark.usefixtures("kept")

CELL = [
    "task=sine",
    "task.fastest=4",
    "task.slowest=9",
    "model=lif_net",
    "model.gain=6",
    "n_layers=2",
    "n_hidden=8",
    "n_steps=10",
    "batch_size=3",
    "loss_after=3",
    "dtype=float64",
]
PENALTY = ["rate_penalty=0.7", "rate_target=0.2"]


def config_of(*overrides: str) -> Config:
    (cell,) = cli.cells_of(None, [*CELL, *overrides], multirun=False)
    return cell.config


def gradient_of(config: Config) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The summed gradient of the first batch by name, and the reported losses, [T]."""
    trainee, (xs, ys) = trainee_of(config)
    found = brainstate.transform.jit(trainee.gradient)
    if config.batching.mode != "single":
        gradient, result = found(xs, ys)
        return flat(gradient), np.asarray(result.losses)
    parts = [found(xs[:, b], ys[b]) for b in range(len(ys))]
    gradients = [flat(gradient) for gradient, _ in parts]
    return (
        {name: sum(g[name] for g in gradients) for name in gradients[0]},
        sum(np.asarray(result.losses) for _, result in parts),
    )


def trainee_of(config: Config) -> tuple[CoreTrainee, Any]:
    set_up(config)
    task = task_of(config)
    trainee = CoreTrainee(model_of(config, task), config)
    trainee.task = task
    xs, ys = next(iter(task.batches(0)))
    return trainee, (xs.astype(config.dtype), ys)


@jax.custom_jvp
def spike(v: jax.Array) -> jax.Array:
    """1 where a voltage in mV has reached the threshold; its derivative is a triangle around it."""
    return (v >= 1.0).astype(v.dtype)


@spike.defjvp
def _spike_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[Any, Any]:
    (v,), (dv,) = primals, tangents
    return spike(v), jnp.maximum(0.0, 0.3 * (1.0 - jnp.abs(v - 1.0))) * dv


def reference(config: Config) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The same by ``jax.grad``: neurons with soft reset that read their own spikes."""
    trainee, (xs, ys) = trainee_of(config)
    neuron, readout = trainee.model.layers[0].neuron, trainee.model.readout
    tau, decay_out = (
        float(np.ravel(u.get_magnitude(constant))[0]) for constant in (neuron.tau, readout.decay)
    )
    decay = np.exp(-1.0 / tau)
    values = {path: state.value for path, state in trainee.weights.items()}
    params = jax.tree.map(lambda a: np.asarray(getattr(a, "mantissa", a)), values,
                          is_leaf=lambda a: hasattr(a, "mantissa"))  # fmt: skip
    *layers, out_weight = sorted(values)  # by path

    def total(params: Any) -> Any:
        voltages, out = [jnp.zeros((3, 8)) for _ in layers], jnp.zeros((3, 1))
        summed, losses = 0.0, []
        for t in range(10):
            x, rates = xs[t], []
            for i, layer in enumerate(layers):
                spikes, w = spike(voltages[i]), params[layer]
                drive = jnp.concatenate([x, spikes], axis=-1) @ w["weight"] + w["bias"]
                voltages[i] = decay * (voltages[i] - spikes) + drive
                x = spike(voltages[i])
                rates.append(x.mean(1))
            out = decay_out * out + x @ params[out_weight]
            loss = jnp.mean((out - ys[:, t]) ** 2)
            losses.append(loss)
            for rate in rates:
                loss += config.rate_penalty * jnp.mean((rate - config.rate_target) ** 2)
            summed += loss * (t >= 3)
        return summed, jnp.stack(losses)

    gradient, losses = jax.jit(jax.grad(total, has_aux=True))(params)
    return flat(gradient), np.asarray(losses)


@pytest.fixture(autouse=True)
def wide() -> Any:
    with jax.enable_x64(True), brainstate.environ.context(precision=64):
        yield
    jax.config.update("jax_enable_x64", False)  # which building a cell has set for good


@functools.cache
def without_and_with_penalty() -> Any:
    """The gradient without one, and what the reference says with it."""
    bare, _ = gradient_of(config_of("algo=bptt"))
    return bare, reference(config_of("algo=bptt", *PENALTY))


@pytest.mark.parametrize("batching", ["manual", "single"])
def test_the_gradient_is_that_of_the_loss_as_written(batching: str) -> None:
    found, losses = gradient_of(config_of("algo=bptt", f"batching={batching}", *PENALTY))
    bare, (exact, true) = without_and_with_penalty()
    assert losses == pytest.approx(true, rel=1e-12)
    assert found.keys() == exact.keys()
    for name, value in exact.items():
        assert found[name] == pytest.approx(value, rel=1e-10, abs=1e-13), name
    # The penalty has a part in it.
    assert any(np.abs(found[name] - bare[name]).max() > 1e-3 for name in exact)


def test_batchings_of_a_trace_agree() -> None:
    manual, *others = (
        gradient_of(config_of("algo=d_rtrl", "algo.window=5", f"batching={batching}", *PENALTY))
        for batching in ("manual", "vmap", "single")
    )
    for gradient, losses in others:
        assert losses == pytest.approx(manual[1], rel=1e-12)
        for name, value in manual[0].items():
            assert gradient[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name


def test_updates_at_every_step_train_on_the_numbers_of_that_step() -> None:
    """With a learning rate of next to nothing their gradients add up to the sequence's."""
    config = config_of("algo=d_rtrl", "update_every=1", *PENALTY)
    online, _ = gradient_of(config)
    whole, _ = gradient_of(config_of("algo=d_rtrl", *PENALTY))
    for name, value in whole.items():
        assert online[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name


def test_an_update_is_the_optimizers() -> None:
    """Of SGD with weight decay: w - lr (g + decay w). Of the others the first step's size is lr."""
    for optimizer, first in (("sgd", None), ("adam", 1.0), ("adamw", 1.0), ("rmsprop", 10.0)):
        decay = "weight_decay=0.1" if first is None else "weight_decay=0"
        config = config_of("algo=bptt", f"optimizer={optimizer}", decay, "lr=0.5", "clip_norm=1e9")
        trainee, _ = trainee_of(config)
        weights = {path: state.value for path, state in trainee.weights.items()}
        trainee.apply(jax.tree.map(lambda w: 10 + 0 * w, weights))
        after = flat({path: state.value for path, state in trainee.weights.items()})
        for name, w in flat(weights).items():
            step = 10 + 0.1 * w if first is None else first
            # Their epsilon is 1e-8, inside a square root or outside.
            assert after[name] == pytest.approx(w - 0.5 * step, abs=1e-6), (optimizer, name)


def test_what_has_no_such_loss_skips_the_cell() -> None:
    digits = ["task=digits", "n_steps=8"]
    for words, overrides in (
        ("has no loss of numbers", ["backend=braintrace", "task=sine"]),
        (
            "has no loss with a penalty on rates",
            ["backend=braintrace", "model=lif_net", *digits, "rate_penalty=1"],
        ),
        ("has no loss at some steps only", ["backend=braintrace", *digits, "loss_after=2"]),
        ("of spiking layers, and gru has none", ["model=gru", *digits, "rate_penalty=1"]),
    ):
        (cell,) = cli.cells_of(None, ["n_hidden=4", *overrides], multirun=False)
        with pytest.raises(Skip, match=words):
            build(cell.config, cell.choices)
