"""e-prop: D-RTRL's trace, filtered as the readout filters spikes, and a learning signal.

    eps_t = D_t eps_{t-1} + x_t (x) f_t          the eligibility vector, as in D-RTRL
    e_t   = dz_t/dh_t eps_t                      z: what the readout reads (spikes, or h itself)
    E_t   = k E_{t-1} + e_t                      k: the readout's decay
    g_t   = sum_b (err_t B^T) E_t                err_t = dl_t/dr_t, r_t = k r_{t-1} + z_t W_out

B is W_out ("symmetric"), or fixed and random. D-RTRL's L_t sees the present step only; e-prop also
knows what earlier spikes have left in a leaky readout. So with symmetric feedback and a readout
without memory e-prop *is* D-RTRL, and with random feedback `D_RTRL(model, feedback="random")`.

E_t is carried as one more state of a neuron, Z_t = k Z_{t-1} + z_t, with a trace of its own, from
which a change of r is (Z dW) B: a second array of the size of the trace. Layers below the last pass
their credit up within the step. The decay of the model's own D_t is kept: a reset that the model
differentiates is in it, where the paper leaves it out. Biases of the readout, and W_out, have
their exact gradient; W_out may be constant. An activation that has no past, and that nothing but
a readout reads, is no state: its weights have the gradient within the step, without what the
readout remembers. Adaptive feedback, where B learns beside W_out, is the readout
`core.nn.FeedbackLinear` under D-RTRL.

Reference: G. Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking
neurons", Nature Communications 11 (2020), arXiv:1901.09049.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from core.algorithms.d_rtrl import D_RTRL
from core.algorithms.windowed import once_a_graph
from core.analysis.beginning import Beginning
from core.analysis.graph import Graph
from core.analysis.reach import (
    Reader,
    constant_decay,
    is_read,
    readers,
    with_components,
    with_constant_readers,
)
from core.execution.rollout import Record
from core.execution.step import Values
from core.execution.window import Derivatives, Moved, reading
from core.traces.full import enter


class EProp(D_RTRL):
    """Eligibility propagation.

    Args:
      model: any brainstate module.
      feedback: "random" or "symmetric".
      seed: of the random matrices.
      window: as of D-RTRL; it never changes the gradient.
      mode: accepted for compatibility; the shapes tell.
    """

    def __init__(
        self,
        model: Any,
        *,
        feedback: str = "random",
        seed: int = 0,
        window: int | str = "auto",
        mode: Any = None,
    ) -> None:
        super().__init__(model, window=window, feedback=feedback, seed=seed, mode=mode)

    def make_graph(self, args: tuple[Any, ...], watched: Sequence[Any] = ()) -> Graph:
        graph = super().make_graph(args, watched)
        return with_constant_readers(graph, self.leaky(graph))

    @once_a_graph
    def leaky(self, graph: Graph) -> list[Any]:
        """Decays of the groups that no product reads in turn, None of the others."""
        begins = graph.arg_vars[-1:] if isinstance(self.stepped, Beginning) else ()
        groups = range(len(graph.groups))
        return [
            None if is_read(graph, g) else constant_decay(graph, g, never=begins) for g in groups
        ]

    @once_a_graph
    def readouts(self, graph: Graph) -> list[Reader]:
        """What feeds these."""
        return readers(graph, self.leaky(graph))

    def filters(self, graph: Graph) -> list[int]:
        """The component Z of the neurons that each readout reads."""
        below = [readout.below for readout in self.readouts(graph)]
        return [len(graph.groups[g].states) + below[:r].count(g) for r, g in enumerate(below)]

    def traced(self, graph: Graph) -> Graph:
        for readout in self.readouts(graph):
            graph = with_components(graph, readout.below, graph.groups[readout.below].states[:1])
        return graph

    def linearised(self, values: Any, record: Record, keep: Any) -> Derivatives:
        """Z_t = k Z_{t-1} + z_t beside the model's own recurrences; B of each readout, [I, O]."""
        graph, local = self.graph, super().linearised(values, record, keep)
        transition = list(map(dict, local.transition))
        f = {place: dict(own) for place, own in local.f.items()}
        behind, matrices = self.feedback.of(graph, values), []
        for readout, z in zip(self.readouts(graph), self.filters(graph), strict=True):
            op, group = readout.op, graph.groups[readout.below]
            dz_dh, dz_dy = reading(graph, values, record, op.x, readout.below)
            dtype, own = graph.dtype(readout.below), transition[readout.below]
            own.update(((z, p), d) for p, d in dz_dh.items())
            own[z, z] = jnp.full((local.n_steps, *group.lead, group.n), readout.decay, dtype)
            for (k, b), of_block in f.items():
                block = graph.sources[k].blocks[b]
                if block.group == readout.below:
                    of_block[z] = dz_dy[k][..., block.columns].astype(dtype)
            matrices.append(behind[op.w])
        return replace(local, transition=tuple(transition), f=f, own=tuple(matrices))

    def direction(self, graph: Graph, local: Derivatives, past: Any, d_weights: Values) -> Moved:
        """D-RTRL's; r also remembers earlier z: dr_{t-1} = f_r (Z_{t-1} dW) B."""
        moved, dq = self.past.flow(self.traced(graph), local, past, d_weights)
        dh = graph.of_states(moved)
        known = zip(self.readouts(graph), self.filters(graph), local.own, strict=True)
        for readout, z, matrix in known:
            block = readout.op.blocks[readout.block]
            dr = readout.passed(moved[readout.below][z], matrix)
            own = graph.groups[block.group]
            (s,) = own.live
            enter(dh, own.states[s], local.f[readout.source, readout.block][s] * dr, block.neurons)
        return dh, dq
