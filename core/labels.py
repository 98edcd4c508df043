"""Which neuron does each element of a variable feed? Proves that a path is element-wise.

D-RTRL needs dh_t/dy_t and dh_t/dh_{t-1} to be one number per neuron. Every element of a new state
is labelled with its own position and the labels are carried backwards through the equations:
element-wise operations pass them on, data movement (slice, reshape, concatenate, ...) permutes
them, and an element that would need two labels, or an operation that mixes elements, is refused.
The result is exact and independent of values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from core.errors import NotRepresentable
from core.program import Constant, Equation, bind, flatten_jaxpr

__all__ = ["ELEMENTWISE", "NONE", "carries_gradient", "is_real", "propagate"]

NONE = -1  # the element feeds no neuron

# Operations that treat every element alike. The last two come from braintools and brainunit.
ELEMENTWISE = frozenset(
    """abs acos acosh add add_any asin asinh atan atan2 atanh cbrt clamp convert_element_type copy
    copy_p cos cosh digamma div erf erf_inv erfc exp exp2 expm1 integer_pow lgamma log log1p
    logistic max min mul neg nextafter pow real reduce_precision rem rsqrt select_n sin sinh
    sqrt square sub tan tanh
    heaviside_surrogate_gradient exprel""".split()  # noqa: SIM905  a word list reads better
)

# Operations that only move elements; each is run once on element numbers to learn where they go.
MOVEMENT = frozenset(
    """broadcast_in_dim concatenate dynamic_slice expand_dims gather pad reshape rev slice split
    squeeze transpose""".split()  # noqa: SIM905
)

# Operations through which no gradient flows, whatever their dtype.
BLOCKING = frozenset(
    """stop_gradient floor ceil round sign is_finite eq ne lt le gt ge argmax
    argmin""".split()  # noqa: SIM905
)

_CUSTOM_CALLS = {"custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}

_REMEDY = (
    "Keep the path from a weight's output to the state, and from state to state, element-wise; "
    "or put the mixing inside the operand of a weight, where it costs nothing; "
    "or train this model with core.BPTT."
)


def is_real(aval: Any) -> bool:
    """Whether a variable can carry a gradient."""
    return jnp.issubdtype(aval.dtype, jnp.inexact)


def carries_gradient(eqn: Equation, avals: Mapping[int, Any]) -> bool:
    """Whether differentiation passes through this equation at all."""
    if eqn.name in BLOCKING:
        return False
    return any(is_real(avals[v]) for v in eqn.outputs)


def propagate(
    equations: Iterable[Equation],
    avals: Mapping[int, Any],
    labels: dict[int, np.ndarray],
    state: str,
    *,
    relevant: Callable[[int], bool],
    stretch: Callable[[int], bool],
) -> dict[int, np.ndarray]:
    """Carry `labels` (variable -> int array of its shape) backwards; returns the same dict, filled.

    Args:
      equations: in execution order.
      labels: the labelled new states to start from.
      state: the state's name, for messages.
      relevant: whether a variable's gradient matters (it depends on a state, an operation's output
        or an element-wise parameter).
      stretch: whether a variable may be broadcast: true of element-wise parameters, which have one
        trace per neuron and receive the label array of the shape they are broadcast to.

    Raises:
      NotRepresentable: naming the primitive and the user's line.
    """
    for eqn in reversed(list(equations)):
        outs = [labels.get(v) for v in eqn.outputs]
        if all(o is None for o in outs) or not carries_gradient(eqn, avals):
            continue
        operands = [
            a for a in eqn.inputs if isinstance(a, int) and is_real(avals[a]) and relevant(a)
        ]
        if not operands:
            continue
        filled = [
            np.full(avals[v].shape, NONE) if o is None else o
            for v, o in zip(eqn.outputs, outs, strict=True)
        ]
        if (
            len(
                {
                    jnp.issubdtype(avals[v].dtype, jnp.complexfloating)
                    for v in (*operands, *eqn.outputs)
                }
            )
            > 1
        ):
            raise NotRepresentable(
                f"one derivative per neuron of the state {state}, by a path of complex or of real"
                " numbers alone",
                f"the operation '{eqn.name}', from one kind to the other, at {eqn.source}",
                "Keep the path in one kind, for example with complex weights and the real part in"
                " an output; or train this model with core.BPTT.",
            )
        if eqn.name in ELEMENTWISE:
            found = {a: _elementwise(a, filled[0], avals, stretch, eqn, state) for a in operands}
        elif eqn.name in MOVEMENT:
            found = _movement(eqn, filled, avals, state)
            found = {a: found[a] for a in operands}
        elif eqn.name in _CUSTOM_CALLS:
            found = _custom_call(eqn, filled, operands, state)
        else:
            raise NotRepresentable(
                f"an element-wise path into the state {state}",
                f"the operation '{eqn.name}' at {eqn.source}",
                _REMEDY,
            )
        for a, label in found.items():
            labels[a] = _merge(labels.get(a), label, eqn, state)
    return labels


def _elementwise(
    a: int,
    out: np.ndarray,
    avals: Mapping[int, Any],
    stretch: Callable[[int], bool],
    eqn: Equation,
    state: str,
) -> np.ndarray:
    shape = avals[a].shape
    if shape == out.shape or stretch(a):
        return out
    # Operands of size one along an axis are broadcast: one element feeds many neurons.
    padded = (1,) * (out.ndim - len(shape)) + tuple(shape)
    axes = tuple(i for i, (s, o) in enumerate(zip(padded, out.shape, strict=True)) if s != o)
    if (out.max(axis=axes) != out.min(axis=axes)).any():
        raise _mixing(eqn, state)
    return out.max(axis=axes).reshape(shape)


def _movement(
    eqn: Equation, outs: list[np.ndarray], avals: Mapping[int, Any], state: str
) -> dict[int, np.ndarray]:
    """Number the elements of all operands, move the numbers, and send the labels back."""
    operands: list[Any] = []
    ranges: list[tuple[int, int, int]] = []
    start = 1  # zero is left for padding and other constants
    for position, a in enumerate(eqn.inputs):
        is_index = position > 0 and eqn.name in ("dynamic_slice", "gather", "pad")
        if isinstance(a, Constant) or is_index:
            if not isinstance(a, Constant) and eqn.name != "pad":
                raise NotRepresentable(
                    f"fixed indices on the path into the state {state}",
                    f"'{eqn.name}' with computed indices at {eqn.source}",
                    "Index with Python integers or slices.",
                )
            value = np.asarray(a.value) if isinstance(a, Constant) else np.zeros(())
            operands.append(value if is_index and eqn.name != "pad" else np.zeros_like(value, int))
            continue
        shape = avals[a].shape
        size = int(np.prod(shape))
        operands.append(np.arange(start, start + size).reshape(shape))
        ranges.append((a, start, size))
        start += size
    with jax.ensure_compile_time_eval():
        moved = eqn.primitive.bind(
            *(jnp.asarray(o, jnp.int32) for o in operands),
            **eqn.primitive.get_bind_params(eqn.params),
        )
    moved = moved if eqn.primitive.multiple_results else [moved]
    table = np.full(start, NONE)
    for numbers, label in zip(moved, outs, strict=True):
        numbers, label = np.asarray(numbers).ravel(), label.ravel()
        keep = label != NONE
        table[numbers[keep]] = label[keep]
        if (table[numbers[keep]] != label[keep]).any():
            raise _mixing(eqn, state)
    found: dict[int, np.ndarray] = {}
    for a, first, size in ranges:  # an operand may be there twice
        label = table[first : first + size].reshape(avals[a].shape)
        found[a] = _merge(found.get(a), label, eqn, state)
    return found


def _custom_call(
    eqn: Equation, outs: list[np.ndarray], operands: list[int], state: str
) -> dict[int, np.ndarray]:
    """Look inside a function with its own derivative rule: its primal shows whether it mixes."""
    inner = flatten_jaxpr(eqn.params[_CUSTOM_CALLS[eqn.name]])
    seeds: dict[int, np.ndarray] = {}
    for v, label in zip(inner.outputs, outs, strict=True):
        if isinstance(v, int):
            seeds[v] = _merge(seeds.get(v), label, eqn, state)
    moved = _reached(
        inner.equations,
        (v for a, v in zip(eqn.inputs, inner.inputs, strict=True) if a in operands),
    )
    result = propagate(
        inner.equations,
        inner.avals,
        seeds,
        state,
        relevant=moved.__contains__,
        stretch=lambda _: False,
    )
    found: dict[int, np.ndarray] = {}
    for a, v in zip(eqn.inputs, inner.inputs, strict=True):
        if isinstance(a, int) and a in operands:
            label = result.get(v, np.full(inner.avals[v].shape, NONE))
            found[a] = _merge(found.get(a), label, eqn, state)
    _check_rule(eqn, outs, found, state)
    return found


def _check_rule(
    eqn: Equation, outs: list[np.ndarray], found: Mapping[int, np.ndarray], state: str
) -> None:
    """The derivative rule itself is element-wise too: what it pulls back from a neuron's elements
    goes to the same neuron's."""
    real = [i for i, a in enumerate(eqn.inputs) if isinstance(a, int) and a in found]
    inner = eqn.params[_CUSTOM_CALLS[eqn.name]]

    def pulled(primals: list[Any], cotangents: list[Any]) -> Any:
        def call(*moving: Any) -> Any:
            full = list(primals)
            for i, value in zip(real, moving, strict=True):
                full[i] = value
            return bind(eqn, full)

        return jax.vjp(call, *(primals[i] for i in real))[1](cotangents)

    like = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (*inner.in_avals, *inner.out_avals)]
    primals, cotangents = like[: len(eqn.inputs)], like[len(eqn.inputs) :]
    if any(not jnp.issubdtype(c.dtype, jnp.inexact) for c in cotangents):
        return  # float0 cotangents: no surrogate gradient has such outputs
    program = flatten_jaxpr(jax.make_jaxpr(pulled)(primals, cotangents))
    given = program.inputs[len(eqn.inputs) :]
    moved = _reached(program.equations, given)
    for i, out in zip(real, program.outputs, strict=True):
        label = found[eqn.inputs[i]]  # type: ignore[index]
        if not isinstance(out, int) or all(label.shape != o.shape for o in outs):
            continue
        back = propagate(
            program.equations,
            program.avals,
            {out: label},
            state,
            relevant=moved.__contains__,
            stretch=lambda _: False,
        )
        for v, wanted in zip(given, outs, strict=True):
            _merge(wanted, back.get(v, np.full(wanted.shape, NONE)), eqn, state)


def _reached(equations: Iterable[Equation], start: Iterable[int]) -> set[int]:
    """The variables that depend on those of `start`, themselves included."""
    found = set(start)
    for eqn in equations:
        if not found.isdisjoint(eqn.variables):
            found.update(eqn.outputs)
    return found


def _merge(old: np.ndarray | None, new: np.ndarray, eqn: Equation, state: str) -> np.ndarray:
    if old is None:
        return new
    if old.shape != new.shape or ((old != new) & (old != NONE) & (new != NONE)).any():
        raise _mixing(eqn, state)
    return np.where(old == NONE, new, old)


def _mixing(eqn: Equation, state: str) -> NotRepresentable:
    return NotRepresentable(
        f"that each element feeds one neuron of the state {state}",
        f"an element that feeds several, at the operation '{eqn.name}', {eqn.source}",
        _REMEDY,
    )
