"""What reaches a state in a step, and which neurons of a group one reaches in several, through the
group's own products.

Zeros of a weight count where they are there whatever the parameters are: a mask, a sparse product,
one group of a grouped one.
"""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np

from core.analysis.build import operand_labels
from core.analysis.graph import Graph
from core.analysis.operation import Block, Operation, Parameter
from core.analysis.other_states import dependencies
from core.equations.movement import NONE
from core.equations.program import evaluate, needed, variables_of
from core.equations.relations import closure, partners
from core.errors import NotRepresentable

__all__ = ["credited", "neurons_in_reach", "reaching", "read_back", "with_own_products"]


def reaching(graph: Graph) -> set[int]:
    """Variables that reach a new state in a step, by any path."""
    equations = needed(graph.body, [h.new for h in graph.hidden])
    return variables_of(equations, [v for eqn in equations for v in eqn.outputs])


def credited(graph: Graph) -> list[Operation | Parameter]:
    """Sources that reach a state in a step."""
    there = reaching(graph)
    return [s for s in graph.sources if (s.y if isinstance(s, Operation) else s.w) in there]


def read_back(graph: Graph, op: Operation, block: Block) -> list[int]:
    """The states of the group that a block feeds that its operation reads in turn."""
    read = variables_of(needed(graph.body, [op.x]), [op.x])
    group = graph.groups[block.group]
    return [p for p in group.live if graph.hidden[group.states[p]].var in read]


def with_own_products(graph: Graph) -> Graph:
    """Traces of all states that a source moves, also through the products of its own group.

    Raises:
      NotRepresentable: such a product whose weights are not trained.
    """
    fed: set[tuple[int, int, int]] = set()
    for op in graph.operations:
        for block in op.blocks:
            back = read_back(graph, op, block)
            if back and not op.trainable:
                raise NotRepresentable(
                    "recurrent products whose weights are trained, for SnAp",
                    f"{op.name}, which is constant",
                    "Make it a ParamState, or use core.RTRL or core.D_RTRL.",
                )
            fed.update((block.group, s, p) for s in block.components for p in back)

    def covered(block: Block) -> Block:
        group = graph.groups[block.group]
        reads = group.reads | {(s, p) for g, s, p in fed if g == block.group}
        touched = closure(set(block.components), partners(reads, of=1))
        return replace(block, components=tuple(s for s in group.live if s in touched))

    return graph.with_blocks(covered)


def neurons_in_reach(graph: Graph, g: int, n: int) -> np.ndarray:
    """The neurons that each neuron of a group reaches in at most `n` - 1 steps, itself first.

    Returns:
      [neurons, most], filled up with NONE.
    """
    size = graph.groups[g].n
    one = np.eye(size, dtype=bool)
    for op in graph.operations if n > 1 else ():
        for block in op.blocks:
            if block.group == g and read_back(graph, op, block):
                one[block.of_neurons(np.arange(size))] |= _moved_by(graph, op, g)[block.columns]
    within = np.eye(size, dtype=bool)  # [reached, from]
    for _ in range(n - 1):
        within = one.astype(int) @ within > 0
    order = [[j, *(i for i in np.flatnonzero(row) if i != j)] for j, row in enumerate(within.T)]
    most = max(map(len, order))
    return np.array([own + [NONE] * (most - len(own)) for own in order])


def _moved_by(graph: Graph, op: Operation, g: int) -> np.ndarray:
    """Whether y of an operation is moved by a neuron of a group within the step, [H, n]."""
    group, x = graph.groups[g], np.zeros((op.n_in, graph.groups[g].n), bool)
    try:
        labels = operand_labels(graph, op, dependencies(graph)) if op.in_order else None
    except NotRepresentable:  # a mixture of neurons
        labels = None
    if labels is None:
        x[:] = True
        labels = {}
    for s in group.states:
        feature = labels.get(graph.hidden[s].var, np.full(group.n, NONE))
        feature = feature.reshape(-1, group.n)[0]
        x[feature[feature != NONE], np.flatnonzero(feature != NONE)] = True
    for below in graph.operations:
        if below.y in labels and below is not op:
            feature = below.canonical_y(labels[below.y]).reshape(-1, below.width)[0]
            moved = _moved_by(graph, below, g)
            np.logical_or.at(x, feature[feature != NONE], moved[feature != NONE])
    return op.matrix(_occupied(graph, op.w)).T.astype(int) @ x > 0


def _occupied(graph: Graph, w: int) -> np.ndarray:
    """Where a weight is not zero whatever the parameters are."""
    aval, known = graph.program.avals[w], graph.program.constants
    equations = needed(graph.prelude, [w], given=known)
    made = {v for eqn in equations for v in eqn.outputs}
    read = variables_of(equations, [w])
    if any(isinstance(known.get(v), jax.core.Tracer) for v in read):
        return np.ones(aval.shape, bool)
    found, draw = np.zeros(aval.shape, bool), np.random.default_rng(0)
    with jax.ensure_compile_time_eval():
        for sign in (1, -1):  # of all parameters: a weight may be made positive on the way
            env = dict(known)
            for v in read - made - set(known):
                own = graph.program.avals[v]
                env[v] = jax.numpy.asarray(sign * draw.uniform(1, 2, own.shape), own.dtype)
            found |= np.asarray(evaluate(equations, env)[w]) != 0
    return found
