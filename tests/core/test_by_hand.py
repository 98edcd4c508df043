"""What is changed by hand between calls, and options that are found out at once."""

from __future__ import annotations

from typing import Any

import brainstate
import braintools
import brainunit as u
import jax.numpy as jnp
import numpy as np
import pytest

import core

from .cases import data_for
from .references import assert_close, named, squared_error


class Net(brainstate.nn.Module):
    """h <- h / 2 + tanh(x W)."""

    def __init__(self) -> None:
        super().__init__()
        self.W = brainstate.ParamState(jnp.asarray(np.random.default_rng(0).normal(size=(3, 2))))

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        self.h = brainstate.HiddenState(jnp.zeros((batch_size, 2)))

    def update(self, x: Any) -> Any:
        self.h.value = 0.5 * self.h.value + jnp.tanh(x @ self.W.value)
        return self.h.value


def gradient(algo: Any, loss: Any = squared_error, xs: Any = None, **options: Any) -> Any:
    data = data_for()
    xs = data.xs if xs is None else xs
    return named(core.gradient(algo, loss, xs, data.ys, per_step_targets=True, **options).grads)


def started(x: Any = None) -> tuple[Net, Any]:
    model = Net()
    algo = core.D_RTRL(model)
    core.initialise(algo, data_for().xs[0] if x is None else x)
    return model, algo


@pytest.mark.parametrize(
    ("state", "value", "text"),
    [
        ("W", np.zeros((3, 5)), r"W as it was compiled, float64\[3,2\]; got float64\[3,5\]"),
        ("W", [[0.0, 1.0]] * 3, "W as it was compiled"),
        ("W", None, "W as it was compiled"),
        ("W", np.ones((3, 2), int), r"got int64\[3,2\]"),
        ("h", np.zeros((2, 2), np.float32), r"h as it was .*; got float32\[2,2\]"),
    ],
)
def test_a_value_of_another_kind_is_refused(state: str, value: Any, text: str) -> None:
    model, algo = started()
    getattr(model, state).value = value
    with pytest.raises(core.NotCompiled, match=text):
        gradient(algo)


@pytest.mark.parametrize("of", [np.asarray, lambda w: jnp.asarray(w, jnp.float32)])
def test_a_value_of_the_same_kind_is_taken(of: Any) -> None:
    model, algo = started()
    changed = np.round(2 * np.asarray(model.W.value), 1).astype(np.float32)  # in either precision
    model.W.value = of(changed.astype(float))
    _, wanted = started()
    wanted.model.W.value = jnp.asarray(changed, float)
    assert_close(gradient(algo), gradient(wanted), 1e-6)


def test_a_mask_of_booleans_has_all_digits() -> None:
    (_, algo), (_, other) = started(), started()
    mask = np.ones((6, 2), bool)
    got = gradient(algo, mask=mask, reduce="mean")
    assert_close(got, gradient(other, mask=mask.astype(float), reduce="mean"))


def test_a_loss_with_a_unit_is_refused() -> None:
    with pytest.raises(core.InvalidArgument, match=r"a loss without a unit; got one in mV\^?2"):
        gradient(started()[1], lambda out, y: squared_error(out * u.mV, y * u.mV))


def test_an_input_in_another_unit_is_refused_as_such() -> None:
    class InVolt(Net):
        def update(self, x: Any) -> Any:
            return super().update(x / u.mV)

    data, algo = data_for(), core.D_RTRL(InVolt())
    core.initialise(algo, data.xs[0] * u.mV)
    gradient(algo, xs=data.xs * u.mV)
    with pytest.raises(core.InvalidArgument, match="structure and units"):
        gradient(algo, xs=data.xs * 1e-3 * u.volt)


def test_a_trace_of_8_bits_is_refused() -> None:
    with pytest.raises(core.InvalidArgument, match="at least 16 bits"):
        core.D_RTRL(Net(), trace_dtype="float8_e4m3fn")


@pytest.mark.parametrize("norm", [0.0, -1.0, "1"])
def test_a_stream_clips_to_a_positive_norm(norm: Any) -> None:
    model, algo = started()
    optimizer = braintools.optim.SGD(0.1)
    optimizer.register_trainable_weights(model.states(brainstate.ParamState))
    with pytest.raises(core.InvalidArgument, match="clip_norm"):
        core.Stream(algo, squared_error, optimizer, clip_norm=norm)


def test_traces_are_reset_once_there_are_some() -> None:
    with pytest.raises(core.NotCompiled):
        core.D_RTRL(Net()).reset_traces()
