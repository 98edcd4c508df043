"""What the operand of an operation is cut from, and the step with its cuts written out.

Credit inside a step passes from outputs back to the states and the weights that reach them, but not
through another turn of a recurrent loop. So an operation y = x W that feeds a group of states sees
as constants the previous states of that group, and of the groups that form a loop with it: they
read it, and it reads them, through operations over any number of steps. A group that does not read
back stays live (a layer that is read one step late has its credit), and an operation that feeds no
state is not cut at all (a readout).

Both sides are decided by elements: which groups reach those of x, and which outputs y feed which
group. What is computed for two layers at once then has the gradient of the same written apart.

A new state is live under every cut, and so is every copy of it: what was computed before it was
stored, a slice, an entry of an array of several states.

A cut is a set of groups as a bit mask. Under a cut a variable has the value that it has live, and
other derivatives: only by the groups of the cut that reach it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from core.analysis.graph import Credit, Graph, Product
from core.equations.differential import differential
from core.equations.elements import Mask, compact, union
from core.equations.links import reached
from core.equations.program import Equation, closure, needed


def read_states(graph: Graph) -> frozenset[int]:
    """Hidden arrays whose previous value reaches an output, of this step or of a later one, by
    differentiable paths. The others are stored and not read, and have no part in any gradient."""
    start = {h.var: 1 << i for i, h in enumerate(graph.hidden)}
    found = graph.elements.forward(start)

    def read_by(*atoms: Any) -> set[int]:
        masks = [union(found.get(a, 0)) for a in atoms if isinstance(a, int)]
        return {i for i in range(len(graph.hidden)) if any(mask >> i & 1 for mask in masks)}

    reads = [(i, k) for i, h in enumerate(graph.hidden) for k in read_by(h.new)]
    return frozenset(closure(read_by(*graph.out_atoms), reads))


def moved_states(graph: Graph) -> frozenset[int]:
    """Hidden arrays that some weight reaches, in one step or in several, by differentiable paths.
    The others are functions of the inputs: a filter, a register of the last few."""
    weights = {v: frozenset([-1]) for v in graph.plain}
    weights |= {op.w: frozenset([-1]) for op in graph.trained_operations}
    states = {h.var: frozenset([i]) for i, h in enumerate(graph.hidden)}
    found = reached(graph.differential.equations, weights | states, graph.differential.avals)
    moves = [(s, i) for i, h in enumerate(graph.hidden) for s in found.get(h.new, ())]
    return frozenset(closure([-1], moves)) - {-1}


def credited_states(graph: Graph) -> frozenset[int]:
    """Hidden arrays whose previous value reaches an output along the paths of `Graph.credit`."""
    return _credited(graph, range(len(graph.hidden)), set())


def read_otherwise(graph: Graph) -> Iterator[str]:
    """States with a past, and trained operations that feed them, which reach an output by a path on
    which the one does not meet the other; in words."""
    for g, group in enumerate(graph.groups):
        live = [graph.hidden[group.states[s]] for s in group.live]
        fed = [(op, b) for op in graph.operations for b in op.blocks if b.group == g and live]
        ends = {op.y: frozenset("y") for op, _ in fed} | {h.var: frozenset("h") for h in live}
        found = reached(needed(graph.body, [h.new for h in live], given=ends), ends)
        met = {v for v, of in found.items() if len(of) > 1}

        def before(v: int, mask: Mask, met: set[int] = met) -> Mask:
            return 0 if v in met else mask

        for i in _credited(graph, [group.states[s] for s in group.live], met):
            yield f"{graph.hidden[i].name}, which another layer or an output reads one step late"
        for op, block in fed:
            columns = np.zeros(op.shape, graph.elements.dtype)
            columns[..., block.columns] = 1
            seen = graph.elements.forward({op.y: columns}, before)
            if op.trainable and any(np.any(seen.get(a, 0)) for a in graph.out_atoms):
                yield f"{op.name}, whose output reaches an output of the model beside its state"


def _credited(graph: Graph, hidden: Iterable[int], ends: set[int]) -> frozenset[int]:
    """Along paths that do not lead through `ends`."""
    sources = {graph.hidden[i].var: frozenset([i]) for i in hidden}
    step = differential(graph.program, graph.credit.equations, sources)
    found = reached(step.equations, dict.fromkeys(ends, frozenset[int]()) | sources, step.avals)
    return frozenset[int]().union(*(found.get(a, ()) for a in graph.out_atoms))


# -- what is cut


def _of_new(graph: Graph, v: int, instead: Mask, mask: Mask) -> Mask:
    """`mask` of a variable, with `instead` for its elements that are new states."""
    new = graph.new_states.get(v)
    return mask if new is None else graph.elements.where(np.not_equal(new, 0), instead, mask)


def loops_of(graph: Graph) -> list[Mask]:
    """For each group, itself and those that form a loop with it."""
    new = graph.new_states
    found = graph.elements.forward(graph.previous_states, lambda v, mask: mask | new.get(v, 0))
    groups = range(len(graph.groups))
    pairs = [(op.x, block.group) for op in graph.operations for block in op.blocks]
    reads = {(g, fed) for x, fed in pairs for g in groups if union(found.get(x, 0)) >> g & 1}
    below = [closure([g], reads) for g in groups]
    return [sum(1 << h for h in below[g] if g in below[h]) for g in groups]


def _cuts(graph: Graph) -> dict[int, np.ndarray]:
    """The cut of each column of an operation, [H], by its variable y.

    A column that feeds no state is cut from what all of its readers are cut from, which changes
    nothing: the reset gate of a GRU as the operation that reads it.
    """
    loops, everything = loops_of(graph), (1 << len(graph.groups)) - 1
    by_y = {op.y: op for op in graph.operations}
    cuts = {}
    for op in graph.operations:
        cuts[op.y] = np.zeros(op.width, graph.elements.dtype)
        for block in op.blocks:
            cuts[op.y][block.columns] |= loops[block.group]

    def live(op: Any, found: Mask) -> np.ndarray:
        """The groups that some reader of a column sees live, [H]."""
        columns = np.broadcast_to(np.asarray(found, graph.elements.dtype), op.shape)
        return np.bitwise_or.reduce(columns.reshape(-1, op.width), axis=0)

    def at(v: int, found: Mask) -> Mask:
        if v in by_y:
            op = by_y[v]
            found = compact(np.broadcast_to(live(op, found) & ~cuts[v], op.shape))
        return _of_new(graph, v, everything, found)

    ends = {a: everything for a in graph.out_atoms if isinstance(a, int)}
    found = graph.elements.backward(ends, at)
    for op in graph.operations:
        free = cuts[op.y] == 0
        most = everything & ~live(op, found.get(op.y, 0))
        for block in op.blocks:  # the same cut as other columns where that will do
            loop = loops[block.group]
            most = graph.elements.where(loop & ~most == 0, loop, most)
        cuts[op.y] = np.where(free, most, cuts[op.y])
    return cuts


# -- the step written out


def _reach(graph: Graph, cuts: Mapping[int, np.ndarray]) -> dict[int, Mask]:
    """The groups by which a variable can differ under a cut."""
    stopped = {op.y: compact(np.broadcast_to(cuts[op.y], op.shape)) for op in graph.operations}
    found = graph.elements.forward(
        graph.previous_states, lambda v, mask: _of_new(graph, v, 0, mask & ~stopped.get(v, 0))
    )
    return {v: union(mask) for v, mask in found.items()}


def with_cuts(graph: Graph) -> Graph:
    """The graph with `credit`, the step as its outputs see it: an equation is there once for every
    cut under which its outputs are read."""
    cuts, avals = _cuts(graph), dict(graph.program.avals)
    reach = _reach(graph, cuts)
    operations = {id(op.eqn): k for k, op in enumerate(graph.operations)}

    def operands(eqn: Equation, cut: Mask) -> list[tuple[Any, Mask, slice]]:
        """What an equation reads when its outputs are read under a cut: the operands, their cuts;
        of an operation x, for each run of columns that see it under one cut."""
        if id(eqn) not in operations:
            return [(a, cut, slice(None)) for a in eqn.inputs]
        op = graph.operations[operations[id(eqn)]]
        own = (cuts[op.y] | cut) & reach.get(op.x, 0)
        ends = [0, *(np.flatnonzero(own[1:] != own[:-1]) + 1), op.width]
        return [(op.x, int(own[a]), slice(int(a), int(b))) for a, b in itertools.pairwise(ends)]

    copies: dict[int, dict[Mask, int]] = {}  # by variable and cut

    def at(a: Any, cut: Mask) -> Any:
        """The variable that holds the value of another under a cut."""
        if not isinstance(a, int):
            return a
        own, cut = copies.setdefault(a, {}), cut & reach.get(a, 0)
        if cut not in own:
            own[cut] = len(avals) if cut else a
            avals[own[cut]] = avals[a]
        return own[cut]

    for a in graph.out_atoms:
        at(a, 0)
    equations, products = [], dict[int, Product]()
    for eqn in reversed(graph.body):
        under = set[Mask]().union(*(copies.get(v, ()) for v in eqn.outputs))
        for cut in sorted(under, reverse=True):
            read = operands(eqn, cut)
            inputs = tuple(at(a, own) for a, own, _ in read)
            written = replace(eqn, inputs=inputs, outputs=tuple(at(v, cut) for v in eqn.outputs))
            equations.append(written)
            if id(eqn) in operations:
                columns = tuple(run for *_, run in read)
                products[id(written)] = Product(operations[id(eqn)], columns)
    previous = graph.previous_states
    stopped = {copy: v for v in previous for cut, copy in copies.get(v, {}).items() if cut}
    program = replace(graph.program, avals=avals)
    credit = Credit(tuple(reversed(equations)), products, stopped)
    return replace(graph, program=program, credit=credit)
