"""OTPE: OTTT that also credits what a weight's spikes have left in the layer that reads them.

With a the decay of a layer's membrane, k that of the layer above, and z what that layer reads,

    ex_t = a ex_{t-1} + x_t                  [lead, I], as in OTTT
    E_t  = k E_{t-1} + ex_t (x) dz_t/dy_t    [lead, I, H], the post-synaptic effect
    g_t  = sum_b (L_t W^T) E_t               L_t: credit inside step t at y of the layer above, z W

OTTT has ex_t (x) dz_t/dy_t in the place of E_t: it asks what a weight does to the present spike. In
one step dy_t of the layer above gains k (E_{t-1} dW) W. A layer that no leaky one reads is OTTT's.
Memory O(B I H), as D-RTRL. Spikes that a layer sends to itself are cut, as in OTTT: the rule is
meant for feed-forward networks. The paper's factorised approximation of E is not here.

Reference: T. Summe et al., "Estimating Post-Synaptic Effects for Online Training of Feed-Forward
SNNs", arXiv:2311.16151.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from core.algorithms.ottt import OTTT
from core.algorithms.windowed import once_a_graph
from core.analysis.graph import Graph
from core.analysis.reach import Reader, readers, with_constant_readers
from core.execution.axes import along, behind, forget
from core.execution.recurrence import accumulate, remembered
from core.execution.rollout import Record
from core.execution.step import Values
from core.execution.window import Derivatives, Moved, reading
from core.traces.dense import outer
from core.traces.full import enter


class OTPE(OTTT):
    """Online training with post-synaptic estimates.

    Args:
      model: as of OTTT.
      window: as of D-RTRL; it never changes the gradient.
      feedback: as of D-RTRL.
      seed: as of D-RTRL.
      mode: as of D-RTRL.
    """

    def with_readers(self, graph: Graph) -> Graph:
        return with_constant_readers(graph, self.decays(graph))

    @once_a_graph
    def readers(self, graph: Graph) -> list[Reader]:
        """The layers that read others."""
        return readers(graph, self.decays(graph))

    def init_traces(self, graph: Graph) -> dict[str, Any]:
        """ex, and E by reader and by operation and block that it follows."""
        effects = [
            {
                (op.label, b): jnp.zeros((*op.lead, op.rows, block.width), graph.operand_dtype(op))
                for op, b, block in _feeding(graph, reader.below)
            }
            for reader in self.readers(graph)
        ]
        return {"x": super().init_traces(graph), "effects": effects}

    def linearised(self, values: Any, record: Record, keep: Any) -> Derivatives:
        """With dz/dy by source, and the matrix [I, H], of each reader."""
        graph, local, read = self.graph, super().linearised(values, record, keep), []
        behind = self.feedback.of(graph, values)
        for reader in self.readers(graph):
            _, dz = reading(graph, values, record, reader.op.x, reader.below)
            read.append((dz, behind[reader.op.w]))
        return replace(local, own=tuple(read))

    def follow(self, graph: Graph, local: Derivatives, traces: Any) -> tuple[Any, Any]:
        """The past is ex_t of every step, and E where the window begins."""
        old = self.init_traces(graph) if traces is None else traces
        last, seen = super().follow(graph, local, old["x"])
        effects = []
        every = zip(self.readers(graph), local.own, old["effects"], strict=True)
        for reader, (dz, _), before in every:
            left = reader.decay ** jnp.arange(local.n_steps - 1.0, -1.0, -1.0)  # at the end
            new = {}
            for op, b, block in _feeding(graph, reader.below):
                E, ex = before[op.label, b], seen[op.label][b]
                psi = dz[graph.sources.index(op)][..., block.columns]
                if local.keep is not None:
                    psi, ex = forget((psi, ex), remembered(local.keep))
                    E = forget(E, local.keep.prod(axis=0))
                entered = outer(along(left, ex) * ex, psi)
                new[op.label, b] = (reader.decay**local.n_steps * E + entered).astype(E.dtype)
            effects.append(new)
        return {"x": last, "effects": effects}, (seen, old["effects"])

    def direction(self, graph: Graph, local: Derivatives, past: Any, d_weights: Values) -> Moved:
        """OTTT's, and k (E_{t-1} dW) W of the layer above."""
        dh, dq = super().direction(graph, local, past[0], d_weights)
        own = tuple(dq)
        every = zip(self.readers(graph), local.own, past[1], strict=True)
        for reader, (dz, matrix), before in every:
            group = graph.groups[reader.below]
            start = {0: jnp.zeros((*group.lead, group.n), matrix.dtype)}
            inflow = {0: jnp.zeros((local.n_steps, *start[0].shape), matrix.dtype)}
            for op, b, block in _feeding(graph, reader.below):
                dw, k = op.moved(d_weights), graph.sources.index(op)
                if dw is not None:
                    E = before[op.label, b]
                    E = (E * behind(dw[:, block.columns], E)).sum(axis=-2)
                    enter(start, 0, E, block.neurons)
                    moved = (dz[k] * own[k])[..., block.columns]
                    enter(inflow, 0, moved, block.neurons)
            decay = {(0, 0): jnp.full_like(inflow[0], reader.decay)}
            z, _ = accumulate(decay, start, inflow, local.keep)
            left = reader.decay * reader.passed(z[0], matrix)
            enter(dq, reader.source, left, reader.op.blocks[reader.block].columns)
        return dh, dq


def _feeding(graph: Graph, group: int) -> list[Any]:
    """Operations that feed a group, with each of their blocks and its place."""
    return [
        (op, b, block)
        for op in graph.trained_operations
        for b, block in enumerate(op.blocks)
        if block.group == group
    ]
