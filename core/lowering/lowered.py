"""A program with the equations that have a rule rewritten: what a rule is told, the rules by the
names of primitives, and the writer that applies them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from core.equations.differential import is_real
from core.equations.links import ELEMENTWISE
from core.equations.program import Atom, Equation, Program, Settled, Writer, aval_of, traced

LONGEST = 64  # turns of a loop, groups of a product: what is written out one by one
MOST = 2**20  # entries of a weight that is written as a dense one

Rewritten = Callable[..., list[Any]]


@dataclass(frozen=True, eq=False)
class Site:
    """An equation that data reaches.

    Attributes:
      avals: of all variables.
      data: variables that differ from step to step; the others are weights and constants.
      still: what has no derivative, by `stop_gradient`.
      fixed: the value of an atom that constants alone decide, or None.
    """

    eqn: Equation
    avals: Mapping[int, Any]
    data: Set[int]
    still: Set[int]
    fixed: Callable[[Atom], Any]

    def moves(self) -> list[bool]:
        """Which operands are data."""
        return [isinstance(a, int) and a in self.data for a in self.eqn.inputs]

    def is_weight(self, place: int) -> bool:
        """Whether a gradient may go to the operand's weights: no data, no constant."""
        a = self.eqn.inputs[place]
        if not isinstance(a, int) or a in self.data or a in self.still:
            return False
        return is_real(self.avals[a]) and self.fixed(a) is None

    def shape(self, place: int) -> tuple[int, ...]:
        return tuple(aval_of(self.avals, self.eqn.inputs[place]).shape)


Rule = Callable[[Site], Rewritten | None]
SPELLINGS: dict[str, tuple[Rule, bool]] = {}  # by primitive; whether always used


def rule(*names: str, always: bool = False) -> Callable[[Rule], Rule]:
    """Register a function of a `Site` for primitives of these names.

    Args:
      always: also where no path into a state needs it.

    It returns what the equation computes, as a function of its operands that jax can trace, or None
    to leave the equation as it is. Value and derivative must be the equation's, wherever it stands.
    """

    def register(f: Rule) -> Rule:
        SPELLINGS.update(dict.fromkeys(names, (f, always)))
        return f

    return register


def is_product(eqn: Equation, data: Set[int], avals: Mapping[int, Any]) -> bool:
    """Whether an equation is an operation y = x W: data [..., I] times what is none, [I, H]."""
    if eqn.name != "dot_general" or len(eqn.variables) != 2:
        return False
    x, w = eqn.variables
    form = (((avals[x].ndim - 1,), (0,)), ((), ()))
    plain = avals[w].ndim == 2 and eqn.params["dimension_numbers"] == form
    return plain and x in data and w not in data and is_real(avals[eqn.outputs[0]])


def stretched(eqn: Equation, data: Set[int], avals: Mapping[int, Any]) -> list[int]:
    """Weights that an equation spreads over data, element by element: a bias, a time constant.

    Inside a branch or a loop their derivative comes as a sum; there it has to be one for each
    element.
    """
    if eqn.name not in ELEMENTWISE or data.isdisjoint(eqn.variables):
        return []
    shape = avals[eqn.outputs[0]].shape
    rest = (v for v in eqn.variables if v not in data and avals[v].shape != shape)
    return [v for v in rest if is_real(avals[v])]


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
    return writer.rewritten(program, program.equations), frozenset(writer.data)


def holds_weights(program: Program, data: Set[int]) -> bool:
    """Whether weights meet data there, in a lowered program, in a way that has traces."""
    avals = program.avals
    return any(is_product(e, data, avals) or stretched(e, data, avals) for e in program.equations)


class _Lowered(Writer):
    def __init__(self, program: Program, data: Iterable[int], every: bool) -> None:
        super().__init__(program.avals)
        self.rules = {name: f for name, (f, always) in SPELLINGS.items() if every or always}
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
