"""OTTT: online training through time, for leaky integrate-and-fire neurons.

With the decay a of a layer's membrane, and x what its product y = x W reads,

    ex_t = a ex_{t-1} + x_t                  [lead, I], the presynaptic trace
    g_t  = sum_b ex_t (x) (L_t f_t)          L_t: credit inside step t, f_t = dv_t/dy_t

What a weight does to v is followed as if the neuron had not been reset since, which makes the trace
of a weight a product of one of its input and the present: memory O(B I). A leaky readout is treated
alike, with its own decay. a is read off the model, its spikes held fixed; a layer that has no such
number (a GRU, an adaptive neuron, a synapse with a state of its own) is refused, and so is one that
is not driven by y times a constant (a sum of spikes of y), or is read as it was before the step
(ex_t is of the present v), and a y that feeds two layers, or is read beside v.

In one step dy_t = ex_t dW; for neurons without a reset this is D-RTRL.

Reference: M. Xiao et al., "Online Training Through Time for Spiking Neural Networks", NeurIPS 2022,
arXiv:2210.04195.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, PyTree, Shaped

from core.algorithms.windowed import WindowedAlgorithm, once_a_graph
from core.analysis.cuts import read_otherwise
from core.analysis.graph import Graph
from core.analysis.operation import Block, pieces
from core.analysis.reach import constant_decay
from core.errors import NotRepresentable
from core.execution.recurrence import low_pass
from core.execution.step import Values
from core.execution.window import Derivatives, Moved


class OTTT(WindowedAlgorithm):
    """Online training through time: one presynaptic trace a product.

    Args:
      model: any brainstate module whose states are leaky integrators, with or without spikes.
      window: as of D-RTRL; it never changes the gradient.
      feedback: as of D-RTRL.
      seed: as of D-RTRL.
      mode: as of D-RTRL.
    """

    def make_graph(self, args: tuple[PyTree, ...], watched: Sequence[Any] = ()) -> Graph:
        graph = self.with_readers(super().make_graph(args, watched))
        for came in self._undefined(graph):
            raise NotRepresentable(
                "leaky integrators with one constant decay, driven each by products of its own and"
                f" read after its update, for {type(self).__name__}",
                came,
                "Use core.D_RTRL or core.EProp.",
            )
        return graph

    def _undefined(self, graph: Graph) -> Iterator[str]:
        """What the rule has no trace for, in words."""

        def named(blocks: Iterable[Block]) -> str:
            states = (s for block in blocks for s in graph.groups[block.group].states)
            return ", ".join(dict.fromkeys(graph.hidden[s].name for s in states))

        yield from (f"the element-wise parameter {p.name}" for p in graph.parameters)
        for op in graph.operations:
            for block in op.blocks:
                if self.decays(graph)[block.group] is None:
                    yield f"{named([block])}, fed by {op.name}, which decays or is driven otherwise"
        for op in graph.trained_operations:
            for _, fed in pieces(op.blocks, op.width):
                if len(fed) > 1:
                    yield f"{op.name}, which feeds {named(op.blocks[b] for b in fed)}"
        yield from read_otherwise(graph)

    def with_readers(self, graph: Graph) -> Graph:
        """Of constant products none has a part in this rule."""
        return graph

    @once_a_graph
    def decays(self, graph: Graph) -> list[Any]:
        """Of every group, None where it has none."""
        return [constant_decay(graph, g, held=True) for g in range(len(graph.groups))]

    def init_traces(self, graph: Graph) -> dict[str, tuple[Shaped[Array, "... rows"], ...]]:
        """ex by operation and block."""
        return {
            op.label: tuple(
                jnp.zeros((*op.lead, op.rows), graph.operand_dtype(op)) for _ in op.blocks
            )
            for op in graph.trained_operations
        }

    def follow(self, graph: Graph, local: Derivatives, traces: PyTree) -> tuple[PyTree, PyTree]:
        """The past is ex_t of every step."""
        seen = {}
        for op, x in zip(graph.sources, local.x, strict=True):
            filtered = []
            for b, block in enumerate(op.blocks):
                a, start = self.decays(graph)[block.group], x
                if traces is not None:
                    start = x.at[0].add((a * traces[op.label][b]).astype(x.dtype))
                filtered.append(low_pass(a, {0: start}, local.keep)[0])
            seen[op.label] = tuple(filtered)
        return {label: tuple(ex[-1] for ex in found) for label, found in seen.items()}, seen

    def direction(self, graph: Graph, local: Derivatives, past: PyTree, d_weights: Values) -> Moved:
        """dy_t = ex_t dW; what was before the step is in ex."""
        dq = []
        for op, x in zip(graph.sources, local.x, strict=True):
            runs, parts = pieces(op.blocks, op.width), []
            cut = op.cut(op.moved(d_weights), [columns for columns, _ in runs])
            for dw, (columns, fed) in zip(cut, runs, strict=True):
                operand = past[op.label][fed[0]] if fed else x
                parts.append(op.drive(operand, dw, local.n_steps, columns))
            dq.append(jnp.concatenate(parts, axis=-1))
        return graph.of_states(graph.zero_flow(local.n_steps)), dq
