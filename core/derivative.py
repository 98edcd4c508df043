"""Give a value, already computed, a derivative of one's own."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from core.errors import NotRepresentable

__all__ = ["once", "with_derivative"]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def with_derivative(tangent: Any, value: Any, residual: Any, variables: Any) -> Any:
    """`value`, already computed, with `tangent(residual, moved)` as its derivative.

    `variables` is a dict of arrays, or a tuple of such; `moved` has the same form and holds the
    tangents of those that are being differentiated, so nothing is computed for the others. The
    tangent is linear in `moved`; jax transposes it under reverse mode.
    """
    return value


@jax.custom_jvp
def once(value: Any, variables: Any = None) -> Any:
    """`value`, which may not be differentiated, also not by way of `variables`.

    The derivative that an online algorithm gives is its own; that derivative's derivative is not
    known, and would come out as zero.
    """
    return value


def _once_jvp(primals: Any, tangents: Any) -> Any:
    for d in jax.tree.leaves(tangents):
        if not isinstance(d, jax.custom_derivatives.SymbolicZero) and d.dtype != jax.dtypes.float0:
            raise NotRepresentable(
                "one derivative of an online algorithm's outputs",
                "a derivative of its gradient, or through a sequence that it has run",
                "Use core.BPTT, which can be differentiated as often as one likes.",
            )
    return primals[0], jax.tree.map(_no_tangent, primals[0])


def _no_tangent(a: Any) -> Any:
    dtype = a.dtype if jnp.issubdtype(a.dtype, jnp.inexact) else jax.dtypes.float0
    return jnp.zeros(a.shape, a.dtype) if dtype == a.dtype else np.zeros(a.shape, dtype)


once.defjvp(_once_jvp, symbolic_zeros=True)


def _with_derivative_jvp(tangent: Any, primals: Any, tangents: Any) -> Any:
    value, residual, variables = primals

    def moving(part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(moving(p) for p in part)
        zero = jax.custom_derivatives.SymbolicZero
        return {k: d for k, d in part.items() if not isinstance(d, zero)}

    return value, tangent(once(residual, variables), moving(tangents[2]))


with_derivative.defjvp(_with_derivative_jvp, symbolic_zeros=True)
