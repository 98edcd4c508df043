"""Leaky integrators that read the neurons of another group one by one: readouts, layers above.

With z_t what their product y = z W reads, r_t = k r_{t-1} + f y_t remembers sum_s k^{t-s} z_s: a
rule that credits what earlier spikes have left in r follows one such sum for each neuron.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from core.analysis.build import operand_labels
from core.analysis.graph import Graph
from core.analysis.operation import Block, Operation
from core.analysis.other_states import dependencies
from core.equations.movement import NONE
from core.equations.program import needed, variables_of

__all__ = ["Reader", "is_read", "readers", "with_components"]


class Reader(NamedTuple):
    """An operation through which a leaky group reads another, neuron by neuron."""

    source: int  # its place in Graph.sources
    group: int  # which it feeds
    decay: Any  # of that group
    below: int  # the group that it reads
    feature: np.ndarray  # [n], the place of each neuron in what it reads, or NONE

    def passed(self, z: Any, matrix: Any) -> Any:
        """z W of the neurons that it reads, [..., n] -> [..., H], with W [I, H]."""
        reads = self.feature != NONE
        return z[..., np.flatnonzero(reads)] @ matrix[self.feature[reads]].astype(z.dtype)


def readers(graph: Graph, decays: Sequence[Any]) -> list[Reader]:
    """All that feed a group with a decay, and nothing else.

    Args:
      decays: by group; None of those that do not count.

    Raises:
      NotRepresentable: one that reads a mixture of neurons.
    """
    fixed_y, found = dependencies(graph), list[Reader]()
    for k, op in enumerate(graph.sources):
        fed = {block.group for block in op.blocks}
        if not isinstance(op, Operation) or len(fed) != 1 or op.blocks[0].width != op.width:
            continue
        (own,) = fed
        if decays[own] is None or not graph.groups[own].live:
            continue
        labels = operand_labels(graph, op, fixed_y)
        for below, group in enumerate(graph.groups):
            feature = np.full(group.n, NONE)
            for s in group.states:
                label = labels.get(graph.hidden[s].var, np.full(group.n, NONE))
                feature = np.maximum(feature, label.reshape(-1, group.n)[0])
            for source in graph.operations:
                for block in source.blocks if source.y in labels else ():
                    if block.group == below:
                        first = source.canonical_y(labels[source.y]).reshape(-1, source.width)[0]
                        own_neurons = block.of_neurons(np.arange(group.n))
                        new = np.maximum(feature[own_neurons], first[block.columns])
                        feature[own_neurons] = new
            if below != own and (feature != NONE).any():
                found.append(Reader(k, own, decays[own], below, feature))
    return found


def is_read(graph: Graph, group: int) -> bool:
    """Whether an operation reads the group, one that feeds no state included."""
    own = {graph.hidden[s].var for s in graph.groups[group].states}
    operands = [op.x for op in graph.operations]
    return not own.isdisjoint(variables_of(needed(graph.body, operands), operands))


def with_components(graph: Graph, group: int, states: Sequence[int]) -> Graph:
    """More live components of the neurons of a group, in all traces of what feeds it.

    Args:
      states: the place in Graph.hidden of a state of the kind of each.
    """
    old = graph.groups[group]
    new = tuple(range(len(old.states), len(old.states) + len(states)))
    groups = list(graph.groups)
    groups[group] = replace(old, states=(*old.states, *states), live=(*old.live, *new))

    def of(block: Block) -> Block:
        own = (*block.components, *new) if block.group == group else block.components
        return replace(block, components=own)

    return replace(graph, groups=tuple(groups)).with_blocks(of)
