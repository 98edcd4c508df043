"""Sets of small integers carried through equations, element by element.

A set is a bit mask. A variable has one for all of its elements (an int), or an array of its shape;
zero is the empty set. Element-wise operations and data movement keep elements apart, sums and
products mix what they contract, and any other operation mixes everything.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from core.differential import is_real
from core.labels import (
    ELEMENTWISE,
    MOVEMENT,
    NONE,
    REDUCTIONS,
    SCATTERS,
    carries_gradient,
    written_to,
)
from core.program import Atom, Constant, Equation

__all__ = ["Elements", "Mask", "mask_array", "union"]

Mask = Any  # an int, or an array of ints
At = Callable[[int, Mask], Mask]


def union(mask: Mask) -> int:
    """What any of the elements has."""
    return int(_over(mask, None)) if isinstance(mask, np.ndarray) else mask


def mask_array(mask: Mask, shape: Sequence[int]) -> np.ndarray:
    """The mask of every element: Python's integers, which hold any number of groups."""
    return mask if isinstance(mask, np.ndarray) else np.full(shape, mask, object)


class Elements:
    """The equations of a step, as `core.differential` writes them.

    Args:
      equations: in execution order.
      avals: of their variables.
      fixed: the value of an operand that constants alone decide, or None.
    """

    def __init__(
        self,
        equations: Sequence[Equation],
        avals: Mapping[int, Any],
        fixed: Callable[[Atom], np.ndarray | None],
    ) -> None:
        self.equations, self.avals, self.fixed = equations, avals, fixed

    def forward(self, start: Mapping[int, Mask], at: At = lambda v, mask: mask) -> dict[int, Mask]:
        """What of `start` reaches the elements of each variable by differentiable paths.

        Args:
          start: by variable.
          at: may change what has reached a variable before it goes on.
        """
        found = dict(start)
        for eqn in self.equations:
            masks = [found.get(a, 0) if self._moves(a) else 0 for a in eqn.inputs]
            moving = carries_gradient(eqn, self.avals) and any(map(np.any, masks))
            outs = self._push(eqn, masks) if moving else [0] * len(eqn.outputs)
            for v, mask in zip(eqn.outputs, outs, strict=True):
                mask = at(v, mask if self._moves(v) else 0)
                if np.any(mask):
                    found[v] = mask
        return found

    def backward(self, ends: Mapping[int, Mask], at: At) -> dict[int, Mask]:
        """The same against the equations: what of `ends` each element reaches."""
        found = dict(ends)
        for eqn in reversed(self.equations):
            outs = [at(v, found[v]) if v in found else 0 for v in eqn.outputs]
            if not carries_gradient(eqn, self.avals) or not any(map(np.any, outs)):
                continue
            for a, mask in zip(eqn.inputs, self._pull(eqn, outs), strict=True):
                if self._moves(a) and np.any(mask):
                    found[a] = found[a] | mask if a in found else mask
        return found

    def _moves(self, atom: Atom) -> bool:
        return isinstance(atom, int) and is_real(self.avals[atom])

    def _shape(self, atom: Atom) -> tuple[int, ...]:
        return np.shape(atom.value) if isinstance(atom, Constant) else self.avals[atom].shape

    def _push(self, eqn: Equation, masks: list[Mask]) -> list[Mask]:
        apart = any(isinstance(m, np.ndarray) for m in masks)
        shape = self._shape(eqn.outputs[0])
        if eqn.name in MOVEMENT and (apart or len(masks) > 1):
            table = self._table(eqn)
            if table is not None:
                shapes = map(self._shape, eqn.inputs)
                full = [mask_array(m, s).ravel() for m, s in zip(masks, shapes, strict=True)]
                flat = np.concatenate([*full, [0]])
                return [_simple(flat[n]) for n in table]
        if eqn.name in SCATTERS:
            to = self._written_to(eqn)
            if to is not None:
                array, updates = mask_array(masks[0], shape).flatten(), masks[2]
                inside = to != NONE
                if eqn.name == "scatter":
                    array[to[inside]] = 0
                np.bitwise_or.at(array, to[inside], mask_array(updates, to.shape)[inside])
                return [_simple(array.reshape(shape))]
        if eqn.name in ELEMENTWISE and apart:
            return [_simple(np.broadcast_to(functools.reduce(operator.or_, masks), shape))]
        if eqn.name in REDUCTIONS and apart:
            return [_simple(_over(masks[0], tuple(eqn.params["axes"])))]
        if eqn.name == "dot_general" and apart:
            return [_simple(np.broadcast_to(self._product(eqn, masks), shape))]
        return [functools.reduce(operator.or_, map(union, masks))] * len(eqn.outputs)

    def _pull(self, eqn: Equation, outs: list[Mask]) -> list[Mask]:
        """Coarser than `_push`: where elements are mixed, all operands get all."""
        apart = any(isinstance(m, np.ndarray) for m in outs)
        if eqn.name in ELEMENTWISE and apart:
            return [_reduced_to(outs[0], self._shape(a)) for a in eqn.inputs]
        if eqn.name in SCATTERS and apart:
            to = self._written_to(eqn)
            if to is not None:
                updates = np.append(outs[0].ravel(), 0)[to]
                return [outs[0], 0, _simple(updates)]
        if eqn.name in MOVEMENT and (apart or len(outs) > 1):
            table = self._table(eqn)
            if table is not None:
                shapes = [self._shape(a) for a in eqn.inputs]
                ends = np.cumsum([math.prod(shape) for shape in shapes])
                flat = np.zeros(ends[-1] + 1, object)
                for n, mask in zip(table, outs, strict=True):
                    np.bitwise_or.at(flat, n.ravel(), mask_array(mask, n.shape).ravel())
                pieces = np.split(flat, ends)
                return [_simple(p.reshape(s)) for p, s in zip(pieces, shapes, strict=False)]
        return [functools.reduce(operator.or_, map(union, outs))] * len(eqn.inputs)

    def _product(self, eqn: Equation, masks: list[Mask]) -> np.ndarray:
        """A product has the batch axes, the free axes of the left and those of the right."""
        contracted, batched = eqn.params["dimension_numbers"]
        ndims = [len(self._shape(a)) for a in eqn.inputs]
        n_free = [n - len(c) - len(b) for n, c, b in zip(ndims, contracted, batched, strict=True)]
        sides = []
        for side, (a, mask) in enumerate(zip(eqn.inputs, masks, strict=True)):
            batch, last = tuple(batched[side]), tuple(contracted[side])
            free = tuple(i for i in range(ndims[side]) if i not in (*batch, *last))
            full = mask_array(mask, self._shape(a)).transpose(*batch, *free, *last)
            full = _over(full, tuple(range(ndims[side] - len(last), ndims[side])))
            others = (1,) * n_free[1 - side]
            lead, own = full.shape[: len(batch)], full.shape[len(batch) :]
            sides.append(full.reshape(*lead, *((*own, *others), (*others, *own))[side]))
        return sides[0] | sides[1]

    def _table(self, eqn: Equation) -> list[np.ndarray] | None:
        """For every output the number of the element that is moved there, all operands counted
        through, and the number after the last where none is; None where places are computed."""
        values: list[Any] = []
        start = 0
        for a in eqn.inputs:
            shape = self._shape(a)
            moved = self._moves(a) or (isinstance(a, Constant) and is_real(jax.typeof(a.value)))
            value = None if moved else self.fixed(a)
            if not moved and value is None:
                return None
            size = math.prod(shape)
            values.append(np.arange(start, start + size).reshape(shape) if moved else value)
            start += size
        if eqn.name in _MOVES:
            found = _MOVES[eqn.name](eqn.params, *values)
        else:
            outside = {"fill_value": -1} if "fill_value" in eqn.params else {}
            params = eqn.primitive.get_bind_params({**eqn.params, **outside})
            with jax.ensure_compile_time_eval():
                found = eqn.primitive.bind(*(jnp.asarray(v, jnp.int32) for v in values), **params)
        several = found if eqn.primitive.multiple_results else [found]
        return [np.where((n >= 0) & (n < start), n, start) for n in map(np.asarray, several)]

    def _written_to(self, eqn: Equation) -> np.ndarray | None:
        """The place of each update in the flat array, or NONE; None where places are computed."""
        array, where, updates = eqn.inputs
        index, shape = self.fixed(where), self._shape(array)
        if index is None:
            return None
        numbers = np.arange(math.prod(shape)).reshape(shape)
        return written_to(eqn, numbers, index, self._shape(updates))


