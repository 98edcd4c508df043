"""What all samples share (a row of a table that the clock chooses) has a trace for each of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import pytest

import core

from .cases import N_HIDDEN, N_IN, Data, data_for, gradient_of, run
from .references import assert_close
from .test_structure import draw

H = N_HIDDEN


class Clocked(brainstate.nn.Module):
    """h <- d h + tanh(x W + y), of which `f` makes something with the step's number i."""

    def __init__(self, f: Callable[..., Any]) -> None:
        super().__init__()
        self.f = f
        self.W, self.table = (brainstate.ParamState(draw(n, H)) for n in (N_IN, 3))
        self.b, self.out = brainstate.ParamState(draw(H)), brainstate.ParamState(draw(H, 2))

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        shape = (H,) if batch_size is None else (batch_size, H)
        self.h = brainstate.HiddenState(jnp.zeros(shape))

    def update(self, x: Any) -> Any:
        i = brainstate.environ.get("i")
        self.h.value = self.f(x, self.h.value, i, self.W.value, self.table.value, self.b.value)
        return self.h.value @ self.out.value


def row(x: Any, h: Any, i: Any, W: Any, table: Any, b: Any) -> Any:
    return 0.8 * h + jnp.tanh(x @ W + table[i % 3] + b)


def row_of_their_shape(x: Any, h: Any, i: Any, W: Any, table: Any, b: Any) -> Any:
    return 0.8 * h + jnp.tanh(x @ W + b) + jnp.broadcast_to(jnp.sin(table[i % 3]), h.shape)


def decay(x: Any, h: Any, i: Any, W: Any, table: Any, b: Any) -> Any:
    return jax.nn.sigmoid(table[i % 3] + b) * h + jnp.tanh(x @ W)


def product(x: Any, h: Any, i: Any, W: Any, table: Any, b: Any) -> Any:
    y = jnp.sin((1 + i) * jnp.arange(1.0, 4.0)) @ table
    return 0.8 * h + jnp.tanh(x @ W + jax.nn.relu(y + b))


def branch(x: Any, h: Any, i: Any, W: Any, table: Any, b: Any) -> Any:
    y = jax.lax.cond(i % 2 == 0, lambda: table[0] + b, lambda: table[1] * b)
    return 0.8 * h + jnp.tanh(x @ W) + y


def matrix(x: Any, h: Any, i: Any, W: Any, table: Any, b: Any) -> Any:
    return 0.8 * h + jnp.tanh(x @ jnp.stack([W, table**2])[i % 2] + b)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("f", [row, row_of_their_shape, decay, product, branch, matrix])
def test_every_sample_has_its_trace(f: Callable[..., Any], batch: int) -> None:
    """Recurrence is element-wise, so that D-RTRL is BPTT."""
    model, data = Clocked(f), data_for(batch=batch)
    make = partial(core.D_RTRL, window=2)
    (wanted, _), (manual, _), (mapped, _) = run(
        lambda: [
            gradient_of(core.BPTT(model), data),
            gradient_of(make(model), data),
            gradient_of(make(model), data, "vmap"),
        ]
    )
    assert_close(manual, wanted)
    assert_close(mapped, wanted)


def test_samples_with_two_axes() -> None:
    class Sheets(Clocked):
        def init_state(self, batch_size: int | None = None, **_: Any) -> None:
            lead = () if batch_size is None else (batch_size,)
            self.h = brainstate.HiddenState(jnp.zeros((*lead, 2, H)))

    model, data = Sheets(row), data_for()
    data = Data(*(jnp.stack([a, a**2], 2) for a in data))
    (wanted, _), (grads, _) = run(
        lambda: [gradient_of(make(model), data) for make in (core.BPTT, core.D_RTRL)]
    )
    assert_close(grads, wanted)
