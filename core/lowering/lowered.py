"""A program with the equations that have a rule rewritten."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import replace
from typing import Any

import jax
from jax.extend.core import primitives

from core.equations.program import Equation, Program, Settled, flatten_jaxpr, grafted
from core.lowering.site import ALWAYS, RULES, Rewritten, Site, is_product, stretched

__all__ = ["holds_weights", "lowered"]


def lowered(
    program: Program, data: Iterable[int], every: bool = True
) -> tuple[Program, frozenset[int]]:
    """Rewrite what has a rule.

    Args:
      data: inputs of the program that differ from step to step.
      every: whether all rules are used, or those alone that always are.

    Returns:
      The program, with the same inputs and outputs; all of its variables that data reaches.
    """
    writer = _Writer(program, data, every)
    for eqn in program.equations:
        writer.write(eqn)
    made = replace(program, equations=tuple(writer.written), avals=writer.avals)
    return made, frozenset(writer.data)


def holds_weights(program: Program, data: Set[int]) -> bool:
    """Whether weights meet data there, in a lowered program, in a way that has traces."""
    avals = program.avals
    return any(is_product(e, data, avals) or stretched(e, data, avals) for e in program.equations)


class _Writer:
    def __init__(self, program: Program, data: Iterable[int], every: bool) -> None:
        self.rules = RULES if every else {name: RULES[name] for name in ALWAYS}
        self.avals, self.data = dict(program.avals), set(data)
        self.still: set[int] = set()
        self.settled = Settled(program.constants)
        self.written: list[Equation] = []

    def write(self, eqn: Equation) -> None:
        moving = not self.data.isdisjoint(eqn.variables)
        rule = self.rules.get(eqn.name) if moving else None
        made = rule and rule(Site(eqn, self.avals, self.data, self.still, self.settled.value))
        if made is not None and self._rewrite(eqn, made):
            return
        self.written.append(eqn)
        self.settled.add(eqn)
        if eqn.name == "stop_gradient":
            self.still.update(eqn.outputs)
        if moving:
            self.data.update(eqn.outputs)

    def _fresh(self, aval: Any) -> int:
        v = len(self.avals)
        self.avals[v] = aval
        return v

    def _rewrite(self, eqn: Equation, made: Rewritten) -> bool:
        """Write what the equation is made of; not where that is of another shape or precision."""
        variables = tuple(dict.fromkeys(eqn.variables))

        def of_variables(*values: Any) -> list[Any]:
            env = dict(zip(variables, values, strict=True))
            return made(*(env[a] if isinstance(a, int) else a.value for a in eqn.inputs))

        like = [jax.ShapeDtypeStruct(self.avals[v].shape, self.avals[v].dtype) for v in variables]
        closed = jax.make_jaxpr(of_variables)(*like)
        wanted = [(self.avals[v].shape, self.avals[v].dtype) for v in eqn.outputs]
        if [(a.shape, a.dtype) for a in closed.out_avals] != wanted:
            return False
        program = flatten_jaxpr(closed)
        inner, ends = grafted(program, variables, eqn.outputs, self._fresh, eqn.source_info)
        for new in inner:
            self.write(new)
        for a, v in zip(ends, eqn.outputs, strict=True):
            if a != v:
                self.write(Equation(primitives.copy_p, (a,), (v,), {}, eqn.source_info))
        return True
