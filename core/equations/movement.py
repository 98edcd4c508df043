"""Operations that only move elements: from where to where."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from core.equations.differential import is_real
from core.equations.program import Atom, Constant, Equation

__all__ = ["MOVEMENT", "MOVES", "NONE", "SCATTERS", "moved_elements", "written_to"]

NONE = -1  # no element

MOVEMENT = frozenset(
    """broadcast_in_dim concatenate dynamic_slice dynamic_update_slice expand_dims gather pad
    reshape rev slice split squeeze stack tile transpose unstack""".split()  # noqa: SIM905
)

# Operations that write, or add, elements at places within an array.
SCATTERS = frozenset(
    ["scatter", *(f"scatter-{how}" for how in ("add", "max", "min", "mul", "sub"))]
)


def moved_elements(
    eqn: Equation, avals: Mapping[int, Any], fixed: Callable[[Atom], np.ndarray | None]
) -> list[np.ndarray] | None:
    """For every output the number of the element that is moved there, all operands counted
    through, and the number after the last where none is; None where places are computed."""
    values: list[Any] = []
    start = 0
    for a in eqn.inputs:
        aval = jax.typeof(a.value) if isinstance(a, Constant) else avals[a]
        value = None if is_real(aval) else fixed(a)
        if value is None and not is_real(aval):
            return None
        size = math.prod(aval.shape)
        numbers = np.arange(start, start + size).reshape(aval.shape)
        values.append(numbers if value is None else value)
        start += size
    if eqn.name in MOVES:
        found = MOVES[eqn.name](eqn.params, *values)
    else:
        outside = {"fill_value": NONE} if "fill_value" in eqn.params else {}
        params = eqn.primitive.get_bind_params({**eqn.params, **outside})
        with jax.ensure_compile_time_eval():
            found = eqn.primitive.bind(*(jnp.asarray(v, jnp.int32) for v in values), **params)
    several = found if eqn.primitive.multiple_results else [found]
    return [np.where((n >= 0) & (n < start), n, start) for n in map(np.asarray, several)]


def written_to(
    eqn: Equation, out: np.ndarray, index: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Of each update of a scatter, in its shape, the number in `out` where it is written."""
    to = eqn.params["dimension_numbers"]
    whole = {*range(out.ndim)} - {*to.inserted_window_dims, *to.operand_batching_dims}
    sizes = dict(zip(sorted(whole), (shape[i] for i in to.update_window_dims), strict=True))
    with jax.ensure_compile_time_eval():
        label = lax.gather(
            jnp.asarray(out),
            jnp.asarray(index),
            lax.GatherDimensionNumbers(
                to.update_window_dims,
                to.inserted_window_dims,
                to.scatter_dims_to_operand_dims,
                to.operand_batching_dims,
                to.scatter_indices_batching_dims,
            ),
            tuple(sizes.get(i, 1) for i in range(out.ndim)),
            mode=eqn.params["mode"],
            fill_value=NONE,
        )
    return np.asarray(label)


def _broadcast(params: Any, a: np.ndarray) -> np.ndarray:
    shape, axes = params["shape"], params["broadcast_dimensions"]
    aligned = [a.shape[axes.index(i)] if i in axes else 1 for i in range(len(shape))]
    return np.broadcast_to(a.reshape(aligned), shape)


def _slice(params: Any, a: np.ndarray) -> np.ndarray:
    strides = params["strides"] or (1,) * a.ndim
    return a[tuple(map(slice, params["start_indices"], params["limit_indices"], strides))]


def _concatenate(params: Any, *arrays: np.ndarray) -> np.ndarray:
    """Views that are constant along an axis (stride zero) stay so."""
    along = params["dimension"]
    alike = [i != along and not any(a.strides[i] for a in arrays) for i in range(arrays[0].ndim)]
    thin = tuple(slice(1) if same else slice(None) for same in alike)
    found = np.concatenate([a[thin] for a in arrays], along)
    sizes = zip(alike, arrays[0].shape, found.shape, strict=True)
    return np.broadcast_to(found, [whole if same else size for same, whole, size in sizes])


# The commonest moves, without a compilation for each shape.
MOVES: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "reshape": lambda params, a: a.reshape(params["new_sizes"]),
    "slice": _slice,
    "split": lambda params, a: np.split(a, np.cumsum(params["sizes"])[:-1], params["axis"]),
    "squeeze": lambda params, a: a.squeeze(tuple(params["dimensions"])),
    "stack": lambda params, *arrays: _concatenate(
        {"dimension": params["axis"]}, *(np.expand_dims(a, params["axis"]) for a in arrays)
    ),
    "transpose": lambda params, a: a.transpose(params["permutation"]),
}
