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
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from core.equations.differential import is_real
from core.equations.program import Atom, Equation, aval_of

# Operations that treat every element alike. The last two come from braintools and brainunit.
ELEMENTWISE = frozenset(
    """abs acos acosh add add_any asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt clamp
    complex conj convert_element_type copy copy_p cos cosh digamma div erf erf_inv erfc exp exp2
    expm1 igamma igammac imag integer_pow lgamma log log1p logistic max min mul name neg nextafter
    polygamma polynomial pow pvary real reduce_precision regularized_incomplete_beta rem rsqrt
    select_n sin sinh sqrt square sub tan tanh zeta
    heaviside_surrogate_gradient exprel""".split()  # noqa: SIM905  a word list reads better
)

NONE = -1  # no element

# Operations that only move elements.
MOVEMENT = frozenset(
    """broadcast_in_dim concatenate dynamic_slice dynamic_update_slice expand_dims gather pad
    reshape rev slice split squeeze stack tile transpose unstack""".split()  # noqa: SIM905
)

# Operations that write, or add, elements at places within an array.
SCATTERS = frozenset(
    ["scatter", *(f"scatter-{how}" for how in ("add", "max", "min", "mul", "sub"))]
)

# Operations whose every result is made of the elements along some axes.
REDUCTIONS = frozenset(["reduce_max", "reduce_min", "reduce_prod", "reduce_sum"])

# Operations whose every result is made of elements along one axis, which stays.
ALONG_AXIS = {
    **dict.fromkeys(["cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"], "axis"),
    "sort": "dimension",
}

# Operations of floats through which no gradient flows.
BLOCKING = frozenset(["ceil", "floor", "round", "sign", "stop_gradient"])


def carries_gradient(eqn: Equation, avals: Mapping[int, Any]) -> bool:
    """Whether differentiation passes through this equation at all."""
    return eqn.name not in BLOCKING and any(is_real(avals[v]) for v in eqn.outputs)


def reached(
    equations: Iterable[Equation],
    sources: Mapping[int, frozenset[Any]],
    avals: Mapping[int, Any] | None = None,
) -> dict[int, frozenset[Any]]:
    """What of `sources` each variable depends on; what is one itself depends on nothing else.

    Args:
      avals: of all variables, where differentiable paths alone count.
    """
    found = dict(sources)
    for eqn in equations:
        ends = [v for v in eqn.outputs if v not in sources]
        if avals is not None:
            carries = carries_gradient(eqn, avals)
            ends = [v for v in ends if carries and is_real(avals[v])]
        here = frozenset[Any]().union(*(found[v] for v in eqn.variables if v in found))
        found.update(dict.fromkeys(ends, here))
    return found


class Links:
    """The links of the equations of a step; `fixed` is the value of an operand that constants alone
    decide, or None. Arrays have the axes of a variable, with a length of one where its elements
    agree."""

    def __init__(
        self, avals: Mapping[int, Any], fixed: Callable[[Atom], np.ndarray | None]
    ) -> None:
        self.avals, self.fixed = avals, fixed
        self._tables: dict[Equation, list[np.ndarray] | None] = {}

    def shape(self, atom: Atom) -> tuple[int, ...]:
        return tuple(aval_of(self.avals, atom).shape)

    def table(self, eqn: Equation) -> list[np.ndarray] | None:
        """Of a movement, for every output the number of the element that is moved there, all
        operands counted through, and the number after the last where none is; None where places are
        computed."""
        if eqn not in self._tables:
            self._tables[eqn] = self._moved_elements(eqn)
        return self._tables[eqn]

    def _moved_elements(self, eqn: Equation) -> list[np.ndarray] | None:
        values: list[Any] = []
        start = 0
        for a in eqn.inputs:
            shape, real = self.shape(a), is_real(aval_of(self.avals, a))
            size = math.prod(shape)
            value = np.arange(start, start + size).reshape(shape) if real else self.fixed(a)
            if value is None:
                return None
            values.append(value)
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

    def places(self, eqn: Equation) -> np.ndarray | None:
        """Of a scatter, the place of each update in the flat array, or NONE; None where places are
        computed."""
        array, where, updates = eqn.inputs
        index, shape = self.fixed(where), self.shape(array)
        if index is None:
            return None
        to, axes = eqn.params["dimension_numbers"], range(len(shape))
        whole = {*axes} - {*to.inserted_window_dims, *to.operand_batching_dims}
        window = (self.shape(updates)[i] for i in to.update_window_dims)
        sizes = dict(zip(sorted(whole), window, strict=True))
        with jax.ensure_compile_time_eval():
            numbers = lax.gather(
                jnp.arange(math.prod(shape)).reshape(shape),
                jnp.asarray(index),
                lax.GatherDimensionNumbers(*to),
                tuple(sizes.get(i, 1) for i in axes),
                mode=eqn.params["mode"],
                fill_value=NONE,
            )
        return np.asarray(numbers)

    def forwards(
        self, eqn: Equation, held: Sequence[np.ndarray], join: np.ufunc, none: int
    ) -> list[np.ndarray] | None:
        """What the results hold when each operand holds an array, None where elements are mixed or
        places computed. `join` is of what several elements hold; it leaves an element as it is that
        it joins with `none`."""
        if eqn.name in MOVEMENT:
            table, whole = self.table(eqn), map(self._full, held, eqn.inputs)
            flat = np.concatenate([*map(np.ravel, whole), np.full(1, none, held[0].dtype)])
            return None if table is None else [flat[numbers] for numbers in table]
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
        """What each operand holds when the results do; arguments and None as above."""
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

    def _axes(self, eqn: Equation, place: int) -> list[int | None] | None:
        """For each axis of an operand that of the result which lines up with it, None where it is
        summed over; None for all where an operation does something else."""
        ndim, n = len(self.shape(eqn.inputs[place])), len(self.shape(eqn.outputs[0]))
        if eqn.name in ELEMENTWISE:
            return [*range(n - ndim, n)]
        if eqn.name in REDUCTIONS:
            left = itertools.count()
            return [None if i in eqn.params["axes"] else next(left) for i in range(ndim)]
        if eqn.name in ALONG_AXIS and len(eqn.outputs) == 1:
            return [None if i == eqn.params[ALONG_AXIS[eqn.name]] else i for i in range(n)]
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


def _broadcast(params: Any, a: np.ndarray) -> np.ndarray:
    shape, axes = params["shape"], params["broadcast_dimensions"]
    aligned = [a.shape[axes.index(i)] if i in axes else 1 for i in range(len(shape))]
    return np.broadcast_to(a.reshape(aligned), shape)


def _slice(params: Any, a: np.ndarray) -> np.ndarray:
    strides = params["strides"] or (1,) * a.ndim
    return a[tuple(map(slice, params["start_indices"], params["limit_indices"], strides))]


# The commonest moves, without a compilation for each shape.
MOVES: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": lambda params, *arrays: np.concatenate(arrays, params["dimension"]),
    "reshape": lambda params, a: a.reshape(params["new_sizes"]),
    "slice": _slice,
    "split": lambda params, a: np.split(a, np.cumsum(params["sizes"])[:-1], params["axis"]),
    "squeeze": lambda params, a: a.squeeze(tuple(params["dimensions"])),
    "stack": lambda params, *arrays: np.stack(arrays, params["axis"]),
    "transpose": lambda params, a: a.transpose(params["permutation"]),
}
