"""SingleStepData and MultiStepData: one window is its steps, in outputs, states and traces."""

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
from .cases import Case, data_for, gradient_of, run
from .references import assert_close, named, relative_error, squared_error


@pytest.mark.parametrize(
    ("case", "make"),
    [
        (rate.GRU, core.RTRL),
        (spiking.ADAPTIVE, core.D_RTRL),
        (spiking.ADAPTIVE, lambda m: core.ES_D_RTRL(m, 0.9)),
    ],
    ids=["rtrl", "d_rtrl", "es_d_rtrl"],
)
def test_a_window_is_its_steps(case: Case, make: Any) -> None:
    model, data = case.model(), data_for(n_steps=4)

    def forward(calls: list[Any]) -> Any:
        algo = make(model)
        core.initialise(algo, data.xs[0])
        outs = [algo(call) for call in calls]
        states = [s.value for s in model.states(brainstate.HiddenState).values()]
        return outs, states, algo.trace.value

    def everything() -> Any:
        steps = [data.xs[0], *map(core.SingleStepData, data.xs[1:])]
        return forward(steps), forward([core.MultiStepData(data.xs)])

    (outs, *one), ((stacked,), *other) = run(everything)
    assert relative_error(np.stack(outs), stacked) < 1e-12
    assert len(jax.tree.leaves(one)) >= 2
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert relative_error(a, b) < 1e-12


def test_a_loss_over_a_window_is_differentiated_to_the_windowed_gradient() -> None:
    """Also single samples; and an argument constant over the window beside one that is not."""
    model, data = rate.GRU.model(), data_for(n_steps=4)
    weights = model.states(brainstate.ParamState)

    def window(batching: str, xs: Any, ys: Any) -> Any:
        algo = core.D_RTRL(model)
        core.initialise(algo, xs[0], batching=batching)
        return brainstate.transform.grad(
            lambda: squared_error(algo(core.MultiStepData(xs)), ys), weights
        )()

    def driver() -> Any:
        algo = core.D_RTRL(model, window=1)
        return gradient_of(algo, data)

    batch, single, (wanted, _) = run(
        lambda: (
            window("manual", data.xs, data.ys),
            [window("single", data.xs[:, b], data.ys[:, b]) for b in range(2)],
            driver(),
        )
    )
    assert_close(named(batch), wanted)
    assert_close(named(jax.tree.map(jnp.add, *single)), wanted)


class Gated(brainstate.nn.Module):
    """A model of two inputs, one of them a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.net = rate.Leaky()

    def update(self, x: Any, gate: Any) -> Any:
        return self.net(x["a"] * gate)


def test_inputs_are_pytrees_and_may_be_constant_over_the_window() -> None:
    model, data = Gated(), data_for(n_steps=3)
    gate = np.linspace(0.5, 1.5, 3)

    def everything() -> Any:
        algo = core.D_RTRL(model)
        brainstate.nn.init_all_states(model, batch_size=2)
        algo.compile_graph({"a": data.xs[0]}, gate)
        window = algo(core.MultiStepData({"a": data.xs}), gate)
        brainstate.nn.init_all_states(model, batch_size=2)
        algo.compile_graph({"a": data.xs[0]}, gate)
        return window, [algo({"a": x}, core.SingleStepData(gate)) for x in data.xs]

    window, steps = run(everything)
    assert relative_error(window, np.stack(steps)) < 1e-12


def test_the_wrappers_are_pytrees() -> None:
    for wrapper in (core.SingleStepData, core.MultiStepData):
        doubled = jax.tree.map(lambda a: 2 * a, wrapper({"x": np.ones(3)}))
        assert type(doubled) is wrapper
        assert (doubled.data["x"] == 2).all()
        assert repr(doubled).startswith(wrapper.__name__)


@pytest.mark.parametrize(
    ("lengths", "text"), [((3, 2), "lengths [2, 3]"), ((0,), "lengths [0]")], ids=["two", "none"]
)
def test_lengths_that_disagree_are_refused(lengths: tuple[int, ...], text: str) -> None:
    with pytest.raises(core.InvalidArgument) as refused:
        core.data.split_steps([core.MultiStepData(np.zeros((n, 2))) for n in lengths])
    assert str(refused.value) == (
        f"expected MultiStepData of one common length of at least one step; got {text}. "
        "Cut or pad the sequences so that their leading axes agree."
    )


def test_inputs_of_another_shape_are_refused() -> None:
    model, data = rate.LEAKY.model(), data_for()
    algo = core.D_RTRL(model)
    brainstate.nn.init_all_states(model, batch_size=2)
    algo.compile_graph(data.xs[0])
    with pytest.raises(core.InvalidArgument) as refused:
        algo(data.xs[0][:, :2])
    assert str(refused.value) == (
        "expected inputs of the compiled shapes [(2, 3)] per step; got [(2, 2)]. "
        "Call compile_graph again for new shapes, or brainstate.nn.Vmap for a batch."
    )
