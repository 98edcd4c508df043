"""Give a value, already computed, a derivative of one's own."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax

__all__ = ["with_derivative"]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def with_derivative(tangent: Any, value: Any, residual: Any, variables: Any) -> Any:
    """`value`, already computed, with `tangent(residual, moved)` as its derivative.

    `variables` is a dict of arrays, or a tuple of such; `moved` has the same form and holds the
    tangents of those that are being differentiated, so nothing is computed for the others. The
    tangent is linear in `moved`; jax transposes it under reverse mode.
    """
    return value


def _with_derivative_jvp(tangent: Any, primals: Any, tangents: Any) -> Any:
    value, residual, _ = primals

    def moving(part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(moving(p) for p in part)
        zero = jax.custom_derivatives.SymbolicZero
        return {k: d for k, d in part.items() if not isinstance(d, zero)}

    return value, tangent(residual, moving(tangents[2]))


with_derivative.defjvp(_with_derivative_jvp, symbolic_zeros=True)
