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
their exact gradient. Adaptive feedback, where B learns beside W_out, is the readout
`core.nn.FeedbackLinear` under D-RTRL.

Reference: G. Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking
neurons", Nature Communications 11 (2020), arXiv:1901.09049.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from core.algorithms.base import Carry
from core.algorithms.d_rtrl import D_RTRL
from core.analysis.build import labels_of
from core.analysis.decay import constant_decay
from core.analysis.graph import Graph, Hidden
from core.analysis.operation import Operation
from core.analysis.other_states import dependencies
from core.equations.movement import NONE
from core.equations.program import needed
from core.execution.axes import over_time
from core.execution.rollout import Record
from core.execution.step import operands
from core.execution.window import Derivatives, stretched

__all__ = ["EProp"]


class Readout(NamedTuple):
    """A leaky readout that reads a group neuron by neuron."""

    source: int  # of its operation, in Graph.sources
    group: int  # its own
    decay: Any
    below: int  # the group that it reads
    feature: np.ndarray  # [n], the place of each neuron in what it reads, or NONE
    state: int  # the number of Z among the states of `below`


@partial(
    jax.tree_util.register_dataclass,
    meta_fields=["n_steps"],
    data_fields=["transition", "f", "x", "keep", "matrices"],
)
@dataclass(frozen=True)
class Filtered(Derivatives):
    """`Derivatives` of the groups with their filters Z, and B of each readout, [I, O]."""

    matrices: tuple[Any, ...] = ()


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
        self._found: tuple[Graph | None, list[Readout]] = (None, [])

    def make_graph(self, args: tuple[Any, ...], watched: Sequence[Any] = ()) -> Graph:
        graph = super().make_graph(args, watched)
        self.readouts(graph)  # refuses what mixes neurons
        return graph

    def init_traces(self, graph: Graph) -> dict[str, Any]:
        return super().init_traces(self.extended(graph))

    def linearised(self, values: Any, record: Record, keep: Any) -> Filtered:
        graph, local = self.graph, super().linearised(values, record, keep)
        transition, f = list(map(dict, local.transition)), [list(map(dict, b)) for b in local.f]
        behind, matrices = self.backwards(values), []
        for readout in self.readouts(graph):
            op, group = graph.sources[readout.source], graph.groups[readout.below]
            dtype, z = graph.dtype(readout.below), readout.state
            d_hidden, d_sources = self._read(values, record, readout.source)
            for p in group.live:
                d = d_hidden[group.states[p]].reshape(local.n_steps, *group.lead, group.n)
                transition[readout.below][z, p] = d.astype(dtype)
            decay = jnp.full((local.n_steps, *group.lead, group.n), readout.decay, dtype)
            transition[readout.below][z, z] = decay
            for source, of_source, d in zip(graph.sources, f, d_sources, strict=True):
                for block, of_block in zip(source.blocks, of_source, strict=True):
                    if block.group == readout.below:
                        of_block[z] = d[..., block.columns].astype(dtype)
            assert isinstance(op, Operation)
            matrices.append(op.matrix(behind[op.w]))
        rest = local.x, local.keep, local.n_steps
        return Filtered(tuple(transition), tuple(map(tuple, f)), *rest, tuple(matrices))

    def _read(self, values: Any, record: Record, k: int) -> tuple[dict[int, Any], list[Any]]:
        """dz/dh by live hidden array, and dz/dy by source, for the z that the k-th source reads."""
        graph, n_steps = self.graph, record.n_steps

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
        d_sources = [op.canonical_y(d) for op, d in trained if op.trainable]
        d_sources += [
            d.reshape(n_steps, *p.lead, p.width)
            for p, d in zip(graph.parameters, d_thetas, strict=True)
        ]
        return dict(zip(graph.live, d_live, strict=True)), d_sources

    def follow(self, graph: Graph, local: Derivatives, traces: Any, keep: bool) -> tuple[Any, Any]:
        return super().follow(self.extended(graph), local, traces, keep)

    def direction(
        self, graph: Graph, local: Derivatives, past: Any, d_weights: dict[int, Any]
    ) -> tuple[dict[int, Any], list[Any]]:
        """D-RTRL's; r also remembers earlier z: dr_{t-1} = f_r (Z_{t-1} dW) B."""
        assert isinstance(local, Filtered)
        dh, dq = super().direction(self.extended(graph), local, past, d_weights)
        for r, (readout, matrix) in enumerate(
            zip(self.readouts(graph), local.matrices, strict=True)
        ):
            own, block = graph.groups[readout.group], graph.sources[readout.source].blocks[0]
            dz, reads = dh.pop(-1 - r), readout.feature != NONE
            rows = matrix[readout.feature[reads]].astype(dz.dtype)
            moved = dz[..., np.flatnonzero(reads)] @ rows
            (s,) = own.live
            dh[own.states[s]] += local.f[readout.source][0][s] * block.of_neurons(moved)
        return dh, dq

    def readouts(self, graph: Graph) -> list[Readout]:
        """Of `readouts`, looked for once a graph."""
        own = graph.sample or graph
        if self._found[0] is not own:
            self._found = (own, readouts(own))
        return self._found[1]

    def extended(self, graph: Graph) -> Graph:
        """The graph with a filter Z as one more state of the groups that leaky readouts read."""
        groups, known = list(graph.groups), self.readouts(graph)
        for r, readout in enumerate(known):
            g = groups[readout.below]
            groups[readout.below] = replace(
                g, states=(*g.states, -1 - r), live=(*g.live, readout.state)
            )

        def of(source: Any) -> Any:
            blocks = tuple(
                replace(
                    b, components=(*b.components, *(r.state for r in known if r.below == b.group))
                )
                for b in source.blocks
            )
            return replace(source, blocks=blocks)

        operations, parameters = tuple(map(of, graph.operations)), tuple(map(of, graph.parameters))
        return replace(graph, groups=tuple(groups), operations=operations, parameters=parameters)

    def settle(self, carry: Carry, gradient: Any = None) -> Carry:
        return super(EProp, self.with_graph(self.extended(self.graph))).settle(carry, gradient)

    def _of_blocks(self, change: Any, traces: Any) -> Any:
        return super(EProp, self.with_graph(self.extended(self.graph)))._of_blocks(change, traces)


def readouts(graph: Graph) -> list[Readout]:
    """The leaky readouts, by the groups that they read.

    Raises:
      NotRepresentable: one that reads a mixture of neurons.
    """
    graph = graph.sample or graph
    fixed_y, found = dependencies(graph), list[Readout]()
    for k, op in enumerate(graph.sources):
        fed = {block.group for block in op.blocks}
        if not isinstance(op, Operation) or len(fed) != 1 or op.blocks[0].width != op.width:
            continue
        (own,) = fed
        decay = constant_decay(graph, own)
        if decay is None or not graph.groups[own].live or _is_read(graph, own):
            continue
        x = Hidden(f"what {op.name} reads", op.x, op.x, op.x_shape, graph.program.avals[op.x].dtype)
        labels = labels_of(graph, x, fixed_y)
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
                state = len(group.states) + sum(r.below == below for r in found)
                found.append(Readout(k, own, decay, below, feature, state))
    return found


def _is_read(graph: Graph, group: int) -> bool:
    """Whether an operation that feeds a state reads the group."""
    own = {graph.hidden[s].var for s in graph.groups[group].states}
    feeding = [op.x for op in graph.operations if op.blocks]
    read = {v for eqn in needed(graph.body, feeding) for v in eqn.variables} | {*feeding}
    return not own.isdisjoint(read)
