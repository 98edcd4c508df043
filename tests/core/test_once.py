"""Derivatives of what an online algorithm gives: BPTT has them all, the others refuse by name.

They would come out as zero, or without what has passed between windows.
"""

from __future__ import annotations

import functools
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import core

from . import rate_models as rate
from .cases import data_for, run
from .references import assert_close, named, squared_error

ONLINE = {
    "d_rtrl, 3": lambda m: core.D_RTRL(m, window=3),
    "es_d_rtrl": lambda m: core.ES_D_RTRL(m, 0.9, window=3),
    "rtrl": lambda m: core.RTRL(m, window=2),
    "truncated": lambda m: core.TruncatedBPTT(m, window=2),
    "immediate": core.Immediate,
    "uoro": core.UORO,
}
DATA = data_for()


@functools.cache
def model() -> Any:
    """Not made on import, when float64 is off."""
    return rate.LEAKY.model()


@pytest.fixture(autouse=True)
def _outside_of_any_trace() -> None:
    model()


def weights() -> Any:
    return model().states(brainstate.ParamState)


def started(make: Any) -> Any:
    algo = make(model())
    core.initialise(algo, DATA.xs[0])
    return algo


def squares(grads: Any) -> Any:
    return sum((g**2).sum() for g in jax.tree.leaves(grads))


def gradient(make: Any, xs: Any = DATA.xs) -> Any:
    return core.gradient(started(make), squared_error, xs, DATA.ys, per_step_targets=True)


def of_the_gradient(make: Any) -> Any:
    return brainstate.transform.grad(lambda: squares(gradient(make).grads), weights())()


def of_inputs(make: Any) -> Any:
    return jax.grad(lambda xs: gradient(make, xs).losses.sum())(jnp.asarray(DATA.xs))


def forward(make: Any) -> Any:
    xs = jnp.asarray(DATA.xs)
    return jax.jvp(lambda xs: squares(gradient(make, xs).grads), (xs,), (jnp.ones_like(xs),))[1]


def of_a_call(make: Any) -> Any:
    algo = started(make)

    def once() -> Any:
        outs = lambda: squared_error(algo(core.MultiStepData(DATA.xs)), DATA.ys)  # noqa: E731
        return squares(brainstate.transform.grad(outs, weights())())

    return brainstate.transform.grad(once, weights())()


@pytest.mark.parametrize(
    ("name", "derivative"),
    [
        (name, derivative)
        for name in ONLINE
        for derivative in (of_the_gradient, of_inputs, forward, of_a_call)
        if (name, derivative) != ("truncated", of_a_call)
    ],
)
def test_an_online_gradient_is_not_differentiated(name: str, derivative: Any) -> None:
    with pytest.raises(core.NotRepresentable, match=r"one derivative .* Use core.BPTT"):
        run(lambda: derivative(ONLINE[name]))


def test_a_call_of_truncated_bptt_is_one_window() -> None:
    calls = run(lambda: [of_a_call(make) for make in (ONLINE["truncated"], core.BPTT)])
    assert_close(named(calls[0]), named(calls[1]), 1e-12)


def test_that_of_bptt_is() -> None:
    """Against differences of the gradient along one direction, and both modes of jax."""

    def everything() -> Any:
        second = of_the_gradient(core.BPTT)
        step = 1e-6
        path = ("cell", "W", "weight")
        state, direction = weights()[path], np.ones((3, 4))
        found = []
        for sign in (1, -1):
            kept = state.value
            state.value = {**kept, "weight": kept["weight"] + sign * step * direction}
            found.append(squares(gradient(core.BPTT).grads))
            state.value = kept
        along = (found[0] - found[1]) / (2 * step)
        return second, (second[path]["weight"] * direction).sum(), along, of_a_call(core.BPTT)

    second, exact, differences, of_call = run(everything)
    assert abs(exact - differences) < 1e-6 * abs(exact)
    assert_close(named(of_call), named(second), 1e-11)
