"""How many time steps an input holds: one, or a sequence along the leading axis.

Both wrappers are pytrees, so `jit`, `vmap` and `brainstate.nn.Vmap` see through them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Bool, PyTree, Shaped

from core.errors import InvalidArgument


@jax.tree_util.register_dataclass
@dataclass(eq=False)
class SingleStepData:
    """One time step, any pytree of arrays: `[I]` or `[B, I]`. A bare array means the same."""

    data: PyTree[ArrayLike]


@jax.tree_util.register_dataclass
@dataclass(eq=False)
class MultiStepData:
    """A window of time steps, any pytree of arrays with time leading: `[T, I]` or `[T, B, I]`."""

    data: PyTree[Shaped[ArrayLike, "T ..."]]


def check_numbers(what: str, given: PyTree) -> None:
    """Refuse what is no number and no array of numbers."""
    for leaf in jax.tree.leaves(given, is_leaf=lambda a: isinstance(a, Iterator)):
        try:
            jax.typeof(leaf)
        except TypeError as error:
            kind = getattr(leaf, "dtype", type(leaf).__name__)
            raise InvalidArgument(
                f"{what} of numbers and arrays of numbers",
                kind,
                "Put them into arrays first, for example by np.stack or np.asarray(values, float).",
            ) from error


def split_steps(args: Sequence[PyTree]) -> tuple[tuple[PyTree, ...], int | None]:
    """Unwrap a call's arguments.

    Returns the bare arguments and the number of steps, `None` for a single step. An argument
    without a wrapper beside `MultiStepData` is held constant over the window.

    Raises:
      InvalidArgument: two `MultiStepData` of different lengths, or one of no step.
    """
    arrays = [x for a in args if isinstance(a, MultiStepData) for x in jax.tree.leaves(a.data)]
    lengths = {shape[0] if (shape := np.shape(x)) else 0 for x in arrays}
    several = any(isinstance(a, MultiStepData) for a in args)
    if several and (len(lengths) != 1 or 0 in lengths):
        raise InvalidArgument(
            "MultiStepData of one common length of at least one step",
            f"lengths {sorted(lengths)}",
            "Cut or pad the sequences so that their leading axes agree.",
        )
    check_numbers("inputs", args)
    if not several:
        return tuple(a.data if isinstance(a, SingleStepData) else a for a in args), None
    (n_steps,) = lengths

    def expand(a: Any) -> Any:
        if isinstance(a, MultiStepData):
            return a.data
        a = a.data if isinstance(a, SingleStepData) else a
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (n_steps, *jnp.shape(leaf))), a)

    return tuple(expand(a) for a in args), n_steps


def step_weights(
    mask: Shaped[ArrayLike, " T *B"] | None, n_steps: int, batch: int | None = None
) -> Shaped[Array, " T *B"] | None:
    """Of the steps' losses, [T], or of every sample's share in them, [T, B]; None for None."""
    found = _of_steps("a mask", mask, n_steps, batch)
    if found is not None and not jnp.issubdtype(found.dtype, jnp.floating):
        return found.astype(float)  # the mean of booleans has half of the digits
    return found


def restarts(
    reset: Bool[ArrayLike, " T *B"] | None, n_steps: int, batch: int | None = None
) -> Bool[Array, " T *B"] | None:
    """Booleans, before which steps all samples start anew, [T], or each of them, [T, B]."""
    found = _of_steps("resets", reset, n_steps, batch)
    return None if found is None else found.astype(bool)


def _of_steps(what: str, given: ArrayLike | None, n_steps: int, batch: int | None) -> Array | None:
    if given is None:
        return None
    if not all(map(_is_finite, jax.tree.leaves(given))):
        raise InvalidArgument(
            f"{what} of finite numbers",
            "NaN, infinity or what is no real number",
            "Give zeros, ones or weights between them.",
        )
    try:
        found = jnp.asarray(given)
    except (TypeError, ValueError) as error:  # rows of several lengths, a dict, None among them
        raise InvalidArgument(
            f"{what} in one array", type(given).__name__, "Put time first, then the batch."
        ) from error
    shapes = [(n_steps,)] + ([] if batch is None else [(n_steps, batch)])
    if found.shape not in shapes:
        raise InvalidArgument(
            f"{what} of shape {' or '.join(map(str, shapes))}, one number a step or sample",
            f"shape {found.shape}",
            "Put time first, then the batch.",
        )
    return found


def _is_finite(a: Any) -> bool:
    """Of what is being traced the dtype alone can be known."""
    traced = isinstance(a, jax.core.Tracer)
    dtype = a.dtype if traced else np.asarray(a).dtype
    real = any(jnp.issubdtype(dtype, kind) for kind in (jnp.bool_, jnp.integer, jnp.floating))
    return real and (traced or bool(np.isfinite(a).all()))


def idle_steps(
    weight: Shaped[Array, " T *B"], reset: Bool[Array, " T *B"] | None = None
) -> Bool[Array, " T *B"]:
    """Steps from which on no step counts until the sample starts anew, or the sequence ends.

    Booleans [T, B], or [T] when both the weight of `step_weights` and the resets are [T].
    """
    reset = jnp.zeros(len(weight), bool) if reset is None else reset.astype(bool)
    if weight.ndim != reset.ndim:
        weight, reset = (a if a.ndim == 2 else a[:, None] for a in (weight, reset))
    unweighed, reset = jnp.broadcast_arrays(weight == 0, reset)

    def tick(later: Any, now: Any) -> Any:
        idle, again = now[0] & later, now[1]
        return idle | again, idle

    return lax.scan(tick, jnp.ones_like(reset[0]), (unweighed, reset), reverse=True)[1]


def lengths(x: PyTree[ArrayLike], axis: int = 0) -> list[int]:
    """Lengths of an axis, of the arrays that have it: a number is that of all samples."""
    return [int(jnp.shape(a)[axis]) for a in jax.tree.leaves(x) if jnp.ndim(a) > axis]
