"""Equations that hold programs with weights in them: branches, loops, functions with a derivative
rule of their own. Products leave them; those without weights stay, as the analysis can read them.

A branch is cut where a product stands. Each part is a `cond` of its own, whose other side gives
zeros, so that a product's operand is zero unless its branch is taken; the results are chosen in the
end. Nothing of a branch that is not taken is computed but products of zeros, and its derivative,
which may be NaN, meets no other. A short scan is written out step by step. A function with a rule
(a lookup with padding) has its value as it is, with the derivative that the rule says spelled out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from core.equations.differential import is_real, tangent, unrolled
from core.equations.links import MOVEMENT
from core.equations.program import (
    Equation,
    Program,
    bind,
    evaluate,
    flatten_jaxpr,
    needed,
    read,
    traced,
)
from core.lowering.lowered import (
    LONGEST,
    Rewritten,
    Site,
    holds_weights,
    is_product,
    lowered,
    rule,
    stretched,
)

# What a branch may do to a weight before a product: defined for all numbers, with its derivative.
_HARMLESS = MOVEMENT | {"add", "convert_element_type", "copy", "mul", "neg", "sub"}


@rule("cond")
def with_weights_outside(site: Site) -> Rewritten | None:
    moves = site.moves()[1:]
    branches = []
    for closed in site.eqn.params["branches"]:
        program = flatten_jaxpr(closed)
        inputs = zip(program.inputs, moves, strict=True)
        branches.append(lowered(program, [v for v, moving in inputs if moving]))
    if not any(holds_weights(*branch) for branch in branches):
        return None
    if any(
        data.isdisjoint(e.variables) and e.name not in _HARMLESS and _has_derivative(e, p.avals)
        for p, data in branches
        for e in p.equations
    ):
        return None

    def chosen(which: Any, *operands: Any) -> list[Any]:
        ends = [_branch(*branch, which == k, operands) for k, branch in enumerate(branches)]
        return [lax.select_n(which, *found) for found in zip(*ends, strict=True)]

    return chosen


def _has_derivative(eqn: Equation, avals: Mapping[int, Any]) -> bool:
    """Unlike a comparison or the arithmetic of a counter, which are defined for all numbers."""
    return any(is_real(avals[v]) for v in eqn.outputs)


def _branch(program: Program, data: Set[int], taken: Any, operands: Sequence[Any]) -> list[Any]:
    """The outputs of a branch; where it is not taken, zeros."""
    env: dict[int, Any] = {**program.constants, **dict(zip(program.inputs, operands, strict=True))}
    evaluate([e for e in program.equations if data.isdisjoint(e.variables)], env)
    equations = []
    for e in program.equations:
        if not data.isdisjoint(e.variables):
            equations.append(_with_whole_weights(e, data, program.avals, env))
    for product in equations:
        if is_product(product, data, program.avals):
            _part(equations, [v for v in product.variables if v in data], taken, env)
            evaluate([product], env)
    ends = [a for a in program.outputs if isinstance(a, int)]
    _part(equations, ends, taken, env)
    return [read(env, a) for a in program.outputs]


def _with_whole_weights(eqn: Equation, data: Set[int], avals: Any, env: dict[int, Any]) -> Equation:
    """The equation with weights that have the shape of its output, put into `env`."""
    whole = {}
    for v in stretched(eqn, data, avals):
        whole[v] = min(env) - 1  # no variable of the program
        env[whole[v]] = jnp.broadcast_to(env[v], avals[eqn.outputs[0]].shape)
    inputs = tuple(whole.get(a, a) if isinstance(a, int) else a for a in eqn.inputs)
    return replace(eqn, inputs=inputs) if whole else eqn


def _part(
    equations: Sequence[Equation], wanted: Sequence[int], taken: Any, env: dict[int, Any]
) -> None:
    """Put into `env` what is wanted, computed from what it holds if the branch is taken."""
    run = needed(equations, wanted, given=env)
    inputs = [
        v for v in dict.fromkeys([*wanted, *(v for e in run for v in e.variables)]) if v in env
    ]
    values = [env[v] for v in inputs]

    def here(*values: Any) -> list[Any]:
        found = evaluate(run, dict(zip(inputs, values, strict=True)))
        return [found[v] for v in wanted]

    like = jax.eval_shape(here, *values)
    made = lax.cond(taken, here, lambda *_: [jnp.zeros(a.shape, a.dtype) for a in like], *values)
    env.update(zip(wanted, made, strict=True))


@rule("scan")
def short_scan(site: Site) -> Rewritten | None:
    turned = partial(unrolled, site.eqn.params)
    short = site.eqn.params["length"] <= LONGEST
    return turned if short and holds_weights(*_inside(site, turned)) else None


def _inside(site: Site, f: Rewritten) -> tuple[Program, frozenset[int]]:
    """What a function in the equation's place computes, as of `lowered`."""
    program = traced(f, site.eqn, site.avals)
    variables = zip(program.inputs, dict.fromkeys(site.eqn.variables), strict=True)
    return lowered(program, [own for own, v in variables if v in site.data])


@rule("custom_jvp_call", "custom_vjp_call")
def spelled_out(site: Site) -> Rewritten | None:
    eqn = site.eqn
    if not any(site.is_weight(i) and len(site.shape(i)) > 1 for i in range(len(eqn.inputs))):
        return None
    along = tangent(eqn, site.avals)
    if along is None:  # not linear
        return None
    program, data = _inside(site, along)
    if not any(is_product(e, data, program.avals) for e in program.equations):
        return None

    def spelled(*operands: Any) -> list[Any]:
        linear = iter(along(*operands))
        found = []
        values = bind(eqn, [lax.stop_gradient(a) for a in operands])
        for value, v in zip(values, eqn.outputs, strict=True):
            if is_real(site.avals[v]):
                moved = next(linear)
                value = moved + lax.stop_gradient(value - moved)
            found.append(jax.numpy.asarray(value))
        return found

    return spelled
