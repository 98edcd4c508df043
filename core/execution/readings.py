"""What moves the operand of an operation, element by element, at every step of a window."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from core.analysis.graph import Graph
from core.execution.axes import over_time
from core.execution.rollout import Record
from core.execution.step import operands
from core.execution.window import stretched

__all__ = ["Reading", "reading"]


class Reading(NamedTuple):
    """Derivatives of an operand z_t."""

    hidden: dict[int, Any]  # dz/dh_{t-1} by live hidden array, [K, *its shape]
    sources: list[Any]  # dz/dy by source, [K, lead, width]


def reading(graph: Graph, values: Any, record: Record, k: int) -> Reading:
    """Of the operand of the k-th source, one neuron of which no two elements read."""
    n_steps = record.n_steps

    def z(live: Any, ys: Any, thetas: Any) -> Any:
        hidden = list(record.hidden)
        for i, h in zip(graph.live, live, strict=True):
            hidden[i] = h

        def one(h: Any, y: Any, theta: Any, step: Any) -> Any:
            return operands(graph, graph.with_parameters(values, theta), h, y, step)[k]

        return over_time(one)(tuple(hidden), ys, thetas, record.step)

    live = tuple(record.hidden[i] for i in graph.live)
    read, pull = jax.vjp(z, live, record.ys, stretched(graph, values, n_steps))
    d_live, d_ys, d_thetas = pull(jnp.ones_like(read))
    trained = zip(graph.operations, d_ys, strict=True)
    d_sources = [d for op, d in trained if op.trainable]
    d_sources += [
        d.reshape(n_steps, *p.lead, p.width)
        for p, d in zip(graph.parameters, d_thetas, strict=True)
    ]
    return Reading(dict(zip(graph.live, d_live, strict=True)), d_sources)