def _over(mask: np.ndarray, axes: Any) -> np.ndarray:
    """The union over some axes."""
    return np.asarray(np.bitwise_or.reduce(mask, axis=axes), object)


def _simple(mask: np.ndarray) -> Mask:
    """One number where all elements agree."""
    if mask.size == 0:
        return 0
    first = mask.flat[0]
    return int(first) if (mask == first).all() else mask


def _reduced_to(mask: np.ndarray, shape: tuple[int, ...]) -> Mask:
    """The union over the axes along which an operand of this shape was broadcast."""
    padded = (1,) * (mask.ndim - len(shape)) + tuple(shape)
    axes = tuple(i for i, (n, m) in enumerate(zip(padded, mask.shape, strict=True)) if n != m)
    return _simple(_over(mask, axes).reshape(shape) if axes else mask)


def _broadcast(params: Any, a: np.ndarray) -> np.ndarray:
    shape, axes = params["shape"], params["broadcast_dimensions"]
    aligned = [a.shape[axes.index(i)] if i in axes else 1 for i in range(len(shape))]
    return np.broadcast_to(a.reshape(aligned), shape)


def _slice(params: Any, a: np.ndarray) -> np.ndarray:
    strides = params["strides"] or (1,) * a.ndim
    return a[tuple(map(slice, params["start_indices"], params["limit_indices"], strides))]


# The commonest moves, without a compilation for each shape.
_MOVES: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": lambda params, *arrays: np.concatenate(arrays, params["dimension"]),
    "reshape": lambda params, a: a.reshape(params["new_sizes"]),
    "slice": _slice,
    "split": lambda params, a: np.split(a, np.cumsum(params["sizes"])[:-1], params["axis"]),
    "squeeze": lambda params, a: a.squeeze(tuple(params["dimensions"])),
    "stack": lambda params, *arrays: np.stack(arrays, params["axis"]),
    "transpose": lambda params, a: a.transpose(params["permutation"]),
}
