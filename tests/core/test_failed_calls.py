"""A call that fails leaves algorithm and model as they were; put right, it goes on from there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brainstate
import braintools
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import core

from .cases import Data, data_for
from .references import assert_close, named, own_loop, squared_error

STEPS: dict[str, Any] = {"per_step_targets": True, "fresh": False}
MASK = np.ones((6, 2))
MASK[2, 1] = 0


class Net(brainstate.nn.Module):
    """h <- h / 2 + tanh(x W), from an h that is learned; it also tells the number of the step."""

    def __init__(self) -> None:
        super().__init__()
        draw = np.random.default_rng(0)
        self.W = brainstate.ParamState(jnp.asarray(draw.normal(size=(3, 2))))
        self.start = brainstate.ParamState(jnp.asarray(draw.normal(size=2)))
        self.R = brainstate.ParamState(jnp.asarray(draw.normal(size=(2, 2))))

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        self.h = brainstate.HiddenState(jnp.broadcast_to(self.start.value, (batch_size, 2)))

    def update(self, x: Any) -> Any:
        self.h.value = 0.5 * self.h.value + jnp.tanh(x @ self.W.value)
        return self.h.value @ self.R.value + brainstate.environ.get("i")


def decoded(model: Net) -> Callable[..., Any]:
    """A loss that a mask of samples cannot weigh, as is found once steps are run."""
    return lambda out, y: ((out @ model.R.value - y) ** 2).sum()


def started() -> tuple[Net, Any, Data, Any]:
    model, data = Net(), data_for()
    optimizer = braintools.optim.Adam(0.1)
    optimizer.register_trainable_weights(model.states(brainstate.ParamState))
    algo = core.D_RTRL(model, window=1, pending=2)
    core.initialise(algo, data.xs[0])
    return model, algo, data, optimizer


def of_no_length(model: Net, algo: Any, data: Data, _: Any) -> None:
    core.gradient(algo, squared_error, *data, mask=np.ones(3), **STEPS)


def while_running(model: Net, algo: Any, data: Data, _: Any) -> None:
    core.gradient(algo, decoded(model), *data, mask=MASK, **STEPS)


def while_training(model: Net, algo: Any, data: Data, optimizer: Any) -> None:
    core.train(algo, decoded(model), *data, optimizer, mask=MASK, update_every=1, **STEPS)


def of_the_users_own(model: Net, algo: Any, data: Data, optimizer: Any) -> None:
    optimizer.update = lambda _: pytest.fail("no update")
    core.train(algo, squared_error, *data, optimizer, update_every=1, **STEPS)


def after_an_update(model: Net, algo: Any, data: Data, optimizer: Any) -> None:
    """The moments have moved, and the weights."""
    update = optimizer.update

    def failing(grads: Any) -> None:
        update(grads)
        pytest.fail("of the user's own")

    optimizer.update = failing
    core.train(algo, squared_error, *data, optimizer, **STEPS)


USERS = [of_the_users_own, after_an_update]


@pytest.mark.parametrize("fail", [of_no_length, while_running, while_training, *USERS])
def test_a_failed_call_changes_nothing(fail: Any) -> None:
    model, algo, data, optimizer = started()
    states = algo.states() | brainstate.graph.states(optimizer)
    before = {path: jax.tree.map(np.asarray, s.value) for path, s in states.items()}
    error = pytest.fail.Exception if fail in USERS else core.CoreError
    with pytest.raises(error):
        fail(model, algo, data, optimizer)
    after = {path: state.value for path, state in states.items()}
    assert jax.tree.structure(after) == jax.tree.structure(before)
    jax.tree.map(np.testing.assert_array_equal, after, before)
    got = core.gradient(algo, squared_error, *data, **STEPS)
    wanted, losses = own_loop(model, squared_error, data)
    assert_close(named(got.grads), wanted, 1e-11)
    np.testing.assert_allclose(got.losses, losses, rtol=1e-12)


@pytest.mark.parametrize("call", [lambda a, x: a.compile_graph(x), core.initialise])
def test_a_model_that_cannot_be_compiled_leaves_the_graph_before(call: Any) -> None:
    model, algo, data, _ = started()
    with pytest.raises(core.InvalidArgument, match=r"a step of the model.*got TypeError"):
        call(algo, jnp.ones((2, 5)))
    got = core.gradient(algo, squared_error, *data, **STEPS)
    assert_close(named(got.grads), own_loop(model, squared_error, data)[0], 1e-11)
