"""Equations that hold programs with weights in them: branches, loops, functions with a derivative
rule of their own. Products leave them; those without weights stay, as the analysis can read them.

A branch is cut where a product stands. Each part is a `cond` of its own, whose other side gives
zeros, so that a product's operand is zero unless its branch is taken; the results are chosen in the
end. Nothing of a branch that is not taken is computed but products of zeros, and its derivative,
which may be NaN, meets no other. A short scan is written out step by step. A function with a rule
(a lookup with padding) has its value as it is, with the derivative that the rule says spelled out.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from functools import partial
from itertools import compress
from typing import Any

import jax.numpy as jnp
from jax import lax

from core.equations.differential import is_real, tangent, unrolled
from core.equations.links import MOVEMENT, carries_gradient
from core.equations.program import (
    Equation,
    Program,
    bind,
    evaluate,
    flatten_jaxpr,
    read,
    traced,
    variables_of,
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
_HARMLESS = MOVEMENT | {
    *("abs", "add", "atan", "clamp", "convert_element_type", "copy", "cos", "erf", "logistic"),
    *("max", "min", "mul", "neg", "select_n", "sin", "square", "sub", "tanh"),
}


@rule("cond")
def with_weights_outside(site: Site) -> Rewritten | None:
    moves = site.moves()[1:]
    programs = map(flatten_jaxpr, site.eqn.params["branches"])
    branches = [lowered(program, compress(program.inputs, moves)) for program in programs]
    if not any(holds_weights(*branch) for branch in branches):
        return None
    if any(
        data.isdisjoint(e.variables) and e.name not in _HARMLESS and carries_gradient(e, p.avals)
        for p, data in branches
        for e in p.equations
    ):
        return None

    def chosen(which: Any, *operands: Any) -> list[Any]:
        ends = [_branch(*branch, which == k, operands) for k, branch in enumerate(branches)]
        return [lax.select_n(which, *found) for found in zip(*ends, strict=True)]

    return chosen


def _branch(program: Program, data: Set[int], taken: Any, operands: Sequence[Any]) -> list[Any]:
    """The outputs of a branch, of which nothing but products is computed where it is not taken."""
    avals, waiting = program.avals, list[Equation]()
    env: dict[int, Any] = {**program.constants, **dict(zip(program.inputs, operands, strict=True))}

    def run(*xs: int) -> None:
        """Put into `env` what waits, and the operands of a product; zero if not taken."""
        made = [v for e in waiting for v in e.outputs]
        given = sorted(variables_of(waiting, xs).difference(made))
        wanted = [*dict.fromkeys([*made, *xs])]

        def here(*values: Any) -> list[Any]:
            found = evaluate(waiting, dict(zip(given, values, strict=True)))
            return [found[v] for v in wanted]

        def zeros(*_: Any) -> list[Any]:
            return [jnp.zeros(avals[v].shape, avals[v].dtype) for v in wanted]

        found = lax.cond(taken, here, zeros, *(env[v] for v in given))
        env.update(zip(wanted, found, strict=True))
        waiting.clear()

    for e in program.equations:
        product = is_product(e, data, avals)
        if product:
            run(*(data & {*e.variables}))
        if product or data.isdisjoint(e.variables):
            evaluate([e], env)
        else:
            waiting.append(_with_whole_weights(e, data, avals, env))
    run()
    return [read(env, a) for a in program.outputs]


def _with_whole_weights(eqn: Equation, data: Set[int], avals: Any, env: dict[int, Any]) -> Equation:
    """The equation with weights that have the shape of its output, put into `env`."""
    whole = {}
    for v in stretched(eqn, data, avals):
        whole[v] = min(env) - 1  # no variable of the program
        env[whole[v]] = jnp.broadcast_to(env[v], avals[eqn.outputs[0]].shape)
    inputs = tuple(whole.get(a, a) if isinstance(a, int) else a for a in eqn.inputs)
    return replace(eqn, inputs=inputs) if whole else eqn


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
            found.append(jnp.asarray(value))
        return found

    return spelled
