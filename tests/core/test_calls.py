"""Losses of `algo(x)`, outside of the drivers, that read the states it has written.

`core.gradient`, whose loss may read them, and brainstate's own loop are the references.
"""

from __future__ import annotations

from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import core

from . import rate_models as rate
from .cases import data_for, run
from .references import assert_close, named, own_loop, relative_error, squared_error

ALGORITHMS = {
    "bptt": core.BPTT,
    "rtrl": core.RTRL,
    "d_rtrl": core.D_RTRL,
    "credit in windows": lambda m: core.D_RTRL(m, window=1, credit="window"),
    "es_d_rtrl": lambda m: core.ES_D_RTRL(m, 0.9),
}
T = 4


class Stacked(rate.Stacked):
    """Whose first layer the loss reads; a third state is stored and read by nobody."""

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        self.kept = brainstate.HiddenState(jnp.zeros((batch_size, 4)))

    def update(self, x: Any) -> Any:
        out = super().update(x)
        self.kept.value = jnp.sin(self.one.h.value + self.two.h.value)
        return out


def penalised(model: Any, out: Any, y: Any) -> Any:
    states = (model.one.h, model.two.h, model.kept)
    return squared_error(out, y) + sum((s.value**3).sum() for s in states)


def by_calls(make: Any, model: Any, data: Any, how: str) -> Any:
    """Gradients summed over single calls, each differentiated; or of a loop as a whole."""
    weights = model.states(brainstate.ParamState)
    algo = make(model)
    core.initialise(algo, data.xs[0])

    def loss(x: Any, y: Any) -> Any:
        return penalised(model, algo(x), y)

    if how == "loop":
        total = lambda: brainstate.transform.for_loop(loss, data.xs, data.ys).sum()  # noqa: E731
        return brainstate.transform.grad(total, weights)()

    def step(total: Any, xy: Any) -> Any:
        grads = brainstate.transform.grad(loss, weights)(*xy)
        return jax.tree.map(jnp.add, total, grads), None

    zero = jax.tree.map(jnp.zeros_like, weights.to_dict_values())
    return brainstate.transform.scan(step, zero, (data.xs, data.ys))[0]


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("bptt", "loop"),
        ("rtrl", "calls"),
        ("d_rtrl", "loop"),
        ("credit in windows", "calls"),
        ("es_d_rtrl", "calls"),
    ],
)
def test_a_loss_of_calls_may_read_the_states(name: str, how: str) -> None:
    model, data = rate.Case("stacked", Stacked, rate.stacked_step, {}).model(), data_for(n_steps=T)
    make = ALGORITHMS[name]

    def everything() -> Any:
        algo = make(model)
        core.initialise(algo, data.xs[0])
        loss = lambda out, y: penalised(model, out, y)  # noqa: E731
        wanted = core.gradient(algo, loss, *data, per_step_targets=True)
        exact = name in ("bptt", "rtrl")
        full = own_loop(model, loss, data)[0] if exact else named(wanted.grads)
        return by_calls(make, model, data, how), wanted, full

    found, (wanted, _), full = run(everything)
    assert_close(named(found), wanted, 1e-11)
    assert_close(wanted, full, 1e-11)


class Aside(rate.Leaky):
    """A running mean that no output reads: no trace is spent on it."""

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        self.mean = brainstate.HiddenState(jnp.zeros((batch_size, 4)))

    def update(self, x: Any) -> Any:
        out = super().update(x)
        self.mean.value = 0.5 * self.mean.value + self.cell.h.value
        return out


class OverNeurons(Aside):
    """A mean over neurons too, for which there is no trace."""

    def update(self, x: Any) -> Any:
        out = super().update(x)
        self.mean.value += self.cell.h.value.mean(axis=-1, keepdims=True)
        return out


@pytest.mark.parametrize("kind", [Aside, OverNeurons])
def test_a_state_without_a_trace_is_refused_where_its_derivative_is_asked_for(kind: Any) -> None:
    data = data_for(n_steps=2)
    model = rate.Case("aside", kind, rate.leaky_step, {}).model()

    def gradient(state: str) -> Any:
        algo = core.D_RTRL(model)
        core.initialise(algo, data.xs[0])

        def loss(x: Any, y: Any) -> Any:
            out = algo(x)
            states = {"mean": model.mean, "h": model.cell.h}
            return squared_error(out, y) + (states[state].value ** 2).sum()

        return brainstate.transform.grad(loss, model.states(brainstate.ParamState))(
            data.xs[0], data.ys[0]
        )

    assert relative_error(run(lambda: gradient("h"))[("cell", "time")], 0.0) > 0
    with pytest.raises(core.NotRepresentable, match=r"the derivative of mean, .* core.gradient"):
        run(lambda: gradient("mean"))


def test_a_derivative_with_respect_to_inputs_over_several_steps_is_refused() -> None:
    """Of one step it is that of the step's loss; of a window, credit in time has no trace."""
    data = data_for(n_steps=3)
    model = rate.LEAKY.model()

    def gradient(make: Any, steps: Any) -> Any:
        algo = make(model)
        core.initialise(algo, data.xs[0])
        wrap = core.MultiStepData if isinstance(steps, slice) else core.SingleStepData
        loss = lambda xs: squared_error(algo(wrap(xs)), data.ys[steps])  # noqa: E731
        return jax.grad(loss)(jnp.asarray(data.xs[steps]))

    one, exact = run(lambda: [gradient(make, 0) for make in (core.D_RTRL, core.BPTT)])
    assert relative_error(one, exact) < 1e-12
    with pytest.raises(core.NotRepresentable, match=r"respect to the inputs, .* core.BPTT"):
        run(lambda: gradient(core.D_RTRL, np.s_[:]))
