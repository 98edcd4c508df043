"""Batches by hand, by vmap and sample by sample; windows under brainstate.nn.Vmap."""

from __future__ import annotations

from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import core

from . import rate_models as rate
from . import spiking_models as spiking
from .cases import N_BATCH, N_HIDDEN, N_IN, Data, data_for, draw, gradient_of, run
from .references import assert_close, named, relative_error, squared_error

ALGORITHMS = {
    "d_rtrl": lambda m: core.D_RTRL(m, window=3),
    "es_d_rtrl, all credit in windows": lambda m: core.ES_D_RTRL(m, window=3, credit="window"),
    "es_d_rtrl": lambda m: core.ES_D_RTRL(m, 0.9, window=3),
    "rank 2": lambda m: core.ES_D_RTRL(m, 2, window=3),
    "rtrl": lambda m: core.RTRL(m, window=3),
}


@pytest.mark.parametrize("name", [n for n in ALGORITHMS if n != "es_d_rtrl"])
def test_manual_vmap_and_single_samples_agree(name: str) -> None:
    """On a network with units and two states per neuron."""
    model, data = spiking.ADAPTIVE.model(), data_for()
    make = ALGORITHMS[name]

    def everything() -> Any:
        return (gradient_of(make(model), data), gradient_of(make(model), data, batching="vmap"))

    @brainstate.transform.jit
    def alone(sample: Data) -> Any:
        result = gradient_of(make(model), sample, batching="single")
        return named(result.grads), result.losses

    (manual, losses), (vmap, vmap_losses) = run(everything)
    single = [alone(Data(data.xs[:, b], data.ys[:, b])) for b in range(N_BATCH)]
    assert len(single) == N_BATCH > 1
    summed = jax.tree.map(lambda *g: sum(g), *(grads for grads, _ in single))
    assert_close(vmap, manual)
    assert_close(summed, manual)
    assert relative_error(vmap_losses, losses) < 1e-12
    assert relative_error(sum(own for _, own in single), losses) < 1e-12


@pytest.mark.parametrize("name", ["d_rtrl", "rank 2"])
def test_a_sample_is_untouched_by_the_others(name: str) -> None:
    """Its output, states, traces and gradient are the same bits whatever the other one is."""
    model, data = rate.GRU.model(), data_for()

    @brainstate.transform.jit
    def first_sample(xs: Any) -> Any:
        algo = ALGORITHMS[name](model)
        core.initialise(algo, xs[0])

        def loss(out: Any, y: Any) -> Any:
            return squared_error(out[0], y[0]), out[0]

        result = core.gradient(
            algo, loss, xs, data.ys, per_step_targets=True, has_aux=True, fresh=False
        )
        carried = (algo.trace.value, model.cell.h.value)
        return result.grads, result.aux, jax.tree.map(lambda leaf: leaf[0], carried)

    other = data.xs.copy()
    other[:, 1] = 17.0 * other[:, 1] + 3.0
    one, two = first_sample(data.xs), first_sample(other)
    leaves = jax.tree.leaves(one)
    assert len(leaves) > 6
    for a, b in zip(leaves, jax.tree.leaves(two), strict=True):
        assert np.array_equal(a, b)


def test_doubling_the_batch_by_copies() -> None:
    """Doubles the gradient of a summed loss, and leaves that of a mean."""
    model, data = rate.GRU.model(), data_for()
    twice = Data(*(np.concatenate([a, a], axis=1) for a in data))

    def both(make: Any, loss: Any) -> Any:
        found = []
        for xs, ys in (data, twice):
            algo = make(model)
            core.initialise(algo, xs[0])
            found.append(core.gradient(algo, loss, xs, ys, per_step_targets=True))
        return found

    def mean(out: Any, y: Any) -> Any:
        return ((out - y) ** 2).mean()

    make = ALGORITHMS["es_d_rtrl"]
    ((once, _), (doubled, _)), ((mean_once, _), (mean_doubled, _)) = run(
        lambda: (both(make, squared_error), both(make, mean))
    )
    assert_close(doubled, {name: 2 * g for name, g in once.items()})
    assert_close(mean_doubled, mean_once)


