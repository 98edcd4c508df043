"""States that carry no credit: which may exist, and what delays may hold."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import brainstate

from core.analysis.cuts import loops_of
from core.analysis.graph import Graph
from core.equations.differential import RULES, is_real
from core.equations.labels import unlinear
from core.equations.links import reached
from core.equations.program import closure
from core.errors import NotRepresentable

CREDIT = -1  # what trainable weights and hidden states hand on; no variable

Sources = Mapping[int, frozenset[Any]]


def dependencies(graph: Graph, sources: Sources | None = None) -> dict[int, frozenset[Any]]:
    """Which sources reach each variable by differentiable paths while every y is held fixed, as D
    requires: states ("h", their place), an operation's output ("y", its variable), and parameters
    ("p", their variable), of `plain` if no others are given."""
    given = {h.var: frozenset([("h", i)]) for i, h in enumerate(graph.hidden)}
    given |= {op.y: frozenset([("y", op.y)]) for op in graph.operations}
    given |= {v: frozenset([("p", v)]) for v in graph.plain} if sources is None else sources
    return reached(graph.differential.equations, given, graph.differential.avals)


def check_other_states(graph: Graph, but: Set[int] = frozenset()) -> None:
    """A state of another kind may exist; it may not carry a gradient from step to step.

    Args:
      but: variables that are left to `check_delays`.

    Raises:
      NotRepresentable: naming the state, or a derivative rule that is not linear.
    """
    credit = frozenset([CREDIT])
    sources: dict[int, frozenset[Any]] = {h.var: credit for h in graph.hidden}
    sources |= {op.w: credit for op in graph.trained_operations}
    sources |= dict.fromkeys(graph.plain, credit)
    sources |= {v: frozenset([v]) for v, _ in graph.others if is_real(graph.program.avals[v])}
    step = graph.differential
    found = reached(step.equations, sources, step.avals)
    used = frozenset[Any]().union(
        *(found.get(a, ()) for a in [*graph.out_atoms, *(h.new for h in graph.hidden)])
    )
    for eqn in step.equations:
        if eqn.name in RULES and any(CREDIT in found.get(v, ()) for v in eqn.variables):
            raise unlinear(eqn)
    others = [(v, new) for v, new in graph.others if v not in but]
    reads = [(v, u) for v, new in others if isinstance(new, int) for u in found.get(new, ())]
    for var, _ in others:
        if var in used and CREDIT in closure([var], reads):
            raise _carries(graph, var)


def _carries(graph: Graph, var: int, remedy: str = "") -> NotRepresentable:
    return NotRepresentable(
        "that only HiddenStates carry a gradient from step to step",
        f"the state {graph.names[var]}, which is of another kind and carries one",
        f"Make it a brainstate.HiddenState, or stop the gradient where it is written{remedy}.",
    )


def delays(graph: Graph) -> frozenset[int]:
    """What delays hold of the past, in variables."""
    pairs = zip(graph.states, graph.state_vars, strict=True)
    held = {v for s, vs in pairs if isinstance(s, brainstate.DelayState) for v in vs}
    return frozenset(v for v, _ in graph.others if v in held and is_real(graph.program.avals[v]))


def check_delays(graph: Graph, later: Set[int]) -> None:
    """What a delay holds is a constant of every step. That is the definition where it is read by
    operations alone that feed the group whose past it holds, or groups in a loop with it.

    Raises:
      NotRepresentable: naming the state; credit would pass in time through it.
    """
    if not later:
        return
    groups = {("h", s): {g} for g, group in enumerate(graph.groups) for s in group.states}
    groups |= {("y", op.y): {block.group for block in op.blocks} for op in graph.operations}
    sources = {v: frozenset([("p", v)]) for v in (*graph.plain, *(p.w for p in graph.parameters))}
    found = dependencies(graph, sources | {v: frozenset([("d", v)]) for v in later})
    loops = loops_of(graph)
    ends = [*graph.out_atoms, *(h.new for h in graph.hidden)]
    for var, new in graph.others:
        if var not in later:
            continue
        past = found.get(new, frozenset()) - {("d", var)}
        readers = [op for op in graph.operations if ("d", var) in found.get(op.x, ())]
        ends_of = [*ends, *(after for v, after in graph.others if v != var)]
        elsewhere = any(("d", var) in found.get(a, ()) for a in ends_of)
        if not past or not (readers or elsewhere):
            continue  # of inputs alone; or not read
        written = [groups.get(source, set()) for source in past if source[0] != "p"]
        passed = {g for own in written for g in own}
        inside = all(
            sum(block.width for block in op.blocks) >= op.width
            and all(loops[block.group] >> g & 1 for block in op.blocks for g in passed)
            for op in readers
        )
        if elsewhere or not inside or not written or not all(written):
            raise _carries(graph, var, "; or let weights alone read it that feed what it delays")
