"""Derivatives of a whole step, with nothing cut, and of each sample by each weight."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from core.analysis.graph import Graph
from core.analysis.operation import Operation
from core.execution.rollout import Record
from core.execution.step import operands, whole_run
from core.execution.window import stretched

__all__ = ["WholeStep", "whole_step"]


class WholeStep(NamedTuple):
    """Of one step.

    Attributes:
      push: s -> dh_t/dh_{t-1} s, both one array a state.
      pull: c -> c . dh_t/dW by label of a source, [lead, I, H] of an operation.
      new: h_t.
    """

    push: Any
    pull: Any
    new: tuple[Any, ...]


def whole_step(graph: Graph, values: Any, record: Record) -> WholeStep:
    """Of a window of one step that has been run."""
    hidden, ys, step = jax.tree.map(lambda a: a[0], tuple(record))
    thetas = tuple(a[0] for a in stretched(graph, values, 1))

    def last(hidden: Any, d_ys: Any, thetas: Any) -> Any:
        return whole_run(graph, graph.with_parameters(values, thetas), hidden, d_ys, step)

    still = jax.tree.map(jnp.zeros_like, (ys, thetas))
    new, pulled = jax.vjp(last, hidden, still[0], thetas)
    # A derivative rule may exist in reverse alone; transposed, it is the forward one.
    pushed = jax.linear_transpose(pulled, new)
    xs = operands(graph, values, hidden, ys, step)
    trained = [op for op in graph.sources if isinstance(op, Operation)]

    def pull(c: Any) -> dict[str, Any]:
        _, d_ys, d_thetas = pulled(c)
        own = [d for op, d in zip(graph.operations, d_ys, strict=True) if op.trainable]
        found = {
            op.label: x[..., :, None] * d[..., None, :]
            for op, x, d in zip(trained, xs, own, strict=True)
        }
        for p, d in zip(graph.parameters, d_thetas, strict=True):
            found[p.label] = d.reshape(*p.lead, p.width)
        return found

    return WholeStep(lambda s: pushed((s, *still))[0], pull, new)
