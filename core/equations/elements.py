"""Sets of small integers carried through equations, element by element.

A set is a bit mask; zero is the empty set. A variable has one for all of its elements (an int), or
an array with as many axes, of length one where its elements agree: samples mostly do, so what is
held is of the size of a layer. Element-wise operations and data movement keep elements apart, sums
and products mix what they contract, and any other operation mixes everything.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from core.equations.differential import is_real
from core.equations.labels import ELEMENTWISE, REDUCTIONS, carries_gradient
from core.equations.movement import MOVEMENT, MOVES, NONE, SCATTERS, moved_elements, written_to
from core.equations.program import Atom, Constant, Equation

__all__ = ["Elements", "Mask", "compact", "union"]

# Operations whose result is the operand, if its dtype is.
COPIES = frozenset(["convert_element_type", "copy", "copy_p", "name"])

Mask = Any  # an int, or an array of ints
At = Callable[[int, Mask], Mask]


def union(mask: Mask) -> int:
    """What any of the elements has."""
    return int(np.bitwise_or.reduce(mask, axis=None)) if isinstance(mask, np.ndarray) else mask


def compact(mask: np.ndarray) -> Mask:
    """The mask with one number along each axis along which it does not change."""
    if mask.size == 0:
        return 0
    for axis in range(mask.ndim):
        first = mask[(slice(None),) * axis + (slice(1),)]
        if mask.strides[axis] == 0 or (mask == first).all():
            mask = first
    return int(mask.flat[0]) if mask.size == 1 else mask


class Elements:
    """The equations of a step, as `core.equations.differential` writes them.

    Args:
      equations: in execution order.
      avals: of their variables.
      fixed: the value of an operand that constants alone decide, or None.
      n: integers that a set may hold, 0 to n - 1.
    """

    def __init__(
        self,
        equations: Sequence[Equation],
        avals: Mapping[int, Any],
        fixed: Callable[[Atom], np.ndarray | None],
        n: int,
    ) -> None:
        self.equations, self.avals, self.fixed = equations, avals, fixed
        self.dtype = np.dtype(np.int64 if n < 63 else object)  # Python's integers hold any number

    def full(self, mask: Mask, shape: Sequence[int]) -> np.ndarray:
        """The mask of every element; a view that cannot be written to."""
        return np.broadcast_to(np.asarray(mask, self.dtype), shape)

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

    def copies(self, ends: Mapping[int, Mask]) -> dict[int, Mask]:
        """What of `ends` each element is a copy of, from the equation that computed it on. Elements
        that no equation computed, those of inputs, are copies of nothing."""
        marked, found = dict(ends), dict[int, Mask]()
        tables: dict[int, list[np.ndarray] | None] = {}
        for eqn in reversed(self.equations):
            outs = [marked.pop(v, 0) for v in eqn.outputs]
            if not any(map(np.any, outs)):
                continue
            table = tables[id(eqn)] = self._copied(eqn)
            if table is None:
                found.update(zip(eqn.outputs, outs, strict=True))
                continue
            for a, mask in zip(eqn.inputs, self._sent_back(eqn, table, outs), strict=True):
                if self._moves(a) and np.any(mask):
                    marked[a] = marked[a] | mask if a in marked else mask
        for eqn in self.equations:
            if any(a in found for a in eqn.variables):
                table = tables[id(eqn)] if id(eqn) in tables else self._copied(eqn)
                masks = [found.get(a, 0) if isinstance(a, int) else 0 for a in eqn.inputs]
                full = map(self.full, masks, map(self._shape, eqn.inputs))
                flat = np.concatenate([*map(np.ravel, full), np.zeros(1, self.dtype)])
                for v, n in zip(eqn.outputs, table or (), strict=False):
                    found[v] = compact(flat[n])
        return {v: mask for v, mask in found.items() if np.any(mask)}

    def _copied(self, eqn: Equation) -> list[np.ndarray] | None:
        """As `_table`, for everything that hands elements on as they are; None for the rest."""
        if not all(map(self._moves, eqn.outputs)):
            return None
        if eqn.name in MOVEMENT:
            return self._table(eqn)
        if eqn.name != "scatter" and eqn.name not in COPIES:
            return None
        sizes = [math.prod(self._shape(a)) for a in eqn.inputs]
        numbers = np.arange(sizes[0]).reshape(self._shape(eqn.inputs[0]))
        if eqn.name == "scatter":
            to = self._written_to(eqn)
            if to is None:
                return None
            flat, inside = numbers.flatten(), to != NONE
            flat[to[inside]] = (sum(sizes[:2]) + np.arange(to.size).reshape(to.shape))[inside]
            return [flat.reshape(numbers.shape)]
        (came,) = (self.avals[v].dtype for v in eqn.variables)
        return [numbers] if came == self.avals[eqn.outputs[0]].dtype else None

    def _sent_back(self, eqn: Equation, table: list[np.ndarray], outs: list[Mask]) -> list[Mask]:
        """What the elements of the operands are moved to."""
        shapes = [self._shape(a) for a in eqn.inputs]
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        flat = np.zeros(ends[-1] + 1, self.dtype)
        for n, mask in zip(table, outs, strict=True):
            np.bitwise_or.at(flat, n.ravel(), self.full(mask, n.shape).ravel())
        pieces = np.split(flat, ends)
        return [compact(p.reshape(s)) for p, s in zip(pieces, shapes, strict=False)]

    def _moves(self, atom: Atom) -> TypeGuard[int]:
        return isinstance(atom, int) and is_real(self.avals[atom])

    def _shape(self, atom: Atom) -> tuple[int, ...]:
        return np.shape(atom.value) if isinstance(atom, Constant) else self.avals[atom].shape

    def _push(self, eqn: Equation, masks: list[Mask]) -> list[Mask]:
        apart = any(isinstance(m, np.ndarray) for m in masks)
        shapes = [self._shape(a) for a in eqn.inputs]
        if eqn.name in MOVEMENT and (apart or len(masks) > 1):
            moved = self._moved(eqn, list(map(self.full, masks, shapes)))
            if moved is not None:
                return list(map(compact, moved))
        if eqn.name in SCATTERS:
            to = self._written_to(eqn)
            if to is not None:
                array, updates = self.full(masks[0], shapes[0]).flatten(), masks[2]
                inside = to != NONE
                if eqn.name == "scatter":
                    array[to[inside]] = 0
                np.bitwise_or.at(array, to[inside], self.full(updates, to.shape)[inside])
                return [compact(array.reshape(shapes[0]))]
        if eqn.name in ELEMENTWISE and apart:
            mask = functools.reduce(operator.or_, masks)
            return [compact(mask[(None,) * (len(self._shape(eqn.outputs[0])) - mask.ndim)])]
        if eqn.name in REDUCTIONS and apart:
            axes = tuple(eqn.params["axes"])
            return [compact(self._over(masks[0], axes).squeeze(axes))]
        if eqn.name == "dot_general" and apart:
            return [compact(self._product(eqn, masks))]
        return [functools.reduce(operator.or_, map(union, masks))] * len(eqn.outputs)

    def _pull(self, eqn: Equation, outs: list[Mask]) -> list[Mask]:
        """Coarser than `_push`: where elements are mixed, all operands get all."""
        apart = any(isinstance(m, np.ndarray) for m in outs)
        shapes = [self._shape(a) for a in eqn.inputs]
        if eqn.name in ELEMENTWISE and apart:
            return [self._reduced_to(outs[0], shape) for shape in shapes]
        if eqn.name in SCATTERS and apart:
            to = self._written_to(eqn)
            if to is not None:
                updates = np.append(self.full(outs[0], shapes[0]).ravel(), 0)[to]
                return [outs[0], 0, compact(updates)]
        if eqn.name in MOVEMENT and (apart or len(outs) > 1):
            table = self._table(eqn)
            if table is not None:
                return self._sent_back(eqn, table, outs)
        return [functools.reduce(operator.or_, map(union, outs))] * len(eqn.inputs)

    def _over(self, mask: np.ndarray, axes: Sequence[int]) -> np.ndarray:
        """The union over some axes, which stay with length one."""
        return np.bitwise_or.reduce(mask, axis=tuple(axes), keepdims=True)

    def _reduced_to(self, mask: np.ndarray, shape: tuple[int, ...]) -> Mask:
        """The union over the axes along which an operand of this shape was broadcast."""
        more = mask.ndim - len(shape)
        axes = [i for i in range(mask.ndim) if i < more or shape[i - more] == 1]
        found = self._over(mask, axes)
        return compact(found.reshape(found.shape[more:]))

    def _product(self, eqn: Equation, masks: list[Mask]) -> np.ndarray:
        """A product has the batch axes, the free axes of the left and those of the right."""
        contracted, batched = eqn.params["dimension_numbers"]
        ndims = [len(self._shape(a)) for a in eqn.inputs]
        n_free = [n - len(c) - len(b) for n, c, b in zip(ndims, contracted, batched, strict=True)]
        sides = []
        for side, mask in enumerate(masks):
            if isinstance(mask, np.ndarray):
                batch, last = tuple(batched[side]), tuple(contracted[side])
                free = tuple(i for i in range(ndims[side]) if i not in (*batch, *last))
                mask = mask.transpose(*batch, *free, *last)
                mask = self._over(mask, range(ndims[side] - len(last), ndims[side]))
                others = (1,) * n_free[1 - side]
                lead, own = mask.shape[: len(batch)], mask.shape[len(batch) :][: len(free)]
                mask = mask.reshape((*lead, *((*own, *others), (*others, *own))[side]))
            sides.append(mask)
        return sides[0] | sides[1]

    def _moved(self, eqn: Equation, arrays: list[np.ndarray]) -> list[np.ndarray] | None:
        """What a movement makes of masks; None where places are computed."""
        if eqn.name in MOVES:
            found = MOVES[eqn.name](eqn.params, *arrays)
            return found if eqn.primitive.multiple_results else [found]
        table = self._table(eqn)
        flat = np.concatenate([*(a.ravel() for a in arrays), np.zeros(1, self.dtype)])
        return None if table is None else [flat[n] for n in table]

    def _table(self, eqn: Equation) -> list[np.ndarray] | None:
        return moved_elements(eqn, self.avals, self.fixed)

    def _written_to(self, eqn: Equation) -> np.ndarray | None:
        """The place of each update in the flat array, or NONE; None where places are computed."""
        array, where, updates = eqn.inputs
        index, shape = self.fixed(where), self._shape(array)
        if index is None:
            return None
        numbers = np.arange(math.prod(shape)).reshape(shape)
        return written_to(eqn, numbers, index, self._shape(updates))
