"""Give a value, already computed, a derivative of one's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero, zero_from_primal
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from core.equations.labels import OF_NONE
from core.errors import NotRepresentable, Refusal


@contextmanager
def in_reverse() -> Iterator[None]:
    """What jax cannot differentiate is refused in its words: which that is only jax can tell."""
    try:
        yield
    except (NotImplementedError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        if isinstance(error, Refusal) or not re.search("differentiation|JVP", said, re.IGNORECASE):
            raise
        wanted = "a step and a loss that jax can differentiate in reverse"
        raise NotRepresentable(wanted, said[:150], OF_NONE) from error


@partial(jax.custom_jvp, nondiff_argnums=(0, 4))
def with_derivative(
    tangent: Any, value: Any, residual: Any, variables: Any, again: bool = False
) -> Any:
    """`value`, already computed, with `tangent(residual, moved)` as its derivative.

    `variables` is a dict of arrays, or a tuple of such; `moved` has the same form and holds the
    tangents of those that are being differentiated, so nothing is computed for the others. The
    tangent is linear in `moved`; jax transposes it under reverse mode. It is refused to be
    differentiated in turn, unless it may be `again`.
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
        if not isinstance(d, SymbolicZero) and d.dtype != jax.dtypes.float0:
            raise NotRepresentable(
                "one derivative of an online algorithm's outputs",
                "a derivative of its gradient, or through a sequence that it has run",
                "Use core.BPTT, which can be differentiated as often as one likes.",
            )
    return primals[0], zero_from_primal(primals[0])


once.defjvp(_once_jvp, symbolic_zeros=True)


@jax.custom_jvp
def _linear(value: Any) -> Any:
    return value


_linear.defjvp(lambda primals, tangents: (once(primals[0]), tangents[0]))


def differentiated_once(tree: Any) -> Any:
    """`tree`, of which there is a derivative, but no derivative of that.

    To be asked outside of loops: inside of one, reverse mode forgets custom rules.
    """
    return jax.tree.map(_linear, tree)


def _with_derivative_jvp(tangent: Any, again: bool, primals: Any, tangents: Any) -> Any:
    value, residual, variables = primals

    def moving(part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(moving(p) for p in part)
        return {k: d for k, d in part.items() if not isinstance(d, SymbolicZero)}

    residual = residual if again else once(residual, variables)
    return value, tangent(residual, moving(tangents[2]))


with_derivative.defjvp(_with_derivative_jvp, symbolic_zeros=True)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def without_derivative(name: str, value: Any, variables: Any) -> Any:
    """`value`, the state `name`, which depends on `variables` in a way that is not known.

    Who asks for its derivative is refused: the reverse mode where a cotangent arrives, the forward
    mode by NaN, since every tangent is computed there, wanted or not.
    """
    return value


def _without_derivative_jvp(name: str, primals: Any, tangents: Any) -> Any:
    value = primals[0]
    moved = [d for d in jax.tree.leaves(tangents[1]) if not isinstance(d, SymbolicZero)]
    if not moved:
        return value, zero_from_primal(value)
    return value, _unknown.bind(moved[0], name=name, shape=value.shape, dtype=value.dtype)


without_derivative.defjvp(_without_derivative_jvp, symbolic_zeros=True)


def _nan(d: Any, *, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
    return jnp.full(shape, jnp.nan, dtype)


def _refused(cotangent: Any, d: Any, *, name: str, **_: Any) -> Any:
    raise NotRepresentable(
        "a loss of the algorithm's outputs, and of states that its traces cover",
        f"the derivative of {name}, which no output reads later",
        "Return it from update, or use core.gradient, whose loss may read it.",
    )


def _batched(arrays: Any, axes: Any, **params: Any) -> Any:
    return _unknown.bind(jnp.take(arrays[0], 0, axes[0]), **params), None


# The tangent of what is not known: linear, so that its transpose is asked only where it matters.
_unknown = Primitive("unknown_derivative")
_unknown.def_impl(_nan)
_unknown.def_abstract_eval(lambda d, *, name, shape, dtype: jax.core.ShapedArray(shape, dtype))
ad.deflinear2(_unknown, _refused)
batching.primitive_batchers[_unknown] = _batched
mlir.register_lowering(_unknown, mlir.lower_fun(_nan, multiple_results=False))
