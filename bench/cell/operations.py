"""Floating-point operations and bytes of a jaxpr, counted right through scans.

XLA's own cost analysis counts the body of a loop once, whatever its length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax.extend.core as jex
import jax.numpy as jnp


def names(words: str) -> frozenset[str]:
    """Primitives by name."""
    return frozenset(words.split())


# One operation per element of the result.
ELEMENTWISE = names(
    """add sub mul div rem neg abs sign max min pow integer_pow exp exp2 expm1 log log1p sqrt rsqrt
    cbrt square tanh sin cos logistic erf add_any select_n clamp floor ceil round"""
)
# One operation per element of the operand.
_REDUCTIONS = names(
    """reduce_sum reduce_max reduce_min reduce_prod argmax argmin cumsum cumprod cummax cummin
    cumlogsumexp"""
)


class Work(NamedTuple):
    """Work of a program."""

    flops: float = 0.0  # floating-point operations, a multiply-add counted as two
    product_flops: float = 0.0  # the part of them in matrix products
    bytes: float = 0.0  # operands and results of these, each touched once per execution

    def plus(self, other: Work, times: float = 1.0) -> Work:
        """This work and ``times`` the other."""
        return Work(*(mine + times * theirs for mine, theirs in zip(self, other, strict=True)))


def work_of(jaxpr: Any) -> Work:
    """Work of one execution of a (closed) jaxpr, without what no output needs: XLA drops that."""
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    total = Work()
    for equation in needed(jaxpr):
        total = total.plus(_work_of_equation(equation))
    return total


def needed(jaxpr: Any) -> list[Any]:
    """The equations that the results of a jaxpr depend on, in order."""
    wanted, found = set(variables(jaxpr.outvars)), []
    for equation in reversed(jaxpr.eqns):
        if equation.effects or not wanted.isdisjoint(equation.outvars):
            found.append(equation)
            wanted.update(variables(equation.invars))
    return found[::-1]


def variables(atoms: Iterable[Any]) -> list[Any]:
    """Those of the operands that are no constants written into the program."""
    return [atom for atom in atoms if not isinstance(atom, jex.Literal)]


def bodies(equation: Any) -> list[Any]:
    """The jaxprs that an equation holds."""
    return [
        item
        for value in equation.params.values()
        for item in (value if isinstance(value, tuple | list) else (value,))
        if isinstance(item, jex.ClosedJaxpr | jex.Jaxpr)
    ]


def _work_of_equation(equation: Any) -> Work:
    name = equation.primitive.name
    inner = bodies(equation)
    if name == "scan":
        return Work().plus(work_of(equation.params["jaxpr"]), equation.params["length"])
    if name == "while":
        # The program does not say how often: once.
        return work_of(equation.params["body_jaxpr"]).plus(work_of(equation.params["cond_jaxpr"]))
    if name == "cond":
        return max(
            (work_of(branch) for branch in equation.params["branches"]), key=lambda work: work.flops
        )
    if inner:
        # jit, remat, custom derivatives: the body that is executed comes first.
        return work_of(inner[0])
    if name in ("dot_general", "conv_general_dilated"):
        return _product(equation)
    if name in ELEMENTWISE:
        return Work(flops=sum(_elements(v) for v in equation.outvars if _is_float(v)))
    if name in _REDUCTIONS:
        return Work(flops=sum(_elements(v) for v in equation.invars if _is_float(v)))
    return Work()


def _product(equation: Any) -> Work:
    (left, right), out = equation.invars, equation.outvars[0]
    numbers = equation.params["dimension_numbers"]
    if equation.primitive.name == "dot_general":
        depth = math.prod(left.aval.shape[d] for d in numbers[0][0])
    else:
        depth = _elements(right) / right.aval.shape[numbers.rhs_spec[0]]
    flops = 2.0 * _elements(out) * depth
    moved = sum(_elements(v) * v.aval.dtype.itemsize for v in (left, right, out))
    return Work(flops, flops, moved)


def _elements(variable: Any) -> float:
    return float(math.prod(variable.aval.shape))


def _is_float(variable: Any) -> bool:
    return bool(jnp.issubdtype(variable.aval.dtype, jnp.floating))
