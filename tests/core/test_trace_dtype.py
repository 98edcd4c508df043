"""Traces in fewer bits: half the memory, and a gradient that is near."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import core

from . import rate_models as rate
from . import spiking_models as spiking
from .cases import Case, data_for, gradient_of, run
from .references import errors
from .test_complex import Unit


@pytest.mark.parametrize(
    ("case", "dtype", "bits"),
    [
        (rate.GRU, "bfloat16", 8),
        (spiking.ADAPTIVE, "float16", 11),
        (spiking.ADAPTIVE, "float32", 24),
    ],
    ids=lambda v: getattr(v, "name", v),
)
def test_the_gradient_loses_what_the_dtype_has_not(case: Case, dtype: str, bits: int) -> None:
    """A trace is rounded once a window, here 64 steps in windows of 16 and of one."""
    model, data = case.model(), data_for(n_steps=64)

    def everything() -> Any:
        exact = core.D_RTRL(model, window="sequence")
        ways = [(16, 1), (1, 4)]
        return gradient_of(exact, data), [
            gradient_of(
                core.D_RTRL(model, window=k, pending=room, trace_dtype=dtype), data, fresh=False
            )
            for k, room in ways
        ]

    (wanted, _), ((windows, _), (held, _)) = run(everything)
    largest = max(errors(windows, wanted).values())
    assert 2.0 ** -(bits + 12) < largest < min(0.01, 2.0 ** (3 - bits))
    assert max(errors(held, wanted).values()) < 2.0 ** (5 - bits)


def test_it_halves_the_memory_and_nothing_else() -> None:
    """Traces of element-wise parameters stay; outputs and gradients keep the model's dtype."""
    model, data = rate.RECURRENT.model(), data_for()

    def traces(dtype: Any) -> Any:
        algo = core.D_RTRL(model, window=3, trace_dtype=dtype)
        grads = gradient_of(algo, data, fresh=False).grads
        assert {jnp.result_type(g) for g in jax.tree.leaves(grads)} == {jnp.dtype(float)}
        return algo.trace.value

    whole, half = run(lambda: (traces(None), traces("float32")))
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(half), strict=True):
        assert b.nbytes == (a.nbytes // 2 if a.ndim == 3 else a.nbytes)
        assert np.allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_a_complex_trace_keeps_both_parts(dtype: str) -> None:
    model, data = Unit(), data_for()
    algo = core.D_RTRL(model, window=1, trace_dtype=dtype)
    (wanted, _), (grads, _) = run(
        lambda: (gradient_of(core.BPTT(model), data), gradient_of(algo, data, fresh=False))
    )
    for name, exact in wanted.items():
        assert np.linalg.norm(grads[name] - exact) < 1e-6 * np.linalg.norm(exact)


@pytest.mark.parametrize("dtype", ["int8", "half a float", 16])
def test_another_dtype_is_refused(dtype: Any) -> None:
    with pytest.raises(core.InvalidArgument, match="trace_dtype to be a floating dtype or None"):
        core.D_RTRL(rate.GRU.model(), trace_dtype=dtype)
