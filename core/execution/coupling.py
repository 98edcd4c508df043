"""How the states of a group move the products that feed it, dy_t/dh_{t-1}, at every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from core.analysis.graph import Graph
from core.analysis.operation import Block, Operation
from core.analysis.reach import read_back
from core.execution.axes import scan
from core.execution.rollout import Record
from core.execution.step import computed


def couplings(
    graph: Graph, values: Any, record: Record, near: Sequence[Any]
) -> dict[tuple[int, int], dict[int, Any]]:
    """How neurons followed together, `near` by group, [n, most], move each other's products.

    Returns:
      R by source and block, of those that their group moves in turn, and by state of the group,
      [K, lead, n, most, most]: what the neuron near[j, c] adds to the y that feeds the neuron
      near[j, a], by every path inside the step; zero where the block feeds another.
    """
    found = {}
    operations = [op for op in graph.operations if op.trainable]  # the first of the sources
    for k, op in enumerate(operations):
        for b, block in enumerate(op.blocks):
            if states := read_back(graph, op, block):
                own = near[block.group]
                found[k, b] = _of_block(graph, values, record, op, block, states, own)
    return found


def _of_block(
    graph: Graph,
    values: Any,
    record: Record,
    op: Operation,
    block: Block,
    states: list[int],
    near: np.ndarray,
) -> dict[int, Any]:
    """Step after step, as all that moves y in one takes the memory of a trace."""
    group = graph.groups[block.group]
    places = {p: graph.hidden[group.states[p]].var for p in states}
    row = np.full(group.n, block.width)  # of the output that feeds a neuron; a row of zeros
    row[block.of_neurons(np.arange(group.n))] = np.arange(block.width)
    both = (near[:, :, None] >= 0) & (near[:, None, :] >= 0)

    def arranged(d: Any) -> Any:
        """dy/dh of all outputs, [width, lead, n], as [lead, n, most, most]."""
        d = jnp.moveaxis(d.reshape(block.width, *group.lead, group.n), 0, -2)
        d = jnp.pad(d.astype(graph.dtype(block.group)), [(0, 0)] * (d.ndim - 2) + [(0, 1), (0, 0)])
        return jnp.where(both, d[..., row[near][:, :, None], near[:, None, :]], 0)

    def one(_: None, read: Any) -> tuple[None, dict[int, Any]]:
        def product(live: Any) -> Any:
            return computed(graph, values, [op.y], {**read, **live})[0]

        y, pull = jax.vjp(product, {v: read[v] for v in places.values()})
        columns = jnp.arange(block.columns.start, block.columns.stop)
        (found,) = jax.vmap(lambda j: pull(jnp.zeros_like(y).at[..., j].set(1)))(columns)
        return None, {p: arranged(found[v]) for p, v in places.items()}

    return scan(one, None, record.read)[1]


def summed(z: Any, near: np.ndarray) -> Any:
    """At the neurons where z [..., n, reach] is, [..., n]."""
    if near.shape[1] == 1:
        return z[..., 0]
    z = jnp.where(near >= 0, z, 0)
    return jnp.zeros(z.shape[:-1], z.dtype).at[..., near].add(z)
