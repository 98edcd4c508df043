"""Build a `Graph` from any brainstate model: trace `model.update` once and analyse its equations.

A *parametric operation* is a `dot_general` with one operand from the prelude. Other operands from
the prelude are element-wise parameters when they reach a state, and plain parameters otherwise.
What D-RTRL cannot represent is refused here, by name, before anything is computed.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from core.analysis.capture import trace_step
from core.analysis.cuts import credited_states, moved_states, read_states, with_cuts
from core.analysis.graph import Graph, Group, Hidden
from core.analysis.operation import Block, Parameter
from core.analysis.other_states import check_delays, check_other_states, delays, dependencies
from core.equations.elements import COPIES
from core.equations.labels import Paths, one_row
from core.equations.links import NONE
from core.equations.program import Equation, closure, needed
from core.errors import NotRepresentable


def build_graph(
    model: Any, args: tuple[Any, ...], watched: Sequence[Any] = (), *, every_path: bool = False
) -> Graph:
    """Trace `model.update(*args)` and find what feeds what.

    Args:
      model: any brainstate module whose states are initialised.
      args: example inputs of one step.
      watched: as of `trace_step`.
      every_path: whether traces cover all states that are read, also where they are read by their
        own operations alone (the h of a plain RNN), which the cuts leave without credit.

    Raises:
      NotRepresentable: a structure for which D-RTRL has no right gradient; it names the operation,
        the user's line and the remedy.
    """
    try:
        return _analysed(trace_step(model, args, watched), every_path)
    except NotRepresentable:
        pass  # as it is spelled; spelled as products it costs more
    return _analysed(trace_step(model, args, watched, lower=True), every_path)


def _analysed(graph: Graph, every_path: bool) -> Graph:
    read, fixed_y = read_states(graph), dependencies(graph)
    later = frozenset() if every_path else delays(graph)
    check_other_states(graph, later)
    try:
        graph = _fed(graph, read, fixed_y)
    except NotRepresentable:
        moved = moved_states(graph)
        if read <= moved:
            raise
        still = {("h", i) for i in read - moved}
        fixed_y = {v: sources - still for v, sources in fixed_y.items()}
        graph = _fed(graph, read & moved, fixed_y)
    check_delays(graph, later)
    graph = with_cuts(graph)
    return _with_components(graph, read if every_path else credited_states(graph))


def _fed(graph: Graph, read: frozenset[int], fixed_y: Mapping[int, Any]) -> Graph:
    """With groups and blocks of the states that are read; the others may mix what they like."""
    labels = [labels_of(graph, h, fixed_y) if i in read else {} for i, h in enumerate(graph.hidden)]
    return _with_blocks(_with_groups(graph, read, labels), labels)


def labels_of(graph: Graph, h: Hidden, fixed_y: Mapping[int, Any]) -> dict[int, np.ndarray]:
    """Which neuron of `h` each element of each variable feeds."""
    ys = {op.y for op in graph.operations}
    equations = needed(graph.differential.equations, [h.new], given=ys)
    relevant = {v for v, sources in fixed_y.items() if sources}
    paths = Paths(equations, graph.elements.links, h.name, relevant, {*graph.plain})
    return paths.labels({h.new: np.arange(math.prod(h.shape)).reshape(h.shape)})


# -- groups, blocks, cuts


def _with_groups(graph: Graph, read: frozenset[int], labels: list[dict[int, np.ndarray]]) -> Graph:
    couplings = set()
    for s, new in enumerate(graph.hidden):
        for p, previous in enumerate(graph.hidden):
            label = labels[s].get(previous.var)
            if label is None or (label == NONE).all():
                continue
            position = np.arange(label.size).reshape(label.shape)
            aligned = label.size == math.prod(new.shape)
            if not aligned or ((label != position) & (label != NONE)).any():
                raise NotRepresentable(
                    f"that each neuron of {new.name} reads its own {previous.name}",
                    "a path that reads another neuron's",
                    "Mix neurons through a weight matrix, or train with core.BPTT.",
                )
            couplings.add((s, p))
    groups = []
    both = couplings | {(p, s) for s, p in couplings}
    for states in sorted({tuple(sorted(closure([s], both))) for s in range(len(graph.hidden))}):
        if read.isdisjoint(states):
            continue
        leads = {op.lead for op in graph.operations for s in states if op.y in labels[s]}
        if len(leads) > 1:
            raise NotRepresentable(
                f"operations of one batch shape into {graph.hidden[states[0]].name}",
                f"shapes {sorted(leads)}",
                "Give the operands of all of them the same batch axes.",
            )
        lead = leads.pop() if leads else graph.hidden[states[0]].shape[:-1]
        reads = {(states.index(s), states.index(p)) for s, p in couplings if s in states}
        n = math.prod(graph.hidden[states[0]].shape) // math.prod(lead)
        groups.append(Group(states, lead, n, frozenset(reads)))
    return replace(graph, groups=tuple(groups))


def _with_blocks(graph: Graph, labels: list[dict[int, np.ndarray]]) -> Graph:
    made = [replace(op, blocks=_blocks(graph, op.y, op.name, labels)) for op in graph.operations]
    parameters: list[Parameter] = []
    plain: list[int] = []
    for var in graph.plain:
        found = [label[var] for label in labels if var in label]
        if not found:
            plain.append(var)
            continue
        (shape,) = {label.shape for label in found}  # one place in the step reads it
        group = next(g for g in graph.groups for s in g.states if var in labels[s])
        name, dtype = graph.names[var], graph.program.avals[var].dtype
        additive, blocks = _only_added(graph, var), _blocks(graph, var, name, labels)
        parameters.append(Parameter(var, name, shape, group.lead, dtype, additive, blocks))
    uses = Counter[str]()

    def labelled(source: Any) -> Any:
        uses[source.name] += 1
        again = f" (use {uses[source.name]})" if uses[source.name] > 1 else ""
        return replace(source, label=source.name + again)

    fed = replace(graph, operations=tuple(made), parameters=tuple(parameters), plain=tuple(plain))
    return fed.with_sources(labelled)


def _only_added(graph: Graph, var: int) -> bool:
    """Whether all that reads a parameter, or a copy of it, adds it to something."""
    same, users = {var}, set[str]()
    for eqn in graph.differential.equations:
        if not same.isdisjoint(eqn.variables):
            copies = eqn.name in COPIES
            same.update(eqn.outputs if copies else ())
            users.update(() if copies else [eqn.name])
    return users <= {"add", "sub", "add_any", "scatter-add"}


def _blocks(
    graph: Graph, var: int, name: str, labels: list[dict[int, np.ndarray]]
) -> tuple[Block, ...]:
    """Cut the outputs of a source into runs that feed consecutive neurons of a group; components
    are the states fed in the same step, which `_with_components` completes."""
    blocks = []
    for g, group in enumerate(graph.groups):
        found = {k: labels[s][var] for k, s in enumerate(group.states) if var in labels[s]}
        if all((label == NONE).all() for label in found.values()):
            continue
        came = graph.program.avals[var].dtype
        for k in found:
            into = graph.hidden[group.states[k]]
            if jnp.promote_types(came, into.dtype) != into.dtype:
                raise NotRepresentable(
                    f"states at least as precise as the {came} of {name}, which feeds them",
                    f"{into.name} of dtype {into.dtype}",
                    "Use one dtype for both, or train with core.BPTT.",
                )
        rows = math.prod(group.lead)
        first = one_row(list(found.values()), rows, group.n)
        if first is None:
            raise NotRepresentable(
                f"that {name} feeds {', '.join(graph.hidden[s].name for s in group.states)}"
                " neuron by neuron, sample by sample, in one order",
                "a path that mixes or reorders them",
                "Keep batch and neuron axes in the order of the state.",
            )
        for columns, neurons in _runs(first):
            firsts = ((k, label.reshape(rows, -1)[0]) for k, label in found.items())
            fed = tuple(k for k, label in firsts if (label[columns] != NONE).any())
            blocks.append(Block(g, columns, neurons, fed))
    return tuple(blocks)


def _with_components(graph: Graph, credited: frozenset[int]) -> Graph:
    """Spend traces only on states whose previous value carries credit anywhere."""
    groups = []
    for group in graph.groups:
        start = [k for k, s in enumerate(group.states) if s in credited]
        groups.append(replace(group, live=tuple(sorted(closure(start, group.reads)))))
    return covered(replace(graph, groups=tuple(groups)), [group.reads for group in groups])


def covered(graph: Graph, reads: Sequence[Set[tuple[int, int]]]) -> Graph:
    """Traces of all live states that a source moves, in the step or in a later one.

    Args:
      reads: of each group, which new state depends on which previous one.
    """

    def of(block: Block) -> Block:
        moves = {(p, s) for s, p in reads[block.group]}
        touched = closure(block.components, moves)
        live = graph.groups[block.group].live
        return replace(block, components=tuple(s for s in live if s in touched))

    return graph.with_blocks(of)


def join_biases(graph: Graph) -> Graph:
    """Make y + b part of the operation y = x W where nothing else reads y or b: they then share a
    trace and a product."""
    readers = defaultdict[int, list[Equation | None]](list)
    for eqn in graph.body:
        for v in eqn.variables:
            readers[v].append(eqn)
    for a in (*graph.out_atoms, *(h.new for h in graph.hidden), *(new for _, new in graph.others)):
        readers[a].append(None)

    def only_reader(var: int) -> Equation | None:
        return readers[var][0] if len(readers[var]) == 1 else None

    sums = {id(only_reader(op.y)): op for op in graph.trained_operations}
    apart = {p.w: p.blocks for p in graph.parameters}
    biases: dict[int, int] = {}  # by the variable y
    for var in (*apart, *graph.plain):
        reader, shape = only_reader(var), graph.program.avals[var].shape
        if reader is not None and reader.name == "broadcast_in_dim":
            reader = only_reader(reader.outputs[0])
        if reader is None or reader.name not in ("add", "add_any") or id(reader) not in sums:
            continue
        op = sums[id(reader)]
        row = shape[-1:] == (op.width,) == (math.prod(shape),)
        if row and apart.get(var, ()) == op.blocks:
            biases[op.y] = var

    return replace(
        graph,
        operations=tuple(replace(op, bias=biases.get(op.y)) for op in graph.operations),
        parameters=tuple(p for p in graph.parameters if p.w not in biases.values()),
        plain=tuple(v for v in graph.plain if v not in biases.values()),
    )


# -- small tools


MOST_RUNS = 8  # of consecutive neurons, before a block lists them


def _runs(neurons: np.ndarray) -> list[tuple[slice, Any]]:
    """Runs of columns whose neuron numbers rise by one, and the neurons; columns in an order of
    their own (a permutation) are one run, with their neurons listed."""
    gap = (neurons[:-1] == NONE) | (neurons[1:] == NONE)
    jump = np.diff(neurons) != 1
    apart = jump | gap if (jump | gap).sum() < MOST_RUNS else gap
    runs: list[tuple[slice, Any]] = []
    for a, b in itertools.pairwise([0, *(np.flatnonzero(apart) + 1), len(neurons)]):
        first = int(neurons[a])
        if first == NONE:
            continue
        listed = jump[a : b - 1].any()
        own = tuple(map(int, neurons[a:b])) if listed else slice(first, first + int(b - a))
        runs.append((slice(int(a), int(b)), own))
    return runs
