"""Sets of small integers carried through equations, element by element.

A set is a bit mask; zero is the empty set. A variable has one for all of its elements (an int), or
an array with as many axes, of length one where its elements agree: samples mostly do, so what is
held is of the size of a layer. What keeps elements apart is in `core.equations.links`; any other
operation mixes everything.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from core.equations.differential import is_real
from core.equations.links import MOVEMENT, SCATTERS, Links, carries_gradient
from core.equations.program import Atom, Equation

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
    """The equations of a step, as `core.equations.differential` writes them; sets hold integers
    below `n`."""

    def __init__(self, equations: Sequence[Equation], links: Links, n: int) -> None:
        self.equations, self.links, self.avals = equations, links, links.avals
        self.dtype = np.dtype(np.int64 if n < 63 else object)  # Python's integers hold any number

    def where(self, chosen: Any, one: Mask, other: Mask) -> np.ndarray:
        """`numpy.where` of masks, which as numbers of 64 bits would overflow."""
        return np.where(chosen, np.asarray(one, self.dtype), np.asarray(other, self.dtype))

    def forward(self, start: Mapping[int, Mask], at: At = lambda v, mask: mask) -> dict[int, Mask]:
        """What of `start` reaches the elements of each variable by differentiable paths; `at` may
        change what has reached one before it goes on."""
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
        for eqn in reversed(self.equations):
            outs = [marked.pop(v, 0) for v in eqn.outputs]
            if not any(map(np.any, outs)):
                continue
            held = list(map(self._array, outs, eqn.outputs))
            sent = self.links.backwards(eqn, held, np.bitwise_or, 0) if self._hands_on(eqn) else []
            known = [compact(mask) for mask in sent if mask is not None]
            if not known or len(known) < len(sent):
                found.update(zip(eqn.outputs, outs, strict=True))
                continue
            for a, mask in zip(eqn.inputs, known, strict=True):
                if self._moves(a) and np.any(mask):
                    marked[a] = marked[a] | mask if a in marked else mask
        for eqn in self.equations:
            if self._hands_on(eqn) and any(a in found for a in eqn.variables):
                masks = [found.get(a, 0) if isinstance(a, int) else 0 for a in eqn.inputs]
                held = list(map(self._array, masks, eqn.inputs))
                made = self.links.forwards(eqn, held, np.bitwise_or, 0) or []
                found.update(zip(eqn.outputs, map(compact, made), strict=False))
        return {v: mask for v, mask in found.items() if np.any(mask)}

    def _hands_on(self, eqn: Equation) -> bool:
        """Whether results are elements of the operands as they are."""
        if not all(map(self._moves, eqn.outputs)):
            return False
        if eqn.name in COPIES:
            return len({self.avals[v].dtype for v in (*eqn.variables, *eqn.outputs)}) == 1
        return eqn.name in MOVEMENT or eqn.name == "scatter"

    def _moves(self, atom: Atom) -> TypeGuard[int]:
        return isinstance(atom, int) and is_real(self.avals[atom])

    def _array(self, mask: Mask, atom: Atom) -> np.ndarray:
        """The mask with the axes of the elements."""
        if np.ndim(mask):
            return np.asarray(mask)
        return np.full((1,) * len(self.links.shape(atom)), mask, self.dtype)

    def _push(self, eqn: Equation, masks: list[Mask]) -> list[Mask]:
        apart = any(map(np.ndim, masks))
        if apart or (eqn.name in MOVEMENT and len(masks) > 1) or eqn.name in SCATTERS:
            held = list(map(self._array, masks, eqn.inputs))
            found = self.links.forwards(eqn, held, np.bitwise_or, 0)
            if found is not None:
                return list(map(compact, found))
        return [functools.reduce(operator.or_, map(union, masks))] * len(eqn.outputs)

    def _pull(self, eqn: Equation, outs: list[Mask]) -> list[Mask]:
        """Where elements are mixed, all operands get all."""
        everything = functools.reduce(operator.or_, map(union, outs))
        if not any(map(np.ndim, outs)) and len(outs) == 1:
            return [everything] * len(eqn.inputs)
        held = list(map(self._array, outs, eqn.outputs))
        found = self.links.backwards(eqn, held, np.bitwise_or, 0)
        return [everything if mask is None else compact(mask) for mask in found]
