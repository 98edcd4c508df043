"""Which neuron does each element of a variable feed? Proves that a path is element-wise.

D-RTRL needs dh_t/dy_t and dh_t/dh_{t-1} to be one number per neuron. Every element of a new state
is labelled with its own position and the labels are carried backwards through the equations, as
`core.equations.differential` writes them: element-wise operations pass them on, data movement
(slice, reshape, concatenate, ...) permutes them, sums hand them to every term, and an element that
would need two labels, or an operation that mixes elements, is refused. The result is exact and
independent of values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from core.equations.differential import RULES, is_real
from core.equations.movement import MOVEMENT, NONE, SCATTERS, moved_elements, written_to
from core.equations.program import Atom, Constant, Equation
from core.errors import NotRepresentable

__all__ = [
    "ELEMENTWISE",
    "REDUCTIONS",
    "carries_gradient",
    "differentiable",
    "propagate",
    "unlinear",
]

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

_REMEDY = (
    "Keep the path from a weight's output to the state, and from state to state, element-wise; "
    "to feed several neurons, repeat a weight's columns and not its output; "
    "or put the mixing inside the operand of a weight, where it costs nothing; "
    "or train this model with core.BPTT."
)

_BROADCAST = (
    "Give the parameter the shape of the state (jnp.broadcast_to) before a function with a"
    " derivative rule of its own, a branch or a loop reads it; or train this model with core.BPTT."
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


@dataclass(frozen=True, eq=False)
class _Paths:
    """What the rules of the operations look up."""

    avals: Mapping[int, Any]
    state: str
    relevant: Callable[[int], bool]
    stretch: Callable[[int], bool]
    fixed: Callable[[Atom], np.ndarray | None]
    inside: frozenset[int]  # parameters as a rule, a branch or a loop reads them

    def mixing(self, eqn: Equation) -> NotRepresentable:
        return NotRepresentable(
            f"that each element feeds one neuron of the state {self.state}",
            f"an element that feeds several, at the operation '{eqn.name}', {eqn.source}",
            _REMEDY if self.inside.isdisjoint(eqn.variables) else _BROADCAST,
        )

    def merge(self, old: np.ndarray | None, new: np.ndarray, eqn: Equation) -> np.ndarray:
        """The labels of one variable by two ways."""
        if old is None:
            return new
        if old.shape != new.shape or ((old != new) & (old != NONE) & (new != NONE)).any():
            raise self.mixing(eqn)
        return np.where(old == NONE, new, old)


def propagate(
    equations: Iterable[Equation],
    avals: Mapping[int, Any],
    labels: dict[int, np.ndarray],
    state: str,
    *,
    relevant: Callable[[int], bool],
    stretch: Callable[[int], bool],
    fixed: Callable[[Atom], np.ndarray | None],
) -> dict[int, np.ndarray]:
    """Carry `labels` (variable -> int array of its shape) backwards; returns the same dict, filled.

    Args:
      equations: in execution order, as `core.equations.differential` writes them.
      labels: the labelled new states to start from.
      state: the state's name, for messages.
      relevant: whether a variable's gradient matters (it depends on a state, an operation's output
        or an element-wise parameter).
      stretch: whether a variable may be broadcast: true of element-wise parameters, which have one
        trace per neuron and receive the label array of the shape they are broadcast to.
      fixed: the value of an operand that constants alone decide, or None.

    Raises:
      NotRepresentable: naming the primitive and the user's line.
    """
    equations = list(equations)
    inside: set[int] = set()
    for eqn in equations:
        own = [v for v in eqn.variables if relevant(v)]
        copied = eqn.name == "copy" and any(map(stretch, own))
        if copied or (own and inside.issuperset(own)):
            inside.update(eqn.outputs)
    paths = _Paths(avals, state, relevant, stretch, fixed, frozenset(inside))
    for eqn in reversed(equations):
        outs = [labels.get(v) for v in eqn.outputs]
        if all(o is None for o in outs) or not carries_gradient(eqn, avals):
            continue
        operands = [
            a for a in eqn.inputs if isinstance(a, int) and is_real(avals[a]) and relevant(a)
        ]
        if not operands:
            continue
        _one_kind(eqn, operands, paths)
        filled = [
            np.full(avals[v].shape, NONE) if o is None else o
            for v, o in zip(eqn.outputs, outs, strict=True)
        ]
        for a, label in _fed(eqn, filled, operands, paths):
            labels[a] = paths.merge(labels.get(a), label, eqn)
    return labels


def _one_kind(eqn: Equation, operands: list[int], paths: _Paths) -> None:
    found = (paths.avals[v].dtype for v in (*operands, *eqn.outputs))
    if len({jnp.issubdtype(dtype, jnp.complexfloating) for dtype in found}) > 1:
        raise NotRepresentable(
            f"one derivative per neuron of the state {paths.state}, by a path of complex or of real"
            " numbers alone",
            f"the operation '{eqn.name}', from one kind to the other, at {eqn.source}",
            "Keep the path in one kind, for example with complex weights and the real part in"
            " an output; or train this model with core.BPTT.",
        )


def _fed(
    eqn: Equation, outs: list[np.ndarray], operands: list[int], paths: _Paths
) -> list[tuple[int, np.ndarray]]:
    """The labels of the operands, one by one: the same variable may be there twice."""
    name = eqn.name
    if name in ELEMENTWISE:
        return [(a, _elementwise(a, outs[0], eqn, paths)) for a in operands]
    if name in MOVEMENT:
        return _movement(eqn, outs, operands, paths)
    if name in REDUCTIONS:
        (a,), (out,) = operands, outs
        return [(a, np.broadcast_to(np.expand_dims(out, eqn.params["axes"]), paths.avals[a].shape))]
    if name in SCATTERS:
        return _scatter(eqn, outs[0], operands, paths)
    if name == "dot_general":
        return [
            (a, _product(eqn, side, paths.avals[a].shape, outs[0], paths))
            for side, a in enumerate(eqn.inputs)
            if isinstance(a, int) and a in operands
        ]
    if name in RULES:
        raise unlinear(eqn)
    raise NotRepresentable(
        f"an element-wise path into the state {paths.state}",
        f"the operation '{name}' at {eqn.source}",
        _REMEDY,
    )


def unlinear(
    eqn: Equation,
    remedy: str = "Clip the whole gradient instead (clip_norm of core.train), or train with"
    " core.BPTT.",
) -> NotRepresentable:
    """The refusal of a rule that `core.equations.differential` could not write out."""
    return NotRepresentable(
        "derivative rules that are linear in the cotangent",
        f"the rule of '{eqn.params['call_jaxpr'].jaxpr.debug_info.func_name}' at {eqn.source},"
        " which clips it or the like",
        remedy,
    )


def _elementwise(a: int, out: np.ndarray, eqn: Equation, paths: _Paths) -> np.ndarray:
    shape = paths.avals[a].shape
    if shape == out.shape or paths.stretch(a):
        return out
    # Operands of size one along an axis are broadcast: one element feeds many neurons.
    padded = (1,) * (out.ndim - len(shape)) + tuple(shape)
    axes = tuple(i for i, (s, o) in enumerate(zip(padded, out.shape, strict=True)) if s != o)
    return _one_label(out, axes, eqn, paths).reshape(shape)


def _one_label(out: np.ndarray, axes: tuple[int, ...], eqn: Equation, paths: _Paths) -> np.ndarray:
    """The label that all elements along some axes agree on."""
    found = out.max(axis=axes)
    if (found != out.min(axis=axes)).any():
        raise paths.mixing(eqn)
    return found


def _movement(
    eqn: Equation, outs: list[np.ndarray], operands: list[int], paths: _Paths
) -> list[tuple[int, np.ndarray]]:
    """Send the labels back to where their elements were moved from."""
    shapes = [
        np.shape(a.value) if isinstance(a, Constant) else paths.avals[a].shape for a in eqn.inputs
    ]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    moved = moved_elements(eqn, paths.avals, paths.fixed)
    if moved is None:
        raise _computed(eqn, paths)
    sizes = np.diff(ends, prepend=0, append=ends[-1] + 1)
    ours = np.repeat([*(a in operands for a in eqn.inputs), False], sizes)
    labels = np.full(len(ours), NONE)
    for numbers, label in zip(moved, outs, strict=True):
        keep = (label != NONE) & ours[numbers]
        labels[numbers[keep]] = label[keep]
        if (labels[numbers[keep]] != label[keep]).any():
            raise paths.mixing(eqn)
    pieces = zip(eqn.inputs, np.split(labels, ends), shapes, strict=False)
    return [(a, piece.reshape(shape)) for a, piece, shape in pieces if a in operands]


def _computed(eqn: Equation, paths: _Paths) -> NotRepresentable:
    """The refusal of places that are not known beforehand."""
    table = isinstance(eqn.inputs[0], int) and paths.stretch(eqn.inputs[0])
    return NotRepresentable(
        f"fixed indices on the path into the state {paths.state}",
        f"'{eqn.name}' with computed indices at {eqn.source}",
        "Look a parameter up by a product: jax.nn.one_hot(index, len(table)) @ table."
        if table
        else "Index with Python integers, slices or NumPy arrays; or index inside the operand"
        " of a weight; or train this model with core.BPTT.",
    )


def _scatter(
    eqn: Equation, out: np.ndarray, operands: list[int], paths: _Paths
) -> list[tuple[int, np.ndarray]]:
    """An update feeds the element that it is written to; the rest stays where it is."""
    array, where, updates = eqn.inputs
    found = []
    if array in operands:
        found.append((array, out))
    if updates in operands:
        index = paths.fixed(where)
        if index is None:
            raise _computed(eqn, paths)
        found.append((updates, written_to(eqn, out, index, paths.avals[updates].shape)))
    return found


def _product(
    eqn: Equation, side: int, shape: tuple[int, ...], out: np.ndarray, paths: _Paths
) -> np.ndarray:
    """One operand of a product of data with data: free axes of the other spread its elements."""
    contracting, batch = (axes[side] for axes in eqn.params["dimension_numbers"])
    free = [i for i in range(len(shape)) if i not in (*contracting, *batch)]
    others = out.ndim - len(batch) - len(free)
    n = len(batch)
    spread = range(n + len(free), out.ndim) if side == 0 else range(n, n + others)
    label = _one_label(out, tuple(spread), eqn, paths)
    label = np.broadcast_to(
        label.reshape((*label.shape, *(1,) * len(contracting))),
        (*label.shape, *(shape[i] for i in contracting)),
    )
    return label.transpose(np.argsort([*batch, *free, *contracting]))
