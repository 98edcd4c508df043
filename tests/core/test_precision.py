"""Numbers of several precisions in one model: right to the lowest of them, in every algorithm."""

from __future__ import annotations

from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import core

from .cases import N_HIDDEN, N_IN, data_for, draw, gradient_of, run
from .rate_models import Bare
from .references import relative_error

H = N_HIDDEN


class Mixed(brainstate.nn.Module):
    """A voltage and its adaptation, driven by a product whose operands are `low`."""

    def __init__(self, weight: Any, low: Any, voltage: Any, adaptation: Any) -> None:
        super().__init__()
        self.W = brainstate.ParamState(jnp.asarray(draw(N_IN, H), weight))
        self.b = brainstate.ParamState(jnp.asarray(draw(H), weight))
        self.R = brainstate.ParamState(jnp.asarray(draw(H, 2), voltage))
        self.low, self.dtypes = low, (voltage, adaptation)

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        shape = (H,) if batch_size is None else (batch_size, H)
        self.v, self.a = (brainstate.HiddenState(jnp.zeros(shape, d)) for d in self.dtypes)

    def update(self, x: Any) -> Any:
        v, a = self.v.value, self.a.value
        W = self.W.value.astype(self.low)
        y = jnp.matmul(x.astype(self.low), W, preferred_element_type=v.dtype)
        y = y + self.b.value.astype(v.dtype)
        self.v.value = (0.8 * v + jnp.tanh(y) - 0.1 * a.astype(v.dtype)).astype(v.dtype)
        self.a.value = (0.9 * a + 0.1 * v.astype(a.dtype)).astype(a.dtype)
        return (self.v.value @ self.R.value).astype(jnp.float32)


BF16, F16, F32, F64 = jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64
CASES = [
    ("product accumulated in float32", (BF16, BF16, F32, F32), 2e-2),
    ("weights cast in the step", (F32, F16, F32, F32), 4e-3),
    ("states of two precisions", (F32, F32, F32, F64), 1e-5),
]


@pytest.mark.parametrize(("dtypes", "tolerance"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_gradients_agree_to_the_lowest_precision(dtypes: Any, tolerance: float) -> None:
    """D-RTRL, its full-rank form and RTRL are BPTT here; a window does not matter to ES-D-RTRL."""
    data = data_for()
    data = type(data)(data.xs.astype(np.float32), data.ys.astype(np.float32))
    algorithms = [
        (core.BPTT, "manual"),
        (lambda m: core.D_RTRL(m, window=3), "vmap"),
        (lambda m: core.ES_D_RTRL(m, 12, window=2), "manual"),
        (core.RTRL, "manual"),
        (lambda m: core.ES_D_RTRL(m, 0.8, window=1), "manual"),
        (lambda m: core.ES_D_RTRL(m, 0.8, window=3), "vmap"),
    ]
    model = Mixed(*dtypes)
    found = run(lambda: [gradient_of(make(model), data, batching) for make, batching in algorithms])
    exact, *online, first, second = [gradients for gradients, _ in found]
    for wanted, gradients in [*((exact, g) for g in online), (first, second)]:
        for name, value in wanted.items():
            assert gradients[name].dtype == value.dtype
            error = relative_error(np.asarray(gradients[name], float), np.asarray(value, float))
            assert error <= tolerance, name


def test_random_feedback_is_as_large_as_small_weights_of_half_precision() -> None:
    """The square of 1e-4 is zero in float16, 1e-4 is not."""
    data = data_for(n_steps=4)

    def found(dtype: Any) -> Any:
        model = Mixed(dtype, dtype, dtype, dtype)
        model.R.value = 1e-4 * model.R.value
        algo = core.D_RTRL(model, feedback="random")
        return gradient_of(algo, type(data)(data.xs.astype(dtype), data.ys)).grads[("W",)]

    half, single = run(lambda: (found(F16), found(F32)))
    assert relative_error(half, single) < 1e-2


class Narrow(Bare):
    """Leaky layers without a bias, which would be broadcast."""

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        super().init_state(batch_size)
        self.r = brainstate.HiddenState(jnp.zeros_like(self.h.value[..., :2]))

    def update(self, x: Any) -> Any:
        self.h.value = 0.8 * self.h.value + x @ self.W.value
        self.r.value = 0.5 * self.r.value + jnp.tanh(self.h.value) @ self.R.value
        return self.r.value


@pytest.mark.parametrize(
    "make",
    [
        lambda m: core.D_RTRL(m, window=1),
        lambda m: core.ES_D_RTRL(m, 0.9, window=1),
        lambda m: core.OTPE(m, window=2),
        core.UORO,
    ],
    ids=["D_RTRL", "ES_D_RTRL", "OTPE", "UORO"],
)
def test_no_axis_is_added_unasked(make: Any) -> None:
    """Under `jax_numpy_rank_promotion="raise"`."""
    model, data = Narrow(), data_for(n_steps=3)
    reset = np.array([[False, False], [True, False], [False, False]])
    with jax.numpy_rank_promotion("raise"):
        grads, _ = run(lambda: gradient_of(make(model), data, reset=reset, mask=np.ones((3, 2))))
    assert np.any(grads["W"])
