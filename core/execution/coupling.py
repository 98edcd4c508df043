"""How the states of a group move the products that feed it, dy_t/dh_{t-1}, at every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from core.analysis.graph import Graph
from core.analysis.operation import Block, Operation
from core.analysis.reach import read_back
from core.execution.axes import over_time
from core.execution.rollout import Record
from core.execution.step import computed

__all__ = ["couplings"]

PULLS_AT_ONCE = 16  # of the H pulls of a block, so that a window takes little memory


def couplings(
    graph: Graph, values: Any, record: Record, near: Sequence[Any]
) -> tuple[tuple[dict[int, Any], ...], ...]:
    """How neurons followed together, `near` by group, [n, most], move each other's products.

    Returns:
      R by source, block and state of its group, [K, lead, n, most, most]: what the neuron
      near[j, c] adds to the y that feeds the neuron near[j, a], by every path inside the step; zero
      where the block feeds another.
    """

    def of(op: Any, block: Block) -> dict[int, Any]:
        back = read_back(graph, op, block) if isinstance(op, Operation) else []
        return _of_block(graph, values, record, op, block, back, near) if back else {}

    return tuple(tuple(of(source, block) for block in source.blocks) for source in graph.sources)


def _of_block(
    graph: Graph,
    values: Any,
    record: Record,
    op: Operation,
    block: Block,
    states: list[int],
    near: Any,
) -> dict[int, Any]:
    """One output a pull."""
    group, n_steps, near = graph.groups[block.group], record.n_steps, near[block.group]
    places = [group.states[p] for p in states]

    def products(live: tuple[Any, ...]) -> Any:
        hidden = list(record.hidden)
        for i, h in zip(places, live, strict=True):
            hidden[i] = h
        run = over_time(lambda h, step: computed(graph, values, [op.y], h, step)[0])
        return run(tuple(hidden), record.step)

    y, pull = jax.vjp(products, tuple(record.hidden[i] for i in places))
    fed = block.of_neurons(np.arange(group.n))
    wanted, place = _together(near)

    def one(j: Any) -> tuple[Any, ...]:
        (found,) = pull(jnp.zeros_like(y).at[..., block.columns.start + j].set(1))
        rows = (d.reshape(n_steps, *group.lead, group.n) for d in found)
        return tuple(d[..., jnp.asarray(wanted[fed])[j]] for d in rows)

    found = lax.map(one, jnp.arange(block.width), batch_size=PULLS_AT_ONCE)
    row = np.full(group.n, block.width)  # of the output that feeds a neuron; a row of zeros
    row[fed] = np.arange(block.width)

    def arranged(rows: Any) -> Any:
        """[width, K, lead, wanted] -> [K, lead, n, most, most]."""
        rows = jnp.moveaxis(rows, 0, -2).astype(graph.dtype(block.group))
        rows = jnp.pad(rows, [(0, 0)] * (rows.ndim - 2) + [(0, 1), (0, 0)])
        both = (near[:, :, None] >= 0) & (near[:, None, :] >= 0)
        return jnp.where(both, rows[..., row[near][:, :, None], place], 0)

    return dict(zip(states, map(arranged, found), strict=True))


def _together(near: Any) -> tuple[Any, Any]:
    """The neurons that any one follows together with each, [n, m], and where near[j, c] is among
    those of near[j, a], [n, most, most]."""
    beside: list[set[int]] = [set() for _ in near]
    for own in near:
        for a in own[own >= 0]:
            beside[a].update(own[own >= 0])
    m = max(map(len, beside))
    listed = [sorted(some) for some in beside]
    wanted = np.array([some + [0] * (m - len(some)) for some in listed])
    at = [{i: k for k, i in enumerate(some)} for some in listed]
    place = [[[at[a].get(c, 0) if a >= 0 else 0 for c in own] for a in own] for own in near]
    return wanted, np.array(place)
