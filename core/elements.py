"""Sets of small integers carried through equations, element by element.

A set of small integers is a bit mask. A variable has one for all of its elements (an int) or an
array of its shape; zero is the empty set. Element-wise operations and data movement keep elements
apart, a matrix product mixes what it contracts, and any other operation mixes everything.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from core.labels import ELEMENTWISE, carries_gradient, is_real
from core.program import Constant, Equation

__all__ = ["Mask", "backward", "forward", "mask_array", "union"]

Mask = Any  # an int, or an array of ints

_MOVEMENT = frozenset(
    """broadcast_in_dim concatenate dynamic_slice expand_dims gather pad reshape rev slice split
    squeeze stack tile transpose unstack""".split()  # noqa: SIM905
)
At = Callable[[int, Mask], Mask]


def union(mask: Mask) -> int:
    """What any of the elements has."""
    return int(_over(mask, None)) if isinstance(mask, np.ndarray) else mask


def _over(mask: np.ndarray, axes: Any) -> np.ndarray:
    """The union over some axes."""
    return np.asarray(np.bitwise_or.reduce(mask, axis=axes), object)


def forward(
    equations: Iterable[Equation],
    avals: Mapping[int, Any],
    start: Mapping[int, Mask],
    at: At = lambda v, mask: mask,
) -> dict[int, Mask]:
    """What of `start` reaches the elements of each variable by differentiable paths.

    Args:
      equations: in execution order.
      start: by variable.
      at: may change what has reached a variable before it goes on.
    """
    found = dict(start)
    for eqn in equations:
        masks = [_known(found, avals, a) for a in eqn.inputs]
        moving = carries_gradient(eqn, avals) and any(_some(m) for m in masks)
        outs = _push(eqn, avals, masks) if moving else [0] * len(eqn.outputs)
        for v, mask in zip(eqn.outputs, outs, strict=True):
            mask = at(v, mask if is_real(avals[v]) else 0)
            if _some(mask):
                found[v] = mask
    return found


def backward(
    equations: Sequence[Equation], avals: Mapping[int, Any], ends: Mapping[int, Mask], at: At
) -> dict[int, Mask]:
    """The same against the equations: what of `ends` is asked of the elements of each variable."""
    found = dict(ends)
    for eqn in reversed(equations):
        outs = [at(v, found[v]) if v in found else 0 for v in eqn.outputs]
        if not carries_gradient(eqn, avals) or not any(_some(m) for m in outs):
            continue
        for a, mask in zip(eqn.inputs, _pull(eqn, avals, outs), strict=True):
            if isinstance(a, int) and is_real(avals[a]) and _some(mask):
                found[a] = found[a] | mask if a in found else mask
    return found


def _known(found: Mapping[int, Mask], avals: Mapping[int, Any], atom: Any) -> Mask:
    return found.get(atom, 0) if isinstance(atom, int) and is_real(avals[atom]) else 0


def _some(mask: Mask) -> bool:
    return bool(np.any(mask))


def mask_array(mask: Mask, shape: Sequence[int]) -> np.ndarray:
    """The mask of every element: Python's integers, which hold any number of groups."""
    return mask if isinstance(mask, np.ndarray) else np.full(shape, mask, object)


def _simple(mask: np.ndarray) -> Mask:
    """One number where all elements agree."""
    if mask.size == 0:
        return 0
    first = mask.flat[0]
    return int(first) if (mask == first).all() else mask


def _push(eqn: Equation, avals: Mapping[int, Any], masks: list[Mask]) -> list[Mask]:
    apart = any(isinstance(m, np.ndarray) for m in masks)
    shape = avals[eqn.outputs[0]].shape
    if eqn.name in ELEMENTWISE and apart:
        return [_simple(np.broadcast_to(functools.reduce(np.bitwise_or, masks), shape))]
    if eqn.name in _MOVEMENT and (apart or len(eqn.inputs) > 1):
        table = _table(eqn, avals)
        if table is not None:
            shapes = [_shape(a, avals) for a in eqn.inputs]
            full = [mask_array(m, shape).ravel() for m, shape in zip(masks, shapes, strict=True)]
            flat = np.concatenate([*full, [0]])
            return [_simple(flat[n]) for n in table]
    if eqn.name == "dot_general" and apart:
        return [_simple(_product(eqn, avals, masks, shape))]
    if eqn.name.startswith("reduce_") and "axes" in eqn.params and apart and len(masks) == 1:
        return [_simple(_over(masks[0], tuple(eqn.params["axes"])))]
    return [functools.reduce(int.__or__, map(union, masks))] * len(eqn.outputs)


