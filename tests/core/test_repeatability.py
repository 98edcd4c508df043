"""The same bits twice, compiled once, and compiled or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import brainstate
import jax
import numpy as np
import pytest

import core

from . import rate_models as rate
from . import spiking_models as spiking
from .cases import data_for, gradient_of
from .references import assert_close, named, relative_error

ALGORITHMS: dict[str, Callable[[Any], Any]] = {
    "d_rtrl": lambda m: core.D_RTRL(m, window=3),
    "es_d_rtrl": lambda m: core.ES_D_RTRL(m, 0.9, window=3),
    "rank 2": lambda m: core.ES_D_RTRL(m, 2, window=3),
}


@pytest.fixture
def compilations() -> Iterator[list[str]]:
    """Every compilation by XLA while the test runs."""
    seen: list[str] = []

    def listen(event: str, _: float, **__: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("name", ["es_d_rtrl", "rank 2"])
def test_a_second_call_gives_the_same_bits_without_compiling(
    name: str, compilations: list[str]
) -> None:
    data = data_for()
    results = []
    for _ in range(2):
        model = spiking.DELTA.model(seed=3)  # the same seed: the same network
        traced = []

        @brainstate.transform.jit
        def step(xs: Any, ys: Any, model: Any = model, traced: Any = traced) -> Any:
            traced.append(1)
            return gradient_of(ALGORITHMS[name](model), type(data)(xs, ys))

        first = step(*data)
        traced_once, compiled_once = len(traced), len(compilations)
        second = step(*data)
        third = step(*(a + 1.0 for a in data))
        assert compiled_once > 0
        assert (len(traced), len(compilations)) == (traced_once, compiled_once)
        assert not np.array_equal(third.losses, first.losses)
        results += [first, second]
    one, *others = [jax.tree.leaves((r.grads, r.losses)) for r in results]
    assert len(others) == 3
    for other in others:
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_jit_equals_eager() -> None:
    model, data = rate.LEAKY.model(), data_for(n_steps=3)
    make = ALGORITHMS["d_rtrl"]
    compiled = brainstate.transform.jit(lambda: gradient_of(make(model), data))()
    eager = gradient_of(make(model), data)
    assert_close(named(eager.grads), named(compiled.grads))
    assert relative_error(eager.losses, compiled.losses) < 1e-12


def test_a_compiled_call_outside_of_any_trace_keeps_states_and_traces() -> None:
    """Eager set-up, jitted steps: what online learning on a device does."""
    model, data = rate.GRU.model(), data_for()
    algo = core.D_RTRL(model)
    core.initialise(algo, data.xs[0])
    step = brainstate.transform.jit(lambda x: algo(x))
    outs = np.stack([step(x) for x in data.xs])
    again = core.D_RTRL(model)

    @brainstate.transform.jit
    def at_once() -> Any:
        core.initialise(again, data.xs[0])
        return again(core.MultiStepData(data.xs)), again.trace.value

    wanted, traces = at_once()
    assert relative_error(outs, wanted) < 1e-12
    pairs = list(zip(jax.tree.leaves(algo.trace.value), jax.tree.leaves(traces), strict=True))
    assert any(np.any(a) for a, _ in pairs)
    for a, b in pairs:
        assert relative_error(a, b) < 1e-12
    algo.reset_traces()
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(algo.trace.value))
    assert sum(algo.trace_bytes.values()) == sum(leaf.nbytes for _, leaf in pairs)
