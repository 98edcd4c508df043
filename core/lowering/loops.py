"""Loops: a `while` that runs a fixed number of times is a scan; a short scan with products in it is
written out step by step. A loop without products stays one: the analysis can read it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
from jax import lax
from jax.extend import core as jex

from core.equations.differential import LONGEST_LOOP, counts, unrolled
from core.equations.program import Constant, Program, evaluate, flatten_jaxpr
from core.lowering.lowered import holds_weights, lowered
from core.lowering.site import LONGEST, Rewritten, Site, rule


@rule("scan")
def short_scan(site: Site) -> Rewritten | None:
    params = site.eqn.params
    if params["length"] > LONGEST:
        return None
    program = flatten_jaxpr(params["jaxpr"])
    inputs = zip(program.inputs, _moving(site, program), strict=True)
    if not holds_weights(*lowered(program, [v for v, moving in inputs if moving])):
        return None
    return partial(unrolled, params)


def _moving(site: Site, program: Program) -> list[bool]:
    """Which inputs of a scan's body are data: also what a turn hands on to the next."""
    moves = site.moves()
    n_consts, n_carry = counts(site.eqn.params)
    while True:
        data = {v for v, moving in zip(program.inputs, moves, strict=True) if moving}
        for eqn in program.equations:
            if not data.isdisjoint(eqn.variables):
                data.update(eqn.outputs)
        after = list(moves)
        for i, a in enumerate(program.outputs[:n_carry], n_consts):
            after[i] |= a in data
        if after == moves:
            return moves
        moves = after


@rule("while")
def counted_while(site: Site) -> Rewritten | None:
    params = site.eqn.params
    n_cond, n_body = params["cond_nconsts"], params["body_nconsts"]
    turns = _turns(site)
    if turns is None:
        return None
    body = jex.jaxpr_as_fun(params["body_jaxpr"])

    def counted(*operands: Any) -> list[Any]:
        consts = operands[n_cond : n_cond + n_body]
        carry = list(operands[n_cond + n_body :])
        return lax.scan(lambda c, _: (body(*consts, *c), None), carry, None, length=turns)[0]

    return counted


def _turns(site: Site) -> int | None:
    """How often a `while` turns, if constants alone decide it."""
    params = site.eqn.params
    n_cond, n_body = params["cond_nconsts"], params["body_nconsts"]
    known = [site.fixed(a) for a in site.eqn.inputs]
    of_cond, of_body, carry = (
        known[:n_cond],
        known[n_cond : n_cond + n_body],
        known[n_cond + n_body :],
    )
    cond, body = (flatten_jaxpr(params[k]) for k in ("cond_jaxpr", "body_jaxpr"))
    with jax.ensure_compile_time_eval():
        for turn in range(LONGEST_LOOP + 1):
            (more,) = _partly(cond, [*of_cond, *carry])
            if more is None or not more:
                return None if more is None else turn
            carry = _partly(body, [*of_body, *carry])
    return None


def _partly(program: Program, inputs: Sequence[Any]) -> list[Any]:
    """The outputs of a program some of whose inputs are not known: None where it takes those."""
    given = zip(program.inputs, inputs, strict=True)
    env = {**program.constants, **{v: a for v, a in given if a is not None}}
    for eqn in program.equations:
        if all(v in env for v in eqn.variables):
            evaluate([eqn], env)
    return [a.value if isinstance(a, Constant) else env.get(a) for a in program.outputs]
