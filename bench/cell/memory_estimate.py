"""Memory of a program predicted from shapes: the most bytes that are alive at once in its jaxpr."""

from __future__ import annotations

import math
from typing import Any

import jax.extend.core as jex

from bench.cell.operations import ELEMENTWISE, bodies, names, needed, variables

# What XLA computes where its result is read, without an array for it.
FUSED = ELEMENTWISE | names(
    """and atan2 broadcast_in_dim convert_element_type copy eq ge gt iota is_finite le lt ne
    nextafter not or pad real reshape rev slice squeeze stop_gradient tan transpose xor"""
)
# What may be written where an operand was that nobody reads again.
IN_PLACE = FUSED | {"dynamic_update_slice", "scan", "scatter-add", "while"}


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