def _pull(eqn: Equation, avals: Mapping[int, Any], outs: list[Mask]) -> list[Mask]:
    apart = any(isinstance(m, np.ndarray) for m in outs)
    if eqn.name in ELEMENTWISE and apart:
        return [_reduced_to(outs[0], _shape(a, avals)) for a in eqn.inputs]
    if eqn.name in _MOVEMENT and (apart or len(outs) > 1):
        table = _table(eqn, avals)
        if table is not None:
            shapes = [_shape(a, avals) for a in eqn.inputs]
            ends = np.cumsum([math.prod(shape) for shape in shapes])
            masks = [mask_array(m, n.shape) for m, n in zip(outs, table, strict=True)]
            flat = np.zeros(ends[-1] + 1, object)
            for n, mask in zip(table, masks, strict=True):
                np.bitwise_or.at(flat, n.ravel(), mask.ravel())
            pieces = np.split(flat, ends)
            return [_simple(p.reshape(s)) for p, s in zip(pieces, shapes, strict=False)]
    return [functools.reduce(int.__or__, map(union, outs))] * len(eqn.inputs)


def _shape(atom: Any, avals: Mapping[int, Any]) -> tuple[int, ...]:
    return np.shape(atom.value) if isinstance(atom, Constant) else avals[atom].shape


def _reduced_to(mask: np.ndarray, shape: tuple[int, ...]) -> Mask:
    """The union over the axes along which an operand of this shape was broadcast."""
    padded = (1,) * (mask.ndim - len(shape)) + tuple(shape)
    axes = tuple(i for i, (n, m) in enumerate(zip(padded, mask.shape, strict=True)) if n != m)
    return _simple(_over(mask, axes).reshape(shape) if axes else mask)


def _product(
    eqn: Equation, avals: Mapping[int, Any], masks: list[Mask], shape: tuple[int, ...]
) -> np.ndarray:
    """A product contracts some axes; its output has the batch axes, the left's and the right's."""
    contracted, batched = eqn.params["dimension_numbers"]
    n_free = [
        len(_shape(a, avals)) - len(c) - len(b)
        for a, c, b in zip(eqn.inputs, contracted, batched, strict=True)
    ]
    out: Any = 0
    for side, (a, mask) in enumerate(zip(eqn.inputs, masks, strict=True)):
        full, axes = mask_array(mask, _shape(a, avals)), (*batched[side], *contracted[side])
        free = [i for i in range(full.ndim) if i not in axes]
        full = full.transpose(*batched[side], *free, *contracted[side])
        kept = len(batched[side]) + len(free)
        full = _over(full.reshape(*full.shape[:kept], -1), -1)
        if side == 0:
            full = full.reshape(*full.shape, *(1,) * n_free[1])
        else:
            lead = len(batched[1])
            full = full.reshape(*full.shape[:lead], *(1,) * n_free[0], *full.shape[lead:])
        out = out | full
    return np.broadcast_to(out, shape)


def _table(eqn: Equation, avals: Mapping[int, Any]) -> list[np.ndarray] | None:
    """For every output the number of the element that is moved there, all operands counted
    through, and the number after the last where none is; None where the places are computed."""
    numbers: list[Any] = []
    start = 0
    for position, a in enumerate(eqn.inputs):
        shape = _shape(a, avals)
        size = math.prod(shape)
        if position > 0 and eqn.name in ("dynamic_slice", "gather"):
            if not isinstance(a, Constant):
                return None
            numbers.append(a.value)
        else:
            numbers.append(np.arange(start, start + size).reshape(shape))
        start += size
    if eqn.name in _MOVES:
        moved = _MOVES[eqn.name](eqn.params, *numbers)
    else:
        with jax.ensure_compile_time_eval():
            operands = [jnp.asarray(n) for n in numbers]
            moved = eqn.primitive.bind(*operands, **eqn.primitive.get_bind_params(eqn.params))
    several = moved if eqn.primitive.multiple_results else [moved]
    return [np.where((n >= 0) & (n < start), n, start) for n in map(np.asarray, several)]


def _broadcast(params: Any, a: np.ndarray) -> np.ndarray:
    shape, axes = params["shape"], params["broadcast_dimensions"]
    aligned = [a.shape[axes.index(i)] if i in axes else 1 for i in range(len(shape))]
    return np.broadcast_to(a.reshape(aligned), shape)


# The commonest moves, without a compilation for each shape.
_MOVES: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": lambda params, *arrays: np.concatenate(arrays, params["dimension"]),
    "reshape": lambda params, a: a.reshape(params["new_sizes"]),
    "stack": lambda params, *arrays: np.stack(arrays, params["axis"]),
    "slice": lambda params, a: a[
        tuple(
            map(
                slice,
                params["start_indices"],
                params["limit_indices"],
                params["strides"] or (1,) * a.ndim,
            )
        )
    ],
    "split": lambda params, a: np.split(a, np.cumsum(params["sizes"])[:-1], params["axis"]),
    "squeeze": lambda params, a: a.squeeze(tuple(params["dimensions"])),
    "transpose": lambda params, a: a.transpose(params["permutation"]),
}
