"""A program with the equations that have a rule rewritten."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import replace

from core.equations.program import Equation, Program, Settled, Writer, aval_of, traced
from core.lowering.site import ALWAYS, RULES, Site, is_product, stretched

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
    writer = _Lowered(program, data, every)
    for eqn in program.equations:
        writer.write(eqn)
    made = replace(program, equations=tuple(writer.written), avals=writer.avals)
    return made, frozenset(writer.data)


def holds_weights(program: Program, data: Set[int]) -> bool:
    """Whether weights meet data there, in a lowered program, in a way that has traces."""
    avals = program.avals
    return any(is_product(e, data, avals) or stretched(e, data, avals) for e in program.equations)


class _Lowered(Writer):
    def __init__(self, program: Program, data: Iterable[int], every: bool) -> None:
        super().__init__(program.avals)
        self.rules = RULES if every else {name: RULES[name] for name in ALWAYS}
        self.data, self.still = set(data), set[int]()
        self.settled = Settled(program.constants)

    def write(self, eqn: Equation) -> None:
        moving = not self.data.isdisjoint(eqn.variables)
        rule = self.rules.get(eqn.name) if moving else None
        made = rule and rule(Site(eqn, self.avals, self.data, self.still, self.settled.value))
        if made is not None:
            new = traced(made, eqn, self.avals)
            ends = (aval_of(new.avals, a) for a in new.outputs)
            wanted = [(self.avals[v].shape, self.avals[v].dtype) for v in eqn.outputs]
            if [(a.shape, a.dtype) for a in ends] == wanted:  # else it is another function
                variables = tuple(dict.fromkeys(eqn.variables))
                self.graft(new, variables, eqn.outputs, eqn.source_info)
                return
        self.written.append(eqn)
        self.settled.add(eqn)
        if eqn.name == "stop_gradient":
            self.still.update(eqn.outputs)
        if moving:
            self.data.update(eqn.outputs)
