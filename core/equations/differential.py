"""A step as differentiation sees it: plain equations that say which element moves which.

What passes through a function with a rule of its own (`jax.custom_jvp`, `jax.custom_vjp`) is what
its rule says, whatever its value does: a spike is a step function with a smooth derivative, a
straight-through estimator the reverse. Such a function is replaced by the equations of its tangent.
Branches, loops and wrapped functions are written out. All of it is for analysis: the derivatives of
these equations have the pattern of the step's own, their values mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core as jex

from core.equations.program import Atom, Equation, Program, Writer, bind, like, program_of

# Functions with a rule of their own.
RULES = ("custom_jvp_call", "custom_vjp_call")

# A longer loop is not written out, and refused where a gradient would pass through it.
LONGEST_LOOP = 4096


def is_real(aval: Any) -> bool:
    """Whether a variable can carry a gradient."""
    return _inexact(aval.dtype)


@cache
def _inexact(dtype: Any) -> bool:
    return bool(jnp.issubdtype(dtype, jnp.inexact))


def differential(program: Program, equations: Iterable[Equation], moving: Iterable[int]) -> Program:
    """Some equations of a program, in order, with rules, branches and loops written out.

    Args:
      moving: variables with respect to which is differentiated; what they do not reach stays as it
        is.
    """
    return _Differential(program, moving).rewritten(program, equations)


class _Differential(Writer):
    def __init__(self, program: Program, moving: Iterable[int]) -> None:
        super().__init__(program.avals)
        self.moving, self.known = set(moving), program.written_out

    def write(self, eqn: Equation) -> None:
        """Append an equation, or what it stands for."""
        moves = any(map(self._moves, eqn.inputs))
        program = self._program(eqn) if moves else None
        if program is not None:
            # Moving operands under a name of their own: inside, the shape of a parameter is not
            # free.
            inputs = [self._copied(eqn, a) for a in eqn.inputs]
            outputs = [v for v in eqn.outputs if eqn.name not in RULES or is_real(self.avals[v])]
            self.graft(program, inputs, outputs, eqn.source_info)
            return
        self.written.append(eqn)
        if moves and eqn.name != "stop_gradient":
            self.moving.update(eqn.outputs)

    def _moves(self, a: Atom) -> bool:
        return isinstance(a, int) and a in self.moving and is_real(self.avals[a])

    def _copied(self, eqn: Equation, a: Atom) -> Atom:
        if not isinstance(a, int) or not self._moves(a):
            return a
        own = self.fresh(self.avals[a])
        self.copy(a, own, eqn.source_info)
        return own

    def _program(self, eqn: Equation) -> Program | None:
        """Of all operands: a function that is called twice has the same parameters there, and may
        be given other constants."""
        if eqn.name not in _STANDING:
            return None
        key = (id(eqn.params), *(isinstance(a, int) for a in eqn.inputs))
        if key not in self.known:
            f = _STANDING[eqn.name](eqn, self.avals)
            operands = [like(self.avals, a) for a in eqn.inputs]
            self.known[key] = None if f is None else program_of(f, *operands)
        return self.known[key]


# -- what stands for an equation, as a function of its operands; None where it stays


def _chosen(eqn: Equation, _: Any) -> Callable[..., Any]:
    """Of all branches."""
    branches = [jex.jaxpr_as_fun(branch) for branch in eqn.params["branches"]]

    def chosen(which: Any, *operands: Any) -> list[Any]:
        every = zip(*(branch(*operands) for branch in branches), strict=True)
        return [lax.select_n(which, *made) for made in every]

    return chosen


def _counts(params: Mapping[str, Any]) -> tuple[int, int]:
    """How many operands of a scan are constants, and how many are carried."""
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = params["ft_in"].unpack()  # since jax 0.11
    return len(consts), len(carry)


def unrolled(params: Mapping[str, Any], *operands: Any) -> list[Any]:
    """`lax.scan` step by step."""
    n_consts, n_carry = _counts(params)
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


def tangent(eqn: Equation, avals: Mapping[int, Any]) -> Callable[..., Any] | None:
    """What a rule says: from the operands, at which it is taken and which move, to the real outputs
    as they move. None where what is pulled back is not linear in the cotangents.

    A rule may exist in reverse alone, so it is taken there and transposed.
    """
    moving = [i for i, a in enumerate(eqn.inputs) if isinstance(a, int) and is_real(avals[a])]
    made = [like(avals, v) for v in eqn.outputs if is_real(avals[v])]
    primals = [like(avals, a) for a in eqn.inputs]

    def pull(primals: Sequence[Any]) -> Any:
        def call(*values: Any) -> list[Any]:
            full = list(primals)
            for i, value in zip(moving, values, strict=True):
                full[i] = value
            out = bind(eqn, full)
            return [o for o, v in zip(out, eqn.outputs, strict=True) if is_real(avals[v])]

        return jax.vjp(call, *(primals[i] for i in moving))[1]

    back = program_of(lambda p, d: pull(p)(d), primals, made)
    if not is_linear(back, back.inputs[len(primals) :]):
        return None

    def push(*operands: Any) -> Any:
        at = [lax.stop_gradient(a) for a in operands]
        return jax.linear_transpose(pull(at), made)(tuple(operands[i] for i in moving))[0]

    return push


def _turned(eqn: Equation, _: Any) -> Callable[..., Any] | None:
    return partial(unrolled, eqn.params) if eqn.params["length"] <= LONGEST_LOOP else None


# The last ones would be inlined but for what they tell XLA or vmap.
_STANDING: dict[str, Any] = {
    **dict.fromkeys(RULES, tangent),
    "cond": _chosen,
    "scan": _turned,
    "custom_vmap_call": lambda eqn, _: jex.jaxpr_as_fun(eqn.params["call"]),
    **dict.fromkeys(
        ["device_put", "optimization_barrier", "sharding_constraint"],
        lambda *_: lambda *operands: operands,
    ),
}


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
        return a in zero if isinstance(a, int) else _is_zero(a.value)

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
