"""D-RTRL: a trace for every weight, sample and state component.

With D_t = dh_t/dh_{t-1} and f_t = dh_t/dy_t at fixed outputs y of all operations, element-wise:

    eps_t = D_t eps_{t-1} + x_t (x) f_t                  [lead, I, H] for each state component
    g_t   = sum_{b,s} L_t eps_t                          L_t: credit inside step t

Written as the derivative that it is, dh_t = D_t dh_{t-1} + f_t (x_t dW), the trace is needed only
where a window of K steps begins. Inside, the recurrence runs over dh [lead, n]; jax transposes it:

    dh_0  = contract(eps_0, dW)
    dh_t  = D_t dh_{t-1} + f_t (x_t dW)
    eps_K = A_0 eps_0 + sum_t x_t (x) (A_t f_t)          A_t = D_K ... D_{t+1}

The gradient does not depend on K. With the whole sequence in one window no trace is made at all.

References: C. Wang et al., "BrainTrace" (D-RTRL); "HYPR", arXiv:2506.14464, for computing
eligibility over windows; J. Menick et al., "SnAp", arXiv:2006.07232, for the approximation.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from core.algorithms.base import WindowedAlgorithm
from core.graph import Graph
from core.operation import Block
from core.traces import outer, spread
from core.window import Derivatives, accumulate

__all__ = ["D_RTRL", "ParamDimVjpAlgorithm"]


class D_RTRL(WindowedAlgorithm):  # noqa: N801  the field's name
    """Decoupled real-time recurrent learning: memory O(B I H), exact within its definition.

    Args:
      model: any brainstate module.
      mode: accepted for compatibility; the shapes tell.
    """

    def init_traces(self, graph: Graph) -> dict[str, Any]:
        """eps = 0, by source: a tuple over blocks of {component: [lead, I, width]}."""
        return {
            source.label: tuple(
                {
                    s: jnp.zeros((*source.lead, *source.trace_axes, b.width), graph.dtype(b.group, s))
                    for s in b.components
                }
                for b in source.blocks
            )
            for source in graph.sources
        }

    def unfold(self, graph: Graph, local: Derivatives, traces: Any, keep: bool) -> tuple[Any, Any]:
        """The past is eps_0 itself; at the end, eps_K."""
        return traces, self._advance(graph, local, traces) if keep else None

    def _advance(self, graph: Graph, local: Derivatives, traces: Any) -> dict[str, Any]:
        """eps_K[s] = sum_p A_0[s, p] eps_0[p] + sum_t x_t (x) sum_p A_t[s, p] f_t[p]."""
        products = [
            _products(group.live, d, zero)
            for group, d, zero in zip(
                graph.groups, local.transition, graph.zero_flow(local.n_steps), strict=True
            )
        ]
        new = {}
        for source, f, x in zip(graph.sources, local.f, local.x, strict=True):
            blocks = []
            for b, (block, f_b) in enumerate(zip(source.blocks, f, strict=True)):
                after, start = products[block.group]
                eps_0 = None if traces is None else traces[source.label][b]
                blocks.append({
                    s: _advance_block(block, s, after, start, f_b, x, eps_0)
                    for s in block.components
                })
            new[source.label] = tuple(blocks)
        return new

    def direction(
        self, graph: Graph, local: Derivatives, past: Any, d_weights: dict[int, Any]
    ) -> tuple[dict[int, Any], list[Any]]:
        """dh_t = D_t dh_{t-1} + f_t (x_t dW), from dh_0 = contract(eps_0, dW)."""
        inflow = graph.zero_flow(local.n_steps)
        start = graph.zero_flow(None)
        dq = []
        for source, f, x in zip(graph.sources, local.f, local.x, strict=True):
            dw = d_weights.get(source.w)
            q = source.drive(x, dw, local.n_steps)  # x_t dW, or d theta
            dq.append(q)
            if dw is None:
                continue
            for b, (block, f_b) in enumerate(zip(source.blocks, f, strict=True)):
                n = graph.groups[block.group].n
                for s in block.components:
                    inflow[block.group][s] += spread(f_b[s] * q[..., block.columns], block.neurons, n)
                    if past is not None:
                        dh = source.contract(past[source.label][b][s], dw, block.columns)
                        start[block.group][s] += spread(dh, block.neurons, n)
        dh = {}
        for g, group in enumerate(graph.groups):
            before, _ = accumulate(local.transition[g], group.live, start[g], inflow[g])
            dh.update((group.states[s], before[s]) for s in group.live)
        return dh, dq


def _products(
    live: tuple[int, ...], transition: dict[tuple[int, int], Any], zero: dict[int, Any]
) -> tuple[dict[tuple[int, int], Any], dict[tuple[int, int], Any]]:
    """A_t[s, p] for every t, and A_0: how state p after step t still moves state s at the end."""
    after, start = {}, {}
    for s in live:
        end = {p: jnp.full_like(zero[p][0], p == s) for p in live}
        steps, last = accumulate(transition, live, end, zero, reverse=True)
        after.update({(s, p): steps[p] for p in live})
        start.update({(s, p): last[p] for p in live})
    return after, start


def _advance_block(
    block: Block,
    s: int,
    after: dict[tuple[int, int], Any],
    start: dict[tuple[int, int], Any],
    f: dict[int, Any],
    x: Any,
    eps_0: dict[int, Any] | None,
) -> Any:
    """eps_K[s] of one block, [lead, I, width], or [lead, width] without x."""
    g = sum(after[s, p][..., block.neurons] * f[p] for p in block.components)
    eps = g.sum(axis=0) if x is None else outer(x, g)
    for p in block.components if eps_0 is not None else ():
        a = start[s, p][..., block.neurons]
        eps = eps + (a if x is None else a[..., None, :]) * eps_0[p]
    return eps


ParamDimVjpAlgorithm = D_RTRL