@pytest.mark.parametrize("name", ["d_rtrl", "rank 2"])
def test_windows_under_vmap(name: str) -> None:
    """`brainstate.nn.Vmap` maps MultiStepData of [T, B, ...]; two windows carry the trace."""
    model, data = rate.GRU.model(), data_for(n_steps=6)
    weights = model.states(brainstate.ParamState)

    def mapped() -> Any:
        algo = ALGORITHMS[name](model)
        core.initialise(algo, data.xs[0], batching="vmap")
        net = brainstate.nn.Vmap(algo, vmap_states="new", in_axes=1, out_axes=1)
        total: Any = None
        for start in (0, 3):

            def loss(start: int = start) -> Any:
                out = net(core.MultiStepData(jnp.asarray(data.xs[start : start + 3])))
                return squared_error(out, data.ys[start : start + 3])

            grads = brainstate.transform.grad(loss, weights)()
            total = grads if total is None else jax.tree.map(jnp.add, total, grads)
        return total

    by_windows, (by_driver, _) = run(lambda: (mapped(), gradient_of(ALGORITHMS[name](model), data)))
    assert_close(named(by_windows), by_driver)


def test_single_steps_under_vmap() -> None:
    """The tutorials' loop: Vmap over single steps, gradients added up by the user."""
    model, data = rate.GRU.model(), data_for()
    weights = model.states(brainstate.ParamState)

    def loop() -> Any:
        algo = core.D_RTRL(model)
        core.initialise(algo, data.xs[0], batching="vmap")
        net = brainstate.nn.Vmap(algo, vmap_states="new")

        def step(total: Any, inputs: Any) -> Any:
            grads = brainstate.transform.grad(
                lambda: squared_error(net(inputs[0]), inputs[1]), weights
            )()
            return jax.tree.map(jnp.add, total, grads), None

        zero = jax.tree.map(jnp.zeros_like, weights.to_dict_values())
        return brainstate.transform.scan(step, zero, (data.xs, data.ys))[0]

    by_loop, (by_driver, _) = run(lambda: (loop(), gradient_of(core.D_RTRL(model), data)))
    assert_close(named(by_loop), by_driver)


def test_modes_are_accepted_and_not_needed() -> None:
    model, data = rate.LEAKY.model(), data_for()
    batching = brainstate.mixin.Batching()

    def everything() -> Any:
        found = [
            gradient_of(core.ES_D_RTRL(model, 0.9, mode=mode), data) for mode in (None, batching)
        ]
        with brainstate.environ.context(mode=batching):
            found.append(gradient_of(core.ES_D_RTRL(model, 0.9), data))
        found.append(gradient_of(core.D_RTRL(model, mode=batching), data))
        return found

    plain, given, everywhere, _ = run(everything)
    assert_close(given[0], plain[0], 0.0)
    assert_close(everywhere[0], plain[0], 0.0)


def test_an_unknown_batching_is_refused() -> None:
    with pytest.raises(core.InvalidArgument) as refused:
        core.initialise(core.D_RTRL(rate.LEAKY.model()), data_for().xs[0], batching="auto")
    assert str(refused.value) == (
        "expected batching to be one of manual, vmap, single; got 'auto'. Choose one of them."
    )


class Clocked(brainstate.nn.Module):
    """h <- 0.8 h + tanh(x W + a row of a table that the clock chooses)."""

    def __init__(self) -> None:
        super().__init__()
        self.W, self.table = (brainstate.ParamState(draw(n, N_HIDDEN)) for n in (N_IN, 3))

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        self.h = brainstate.HiddenState(
            jnp.zeros((N_HIDDEN,) if batch_size is None else (batch_size, N_HIDDEN))
        )

    def update(self, x: Any) -> Any:
        row = self.table.value[brainstate.environ.get("i") % 3]
        self.h.value = 0.8 * self.h.value + jnp.tanh(x @ self.W.value + row)
        return self.h.value[..., :2]


def test_what_a_batch_shares_is_refused_and_right_where_each_sample_has_its_own() -> None:
    model, data = Clocked(), data_for()
    with pytest.raises(core.NotRepresentable, match='batching="vmap" give each sample its own'):
        gradient_of(core.D_RTRL(model), data)
    (grads, _), (wanted, _) = run(
        lambda: [
            gradient_of(core.D_RTRL(model, window=2), data, "vmap"),
            gradient_of(core.BPTT(model), data),
        ]
    )
    assert_close(grads, wanted)
