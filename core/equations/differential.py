"""A step as differentiation sees it: plain equations that say which element moves which.

What passes through a function with a rule of its own (`jax.custom_jvp`, `jax.custom_vjp`) is what
its rule says, whatever its value does: a spike is a step function with a smooth derivative, a
straight-through estimator the reverse. Such a function is replaced by the equations of its tangent.
Branches, loops and wrapped functions are written out. All of it is for analysis: the derivatives of
these equations have the pattern of the step's own, their values mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core as jex
from jax.extend.core import primitives

from core.equations.program import Atom, Constant, Equation, Program, bind, flatten_jaxpr, grafted

__all__ = ["LONGEST_LOOP", "RULES", "counts", "differential", "is_real", "tangent", "unrolled"]

# Functions with a rule of their own.
RULES = ("custom_jvp_call", "custom_vjp_call")

# Calls that hold a jaxpr under this name, and would be inlined but for what they tell XLA or vmap.
_WRAPPED = {"custom_vmap_call": "call"}

# A longer loop is not written out, and refused where a gradient would pass through it.
LONGEST_LOOP = 4096


def is_real(aval: Any) -> bool:
    """Whether a variable can carry a gradient."""
    return _inexact(aval.dtype)


@cache
def _inexact(dtype: Any) -> bool:
    return bool(jnp.issubdtype(dtype, jnp.inexact))


def differential(
    equations: Iterable[Equation],
    avals: Mapping[int, Any],
    moving: Iterable[int],
    known: dict[int, Program | None],
) -> tuple[tuple[Equation, ...], dict[int, Any]]:
    """The equations with rules, branches and loops written out, and the avals of all variables.

    Args:
      equations: in execution order.
      moving: variables with respect to which is differentiated; what they do not reach stays as it
        is.
      known: programs by the id of the equation's parameters, to be kept between calls; filled.
    """
    writer = _Writer(dict(avals), set(moving), known)
    for eqn in equations:
        writer.write(eqn)
    return tuple(writer.written), writer.avals


class _Writer:
    def __init__(
        self, avals: dict[int, Any], moving: set[int], known: dict[int, Program | None]
    ) -> None:
        self.avals, self.moving, self.known = avals, moving, known
        self.written: list[Equation] = []
        self.count = max(avals, default=-1)

    def write(self, eqn: Equation) -> None:
        """Append an equation, or what it stands for."""
        if not any(v in self.moving and is_real(self.avals[v]) for v in eqn.variables):
            self.written.append(eqn)
        elif eqn.name in RULES:
            self._rule(eqn)
        elif eqn.name == "cond":
            self._branches(eqn)
        elif eqn.name == "optimization_barrier":
            for a, v in zip(eqn.inputs, eqn.outputs, strict=True):
                self._append(eqn, primitives.copy_p, (a,), v)
        else:
            program = self._program(eqn, _body)
            if program is None:
                self._keep(eqn)
            else:
                self._graft(eqn, program, self._copied(eqn), eqn.outputs)

    def _append(self, eqn: Equation, primitive: Any, inputs: tuple[Atom, ...], output: int) -> None:
        new = Equation(primitive, inputs, (output,), {}, eqn.source_info)
        self.written.append(new)
        if not self.moving.isdisjoint(new.variables):
            self.moving.add(output)

    def _fresh(self, aval: Any) -> int:
        self.count += 1
        self.avals[self.count] = aval
        return self.count

    def _program(self, eqn: Equation, make: Any) -> Program | None:
        key = id(eqn.params)
        if key not in self.known:
            self.known[key] = make(eqn, self.avals)
        return self.known[key]

    def _rule(self, eqn: Equation) -> None:
        program = self._program(eqn, tangent)
        if program is None:  # not linear
            self._keep(eqn)
            return
        at: list[Atom] = []
        for a in eqn.inputs:
            if isinstance(a, int) and is_real(self.avals[a]):
                v = self._fresh(self.avals[a])
                self._append(eqn, primitives.stop_gradient_p, (a,), v)
                self.moving.discard(v)
                a = v
            at.append(a)
        moved = [a for a in self._copied(eqn) if isinstance(a, int) and is_real(self.avals[a])]
        outputs = [v for v in eqn.outputs if is_real(self.avals[v])]
        self._graft(eqn, program, [*at, *moved], outputs)

    def _branches(self, eqn: Equation) -> None:
        which, *operands = self._copied(eqn)
        ends = []
        for k, branch in enumerate(eqn.params["branches"]):
            program = flatten_jaxpr(branch)
            ends.append([self._fresh(self.avals[v]) for v in eqn.outputs])
            self._graft(eqn, program, operands, ends[k])
        for v, *made in zip(eqn.outputs, *ends, strict=True):
            self._append(eqn, primitives.select_n_p, (which, *made), v)

    def _copied(self, eqn: Equation) -> list[Atom]:
        """The operands, moving ones under a name of their own: inside, the shape of a parameter is
        not free."""
        found: list[Atom] = []
        for a in eqn.inputs:
            if isinstance(a, int) and a in self.moving and is_real(self.avals[a]):
                v = self._fresh(self.avals[a])
                self._append(eqn, primitives.copy_p, (a,), v)
                a = v
            found.append(a)
        return found

    def _keep(self, eqn: Equation) -> None:
        self.written.append(eqn)
        self.moving.update(eqn.outputs)

    def _graft(
        self, eqn: Equation, program: Program, inputs: Sequence[Atom], outputs: Sequence[int]
    ) -> None:
        """Write a program of its own in place of `eqn`."""
        inner, ends = grafted(program, inputs, outputs, self._fresh, eqn.source_info)
        for new in inner:
            self.write(new)
        for a, v in zip(ends, outputs, strict=True):
            if a != v:
                self._append(eqn, primitives.copy_p, (a,), v)


# -- programs that stand for an equation


def _body(eqn: Equation, avals: Mapping[int, Any]) -> Program | None:
    """What a call or a loop computes; None for a single operation."""
    if eqn.name in _WRAPPED:
        return flatten_jaxpr(eqn.params[_WRAPPED[eqn.name]])
    if eqn.name == "scan" and eqn.params["length"] <= LONGEST_LOOP:
        operands = [_like(avals, a) for a in eqn.inputs]
        return flatten_jaxpr(jax.make_jaxpr(partial(unrolled, eqn.params))(*operands))
    return None


def counts(params: Mapping[str, Any]) -> tuple[int, int]:
    """How many operands of a scan are constants, and how many are carried."""
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = params["ft_in"].unpack()  # since jax 0.11
    return len(consts), len(carry)


def unrolled(params: Mapping[str, Any], *operands: Any) -> list[Any]:
    """`lax.scan` step by step."""
    n_consts, n_carry = counts(params)
    consts, carry = operands[:n_consts], list(operands[n_consts : n_consts + n_carry])
    xs, body = operands[n_consts + n_carry :], jex.jaxpr_as_fun(params["jaxpr"])
    steps = range(params["length"])
    made: dict[int, list[Any]] = {}
    for t in reversed(steps) if params["reverse"] else steps:
        at = [lax.index_in_dim(x, t, keepdims=False) for x in xs]
        out = body(*consts, *carry, *at)
        carry, made[t] = out[:n_carry], out[n_carry:]
    ys = zip(*(made[t] for t in steps), strict=True)
    return [*carry, *(jnp.stack(y) for y in ys)]


def tangent(eqn: Equation, avals: Mapping[int, Any]) -> Program | None:
    """What a rule says: from the operands, and tangents of the real ones, to the tangents of the
    real outputs. None where what is pulled back is not linear in the cotangents.

    A rule may exist in reverse alone, so it is taken there and transposed.
    """
    moving = [i for i, a in enumerate(eqn.inputs) if isinstance(a, int) and is_real(avals[a])]
    made = [_like(avals, v) for v in eqn.outputs if is_real(avals[v])]
    primals = [_like(avals, a) for a in eqn.inputs]

    def pull(primals: list[Any]) -> Any:
        def call(*values: Any) -> list[Any]:
            full = list(primals)
            for i, value in zip(moving, values, strict=True):
                full[i] = value
            out = bind(eqn, full)
            return [o for o, v in zip(out, eqn.outputs, strict=True) if is_real(avals[v])]

        return jax.vjp(call, *(primals[i] for i in moving))[1]

    back = flatten_jaxpr(jax.make_jaxpr(lambda p, d: pull(p)(d))(primals, made))
    if not is_linear(back, back.inputs[len(primals) :]):
        return None

    def push(primals: list[Any], moved: list[Any]) -> Any:
        return jax.linear_transpose(pull(primals), made)(tuple(moved))[0]

    return flatten_jaxpr(jax.make_jaxpr(push)(primals, [primals[i] for i in moving]))


def _like(avals: Mapping[int, Any], a: Atom) -> jax.ShapeDtypeStruct:
    aval = jax.typeof(a.value) if isinstance(a, Constant) else avals[a]
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype)


# -- whether a program is linear

# Of every operand, or of those that may be linear; the others are then constant.
_SUMS = frozenset(
    """add add_any broadcast_in_dim concatenate convert_element_type copy copy_p cumsum expand_dims
    imag neg pad pvary real reduce_precision reduce_sum reshape rev scatter-add select_n slice split
    squeeze stack sub tile transpose""".split()  # noqa: SIM905
)
_PRODUCTS = frozenset(["conv_general_dilated", "dot_general", "mul"])
_OF_THE_FIRST = frozenset(["div", "dynamic_slice", "gather"])


def is_linear(program: Program, variables: Iterable[int]) -> bool:
    """Whether the outputs are linear in `variables`: also zero where these are."""
    linear = set(variables)
    zero = {v for v, value in program.constants.items() if _is_zero(value)}

    def nothing(a: Atom) -> bool:
        return _is_zero(a.value) if isinstance(a, Constant) else a in zero

    for eqn in program.equations:
        moved = [isinstance(a, int) and a in linear for a in eqn.inputs]
        if not any(moved):
            if eqn.name in _SUMS and all(map(nothing, eqn.inputs)):
                zero.update(eqn.outputs)
            continue
        at = {"select_n": 0, "scatter-add": 1}.get(eqn.name)  # which operand says where
        operands = [a for i, a in enumerate(eqn.inputs) if i != at]
        straight = (
            (eqn.name in _SUMS and all(nothing(a) or a in linear for a in operands))
            or (eqn.name in _PRODUCTS and sum(moved) == 1)
            or (eqn.name in _OF_THE_FIRST and moved[0] and sum(moved) == 1)
        )
        if not straight or (at is not None and moved[at]):
            return False
        linear.update(eqn.outputs)
    return all(nothing(a) or a in linear for a in program.outputs)


def _is_zero(value: Any) -> bool:
    return not isinstance(value, jax.core.Tracer) and not np.any(np.asarray(value))
