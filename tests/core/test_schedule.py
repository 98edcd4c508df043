"""What of a step goes step after step, and what is computed for a whole window at once."""

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
from .cases import N_HIDDEN, N_IN, N_OUT, data_for, run
from .references import assert_close, named, relative_error, squared_error

H = N_HIDDEN


class Delayed(brainstate.nn.Module):
    """Two states in a loop, one that only remembers its input, and a leaky readout."""

    def __init__(self, noisy: bool = False) -> None:
        super().__init__()
        draw = np.random.default_rng(0)
        self.noisy = noisy
        self.W = brainstate.ParamState(draw.normal(size=(N_IN + H, H)) * 0.5)
        self.R = brainstate.ParamState(draw.normal(size=(H, N_OUT)))

    def init_state(self, batch_size: int = 2, **_: Any) -> None:
        shape = (batch_size, H)
        self.h = brainstate.HiddenState(jnp.full(shape, 0.1))
        self.slow = brainstate.HiddenState(jnp.zeros(shape))
        self.before = brainstate.HiddenState(jnp.full((batch_size, N_IN), 0.2))
        self.r = brainstate.HiddenState(jnp.zeros((batch_size, N_OUT)))

    def update(self, x: Any) -> Any:
        h, slow, before = self.h.value, self.slow.value, self.before.value
        if self.noisy:
            x = jax.pure_callback(lambda a: a, x, x, vmap_method="sequential")
        y = jnp.concatenate([x + 0.5 * before, h], axis=-1) @ self.W.value
        self.h.value = 0.7 * h + jnp.tanh(y) - 0.1 * slow
        self.slow.value = 0.9 * slow + 0.1 * h
        self.before.value = x
        self.r.value = 0.8 * self.r.value + jnp.tanh(self.h.value) @ self.R.value
        return self.r.value


def stages_of(model: Any) -> list[tuple[bool, list[str], set[str]]]:
    """Of each stage: whether it is a loop, its primitives, its states."""
    found: list[Any] = []

    def compile_it() -> None:
        algo = core.BPTT(model)
        core.initialise(algo, data_for().xs[0])
        names = algo.graph.names
        found.extend(
            (s.loop, [e.name for e in s.equations], {names[v] for v, _ in s.states})
            for s in algo.graph.stages
        )

    run(compile_it)
    return found


def test_a_readout_is_one_product_after_the_loop() -> None:
    loop, readout = stages_of(rate.GRU.model())
    assert loop[0]
    assert loop[2] == {"cell.h"}
    assert loop[1].count("dot_general") == 2
    assert not readout[0]
    assert readout[1].count("dot_general") == 1


def test_what_only_remembers_is_shifted_and_a_leaky_readout_has_a_loop_of_its_own() -> None:
    inputs, operand, loop, between, leak, *rest = stages_of(Delayed())
    assert not inputs[0]
    assert inputs[2] == {"before"}
    assert not operand[0]
    assert {"mul", "add"} <= set(operand[1])
    assert "dot_general" not in operand[1]
    assert loop[0]
    assert loop[2] == {"h", "slow"}
    assert "dot_general" in loop[1]
    assert not between[0]
    assert between[1] == ["tanh", "dot_general"]
    assert leak[0]
    assert leak[2] == {"r"}
    assert "dot_general" not in leak[1]
    assert not rest


def test_a_callback_keeps_the_order_of_the_steps() -> None:
    (only,) = stages_of(Delayed(noisy=True))
    assert only[0]
    assert only[2] == {"h", "slow", "before", "r"}


@pytest.mark.parametrize(
    "make", [Delayed, spiking.RESET_AT_ONCE.model], ids=["delayed", "spikes before a reset"]
)
def test_a_window_is_its_steps(make: Any) -> None:
    """Outputs and last states, also when samples start anew on the way."""
    model, data = make(), data_for()
    reset = np.zeros((len(data.xs), 2), bool)
    reset[3, 1] = reset[5, 0] = True

    def loss(out: Any, y: Any) -> Any:
        return ((out - y) ** 2).sum()

    def everything() -> Any:
        found = []
        for window in (1, 4):
            algo = core.TruncatedBPTT(model, window=window)
            core.initialise(algo, data.xs[0])
            for again in (None, reset):
                result = core.gradient(
                    algo, loss, *data, per_step_targets=True, reset=again, outputs=True
                )
                found.append((result.outputs, algo.params_and_carry()[1].states))
        plain = []
        core.initialise(algo, data.xs[0])
        for x in data.xs:
            plain.append(model(x))
        return found, jnp.stack(plain)

    found, plain = run(everything)
    assert len(found) == 4
    assert relative_error(found[0][0], plain) < 1e-12
    for one, other in zip(found[:2], found[2:], strict=True):
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            assert relative_error(a, b) < 1e-12
    assert relative_error(found[1][0], found[0][0]) > 1e-3  # the resets did something


class Branching(rate.Leaky):
    """With numbers that a branch counts out for itself: an equation without an operand."""

    def __init__(self) -> None:
        brainstate.random.seed(0)
        super().__init__()

    def update(self, x: Any) -> Any:
        def counted(x: Any) -> Any:
            return x * (1.0 + jnp.arange(N_IN))

        return super().update(jax.lax.cond(x[0] > 0, counted, lambda x: x, x))


def test_what_a_branch_computes_of_nothing_can_be_mapped() -> None:
    data = data_for()
    algo = core.D_RTRL(Branching(), window=3)

    def gradient(xs: Any, ys: Any, batching: str) -> Any:
        core.initialise(algo, xs[0], batching=batching)
        return core.gradient(algo, squared_error, xs, ys, per_step_targets=True).grads

    def both() -> Any:
        one_by_one = [gradient(data.xs[:, b], data.ys[:, b], "single") for b in range(2)]
        return gradient(data.xs, data.ys, "vmap"), jax.tree.map(jnp.add, *one_by_one)

    found, wanted = run(both)
    assert_close(named(found), named(wanted))
    assert not algo.graph.one_by_one
