"""What a compiled gradient takes in memory, by XLA's own account; nothing is run here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import brainstate
import braintools
import jax.numpy as jnp
import pytest

import core
from tests.benchmarks.networks import CASES, Case, loss, ours

WIDE = CASES["LIF 128+512->512 B64 T64"]


@functools.cache
def temporaries(case: Case, make: Callable[[Any], Any], n_steps: int) -> int:
    """Bytes beside inputs and gradients; what is carried from step to step is among them."""
    xs, labels = case.data(n_steps)
    compiled = ours(case, make).compile(xs.astype(float), labels)
    executable = compiled[0] if isinstance(compiled, tuple) else compiled
    return int(executable.memory_analysis().temp_size_in_bytes)


@pytest.mark.parametrize("window", [1, "auto"])
def test_d_rtrl_takes_little_more_than_its_traces(window: int | str) -> None:
    make = lambda m: core.D_RTRL(m, window=window)  # noqa: E731
    traces = 8 * WIDE.batch * ((WIDE.rows + 1) * WIDE.n_hidden + WIDE.n_hidden * 10)
    short = temporaries(WIDE, make, 64)
    long = temporaries(WIDE, make, 1024)
    assert traces < short <= long < 1.5 * traces
    assert long < 1.05 * short


@pytest.mark.parametrize("make", [core.D_RTRL, core.ES_D_RTRL])
def test_an_update_at_every_step_is_flat_in_steps(make: Callable[[Any], Any]) -> None:
    """To the byte: losses are an output, and nothing of the inputs is copied."""
    model = brainstate.nn.Sequential(brainstate.nn.GRUCell(50, 16), brainstate.nn.Linear(16, 10))
    optimizer = braintools.optim.SGD(0.1)
    optimizer.register_trainable_weights(model.states(brainstate.ParamState))

    @brainstate.transform.jit
    def step(xs: Any, labels: Any) -> Any:
        algo = make(model)
        core.initialise(algo, xs[0])
        return core.train(algo, loss, xs, labels, optimizer, update_every=1).losses

    def bytes_of(n_steps: int) -> int:
        compiled = step.compile(jnp.zeros((n_steps, 4, 50)), jnp.zeros(4, int))
        return int(compiled.memory_analysis().temp_size_in_bytes)

    assert 0 < bytes_of(64) == bytes_of(2048)


def test_window_steps_are_those_that_fit_the_budget() -> None:
    model = brainstate.nn.Sequential(brainstate.nn.GRUCell(50, 128), brainstate.nn.Linear(128, 10))

    def found(algo: Any, n_steps: int, batching: str) -> int:
        xs = jnp.zeros((n_steps, 32, 50))
        core.initialise(algo, xs[0], batching)
        return core.window_steps(algo, xs)

    for batching in ("manual", "vmap"):
        assert found(core.BPTT(model), 1000, batching) == 1000
        assert found(core.D_RTRL(model), 10, batching) == 10
        assert 10 < found(core.D_RTRL(model), 1000, batching) < 100
        assert found(core.D_RTRL(model, window=7), 1000, batching) == 7


NARROW, WIDER = (Case(WIDE.network, 128, h, 64, 64, 4) for h in (256, 1024))
LONG, SHORT = (functools.partial(core.ES_D_RTRL, decay_or_rank=0.9, window=k) for k in (16, 1))


@pytest.mark.parametrize("make", [SHORT, LONG])
def test_es_d_rtrl_is_flat_in_steps(make: Callable[[Any], Any]) -> None:
    assert abs(temporaries(NARROW, make, 1024) / temporaries(NARROW, make, 64) - 1) < 0.05


def test_es_d_rtrl_is_linear_in_width() -> None:
    # The weights themselves are quadratic in H: their gradients are an output, and one copy is not.
    grown = temporaries(WIDER, LONG, 64) / temporaries(NARROW, LONG, 64)
    assert grown < 4.5
