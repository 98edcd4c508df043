"""Which elements of its operands each result of an operation is made of.

What is held for each element (the neuron that it feeds, a set of groups) passes through an
operation in both directions: forwards to the results, where what several elements hold is joined,
and backwards to the operands. Three kinds of operation keep elements apart: those that line axes up
(element-wise ones, sums, products), those that move elements, and those that write them somewhere.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from core.equations.differential import is_real
from core.equations.movement import MOVEMENT, MOVES, SCATTERS, moved_elements, written_to
from core.equations.program import Atom, Constant, Equation

__all__ = ["ELEMENTWISE", "Links", "carries_gradient", "differentiable"]

# Operations that treat every element alike. The last two come from braintools and brainunit.
ELEMENTWISE = frozenset(
    """abs acos acosh add add_any asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt clamp
    convert_element_type copy copy_p cos cosh digamma div erf erf_inv erfc exp exp2
    expm1 igamma igammac integer_pow lgamma log log1p logistic max min mul name neg nextafter
    polygamma polynomial pow pvary real reduce_precision regularized_incomplete_beta rem rsqrt
    select_n sin sinh sqrt square sub tan tanh zeta
    heaviside_surrogate_gradient exprel""".split()  # noqa: SIM905  a word list reads better
)

# Operations whose every result is made of the elements along some axes.
REDUCTIONS = frozenset(["reduce_max", "reduce_min", "reduce_prod", "reduce_sum"])

# Operations through which no gradient flows, whatever their dtype.
BLOCKING = frozenset(
    """stop_gradient floor ceil round sign is_finite eq ne lt le gt ge argmax
    argmin""".split()  # noqa: SIM905
)


def carries_gradient(eqn: Equation, avals: Mapping[int, Any]) -> bool:
    """Whether differentiation passes through this equation at all."""
    if eqn.name in BLOCKING:
        return False
    return any(is_real(avals[v]) for v in eqn.outputs)


def differentiable(avals: Mapping[int, Any]) -> Callable[[Equation], list[int]]:
    """The outputs of an equation to which differentiation passes, as `reached` asks."""

    def passes(eqn: Equation) -> list[int]:
        return [v for v in eqn.outputs if is_real(avals[v])] if carries_gradient(eqn, avals) else []

    return passes


class Links:
    """The links of the equations of a step.

    Arrays have the axes of a variable, with a length of one where its elements agree.

    Args:
      avals: of all variables.
      fixed: the value of an operand that constants alone decide, or None.
    """

    def __init__(
        self, avals: Mapping[int, Any], fixed: Callable[[Atom], np.ndarray | None]
    ) -> None:
        self.avals, self.fixed = avals, fixed
        self._tables: dict[Equation, list[np.ndarray] | None] = {}

    def shape(self, atom: Atom) -> tuple[int, ...]:
        return np.shape(atom.value) if isinstance(atom, Constant) else self.avals[atom].shape

    def table(self, eqn: Equation) -> list[np.ndarray] | None:
        """Of a movement, as `moved_elements`."""
        if eqn not in self._tables:
            self._tables[eqn] = moved_elements(eqn, self.avals, self.fixed)
        return self._tables[eqn]

    def places(self, eqn: Equation) -> np.ndarray | None:
        """Of a scatter, the place of each update in the flat array, or NONE; None where places are
        computed."""
        array, where, updates = eqn.inputs
        index, shape = self.fixed(where), self.shape(array)
        if index is None:
            return None
        numbers = np.arange(math.prod(shape)).reshape(shape)
        return written_to(eqn, numbers, index, self.shape(updates))

    def forwards(
        self, eqn: Equation, held: Sequence[np.ndarray], join: np.ufunc, none: int
    ) -> list[np.ndarray] | None:
        """What the results hold when each operand holds an array.

        Args:
          join: of what several elements hold.
          none: what an element without any holds; `join` leaves the other as it is.

        Returns:
          None where elements are mixed, or places computed.
        """
        if eqn.name in MOVEMENT:
            return self._moved(eqn, held, none)
        if eqn.name in SCATTERS:
            to = self.places(eqn)
            if to is None:
                return None
            array, inside = self._full(held[0], eqn.inputs[0]).flatten(), to >= 0
            if eqn.name == "scatter":
                array[to[inside]] = none
            join.at(array, to[inside], np.broadcast_to(held[2], to.shape)[inside])
            return [array.reshape(self.shape(eqn.inputs[0]))]
        n, made = len(self.shape(eqn.outputs[0])), []
        for place, a in enumerate(held):
            axes = self._axes(eqn, place)
            if axes is None:
                return None
            made.append(_forth(a, axes, n, join))
        return [functools.reduce(join, made)]

    def backwards(
        self, eqn: Equation, held: Sequence[np.ndarray], join: np.ufunc, none: int
    ) -> list[np.ndarray | None]:
        """What each operand holds when the results do; None as above. Arguments as above."""
        if eqn.name in MOVEMENT:
            shapes = [self.shape(a) for a in eqn.inputs]
            table, ends = self.table(eqn), np.cumsum([math.prod(shape) for shape in shapes])
            if table is None:
                return [None] * len(eqn.inputs)
            flat = np.full(ends[-1] + 1, none, held[0].dtype)
            for numbers, a in zip(table, held, strict=True):
                join.at(flat, numbers, np.broadcast_to(a, numbers.shape))
            pieces = np.split(flat, ends)
            return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=False)]
        if eqn.name in SCATTERS:
            to, array = self.places(eqn), self._full(held[0], eqn.inputs[0])
            where = np.full((1,) * len(self.shape(eqn.inputs[1])), none)
            if to is None:
                return [array, where, None]
            kept = array.flatten()
            if eqn.name == "scatter":
                kept[to[to >= 0]] = none
            return [kept.reshape(array.shape), where, np.append(array, none)[to]]
        axes = [self._axes(eqn, place) for place in range(len(eqn.inputs))]
        return [
            None if to is None else _back(held[0], to, self.shape(a), join)
            for to, a in zip(axes, eqn.inputs, strict=True)
        ]

    def _full(self, a: np.ndarray, atom: Atom) -> np.ndarray:
        return np.broadcast_to(a, self.shape(atom))

    def _moved(
        self, eqn: Equation, held: Sequence[np.ndarray], none: int
    ) -> list[np.ndarray] | None:
        whole = list(map(self._full, held, eqn.inputs))
        if eqn.name in MOVES:
            found = MOVES[eqn.name](eqn.params, *whole)
            return found if eqn.primitive.multiple_results else [found]
        table = self.table(eqn)
        flat = np.concatenate([*map(np.ravel, whole), np.full(1, none, whole[0].dtype)])
        return None if table is None else [flat[numbers] for numbers in table]

    def _axes(self, eqn: Equation, place: int) -> list[int | None] | None:
        """For each axis of an operand that of the result which lines up with it, None where it is
        summed over; None for all where an operation does something else."""
        ndim, n = len(self.shape(eqn.inputs[place])), len(self.shape(eqn.outputs[0]))
        if eqn.name in ELEMENTWISE:
            return [*range(n - ndim, n)]
        if eqn.name in REDUCTIONS:
            left = itertools.count()
            return [None if i in eqn.params["axes"] else next(left) for i in range(ndim)]
        if eqn.name != "dot_general":
            return None
        # A product has the batch axes, the free axes of the left and those of the right.
        contracted, batched = (axes[place] for axes in eqn.params["dimension_numbers"])
        free = [i for i in range(ndim) if i not in (*contracted, *batched)]
        first = len(batched) if place == 0 else n - len(free)
        to = {a: i for i, a in enumerate(batched)} | {a: first + i for i, a in enumerate(free)}
        return [to.get(i) for i in range(ndim)]


def _forth(a: np.ndarray, axes: Sequence[int | None], n: int, join: np.ufunc) -> np.ndarray:
    """Joined over the axes that are summed over, the others at their place among `n`."""
    summed = tuple(i for i, to in enumerate(axes) if to is None)
    order = np.argsort([to for to in axes if to is not None])
    found = join.reduce(a, axis=summed).transpose(order)
    return np.expand_dims(found, [i for i in range(n) if i not in axes])


def _back(
    a: np.ndarray, axes: Sequence[int | None], shape: Sequence[int], join: np.ufunc
) -> np.ndarray:
    """Joined over the axes along which an operand of this shape was spread."""
    own = [to for to in axes if to is not None]
    lacking = tuple(i for i in range(a.ndim) if i not in own)
    one = tuple(to for i, to in enumerate(axes) if to is not None and shape[i] == 1)
    found = join.reduce(join.reduce(a, axis=one, keepdims=True), axis=lacking)
    return np.expand_dims(
        found.transpose(np.argsort(np.argsort(own))), [i for i, to in enumerate(axes) if to is None]
    )
