"""What a jaxpr costs: operations and bytes, right through scans, and the most bytes alive at once.

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
# What XLA computes where its result is read, without an array for it.
FUSED = ELEMENTWISE | names(
    """and atan2 broadcast_in_dim convert_element_type copy eq ge gt iota is_finite le lt ne
    nextafter not or pad real reshape rev slice squeeze stop_gradient tan transpose xor"""
)
# What may be written where an operand was that nobody reads again.
IN_PLACE = FUSED | {"dynamic_update_slice", "scan", "scatter-add", "while"}


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


def peak_bytes(jaxpr: Any) -> int:
    """Bytes of arguments and of the values alive at the worst moment of one execution.

    What nothing reads is not computed, element-wise results are not kept (`FUSED`), and values die
    after their last use. What XLA copies for a layout it likes better is not foreseen.
    """
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    outside = {*inner.invars, *inner.constvars, *variables(inner.outvars)}
    return sum(map(_bytes, outside)) + _peak(inner)


def _peak(jaxpr: Any) -> int:
    """The most bytes alive at once beside arguments, constants and results."""
    kept = set(variables(jaxpr.outvars))
    # Of a fused value, the arrays that it is computed from.
    sources: dict[Any, frozenset[Any]] = {}

    def reads(equation: Any) -> frozenset[Any]:
        return frozenset().union(*(sources.get(v, {v}) for v in variables(equation.invars)))

    steps = []
    for equation in needed(jaxpr):
        if kept.isdisjoint(equation.outvars) and (passed := _passed_on(equation)) is not None:
            sources |= {v: sources.get(a, frozenset({a})) for v, a in passed.items()}
        elif equation.primitive.name in FUSED and kept.isdisjoint(equation.outvars):
            sources |= dict.fromkeys(equation.outvars, reads(equation))
        else:
            steps.append((equation, reads(equation)))
    last_use = {v: i for i, (_, operands) in enumerate(steps) for v in operands}

    owned: dict[Any, int] = {}
    alive = worst = 0
    for i, (equation, operands) in enumerate(steps):
        made = {v: _bytes(v) for v in equation.outvars if v not in kept}
        dying = [v for v in operands if v in owned and last_use[v] == i]
        freed = sum(owned.pop(v) for v in dying)
        reused = min(freed, sum(made.values())) if equation.primitive.name in IN_PLACE else 0
        inside = max((_peak(getattr(body, "jaxpr", body)) for body in bodies(equation)), default=0)
        worst = max(worst, alive + sum(made.values()) - reused + inside)
        alive += sum(made.values()) - freed
        owned |= made
    return worst


def _passed_on(equation: Any) -> dict[Any, Any] | None:
    """Result -> operand, of a call that computes nothing: one that only has a derivative rule."""
    inner = bodies(equation)
    if len(inner) != 1 or (isinstance(inner[0], jex.ClosedJaxpr) and inner[0].consts):
        return None
    body = getattr(inner[0], "jaxpr", inner[0])
    given = dict(zip(body.invars, equation.invars, strict=False))
    if body.eqns or any(isinstance(given.get(v), jex.Literal | None) for v in body.outvars):
        return None
    return {v: given[inner] for v, inner in zip(equation.outvars, body.outvars, strict=True)}


def _bytes(variable: Any) -> int:
    shape, dtype = (getattr(variable.aval, name, ()) for name in ("shape", "dtype"))
    return math.prod(shape) * getattr(dtype, "itemsize", 0)
