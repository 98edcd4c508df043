"""SnAp-n: RTRL that keeps only what a weight does to the neurons that are n - 1 products away.

    M_t = [ dh_t/dh_{t-1} M_{t-1} + dh_t/dW ]  at the entries that n steps can fill
    g   = sum_t dl_t/dh_t M_t

A weight of y = x W feeds one neuron. With n = 1 it is followed there alone, so M_t is D-RTRL's
trace with another D: that of the whole step, its diagonal through the recurrent products included,

    eps_t = (D_t + f_t R_t) eps_{t-1} + x_t (x) f_t        R_t = dy_t/dh_{t-1}, diagonal

D-RTRL leaves R out; where states reach themselves element by element alone, the two are one. With n
of 2 and more, what the weight does to each neuron in reach of its own is one more component of the
trace, and D and R are matrices over these. With a dense recurrent matrix all neurons are in reach
and SnAp-n is RTRL (`core.RTRL`): n > 1 is for masked, sparse and grouped products.

A neuron's states (a voltage and its adaptation) count as one unit; layers are apart, and credit
passes down within the step as in D-RTRL. dh_t/dW is with the other products given: what a gate
does to h through another product (a GRU's reset gate) is credited within the step and not kept in
M, also where the gate reaches h directly as well; Menick et al. take another GRU. R is read off H
pulls through the products of a step: O(B H^3) beside D-RTRL's cost.

Reference: J. Menick et al., "Practical Real Time Recurrent Learning with a Sparse Approximation",
ICLR 2021, arXiv:2006.07232.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from core.algorithms.base import check_window
from core.algorithms.d_rtrl import D_RTRL
from core.algorithms.windowed import once_a_graph
from core.analysis.build import build_graph, join_biases
from core.analysis.graph import Graph
from core.analysis.operation import Operation
from core.analysis.reach import neurons_in_reach, read_back, with_components, with_own_products
from core.errors import NotRepresentable
from core.execution.axes import scan
from core.execution.rollout import Record
from core.execution.step import Values, computed
from core.execution.window import Derivatives, Moved
from core.traces.full import enter


class SnAp(D_RTRL):
    """Sparse n-step approximation of RTRL: memory O(B I H) for each neuron in reach of one.

    Args:
      model: any brainstate module whose recurrent products are trained, of real states, and read
        their own row (no convolution from state to state).
      n: steps in which a weight may reach the neurons at which it is followed.
      window: as of D-RTRL; it never changes the gradient.
      feedback: as of D-RTRL.
      seed: as of D-RTRL.
      mode: as of D-RTRL.

    Raises:
      InvalidArgument: n is no positive number.
    """

    def __init__(
        self,
        model: Any,
        n: int = 1,
        *,
        window: int | str = "auto",
        feedback: str = "symmetric",
        seed: int = 0,
        mode: Any = None,
    ) -> None:
        super().__init__(model, window=window, feedback=feedback, seed=seed, mode=mode)
        self.n = int(check_window(n, (), "n"))

    def make_graph(self, args: tuple[Any, ...], watched: Sequence[Any] = ()) -> Graph:
        """Traces of all states, also of those that their own products alone read (a plain RNN)."""
        graph = join_biases(build_graph(self.stepped, args, watched, every_path=True))
        graph = with_own_products(graph)
        for group, near in zip(graph.groups, self.near(graph), strict=True):
            if self.n > 1 and (near >= 0).all() and near.shape[1] == group.n > 1:
                raise NotRepresentable(
                    f"neurons that reach some others in {self.n - 1} steps, for SnAp-{self.n}",
                    f"{graph.hidden[group.states[0]].name}, all of whose neurons reach all",
                    "That is RTRL: use core.RTRL, or n=1.",
                )
        return graph

    @once_a_graph
    def recurrent(self, graph: Graph) -> dict[tuple[int, int], list[int]]:
        """The states that products read of the groups that they feed, by source and block."""
        every = {
            (k, b): read_back(graph, op, block)
            for k, op in enumerate(graph.trained_operations)
            for b, block in enumerate(op.blocks)
        }
        return {place: back for place, back in every.items() if back}

    @once_a_graph
    def near(self, graph: Graph) -> list[np.ndarray]:
        """The neurons at which the weights of each are followed, by group."""
        return [neurons_in_reach(graph, g, self.n) for g in range(len(graph.groups))]

    def traced(self, graph: Graph) -> Graph:
        """With a component for each state of each further neuron in reach."""
        for g, (group, near) in enumerate(zip(graph.groups, self.near(graph), strict=True)):
            states = [group.states[s] for s in group.live]
            graph = with_components(graph, g, states * (near.shape[1] - 1))
        return graph

    def components(self, graph: Graph) -> list[dict[int, list[int]]]:
        """By group and live state, those at the neurons in reach: its own neuron first."""
        every = zip(graph.groups, self.traced(graph).groups, strict=True)
        lives = [(group.live, extended.live) for group, extended in every]
        return [{s: list(all_[k :: len(own)]) for k, s in enumerate(own)} for own, all_ in lives]

    def linearised(self, values: Any, record: Record, keep: Any) -> Derivatives:
        """D + f R in the place of D, and R by source and block, where their group moves them."""
        graph, local = self.graph, super().linearised(values, record, keep)
        every, at = self.near(graph), self.components(graph)
        own = {
            (k, b): _coupling(graph, values, record, graph.trained_operations[k], b, back, every)
            for (k, b), back in self.recurrent(graph).items()
        }
        transition: list[dict[tuple[int, int], Any]] = [
            {
                (at[g][s][a], at[g][p][a]): jnp.where(near[:, a] >= 0, value[..., near[:, a]], 0)
                for (s, p), value in d.items()
                for a in range(near.shape[1])
            }
            for g, (d, near) in enumerate(zip(local.transition, every, strict=True))
        ]
        for (k, b), of_block in own.items():
            block = graph.sources[k].blocks[b]
            g, pairs = block.group, transition[block.group]
            for s, value in local.f[k, b].items():
                flow = graph.zero_flow(local.n_steps)[g]
                enter(flow, s, value, block.neurons)
                for p, r in of_block.items():
                    for (a, to), (c, of) in product(enumerate(at[g][s]), enumerate(at[g][p])):
                        more = flow[s][..., every[g][:, a]] * r[..., a, c]
                        pairs[to, of] = pairs.get((to, of), 0) + more
        return replace(local, transition=tuple(transition), own=own)

    def direction(self, graph: Graph, local: Derivatives, past: Any, d_weights: Values) -> Moved:
        """D-RTRL's, with dy_t = x_t dW + R_t dh_{t-1}, each summed where it happens."""
        moved, dq = self.past.flow(self.traced(graph), local, past, d_weights)
        every, at = self.near(graph), self.components(graph)
        z = [  # by group and state, [K, lead, n, reach]
            {s: jnp.stack([own[c] for c in reach], axis=-1) for s, reach in at[g].items()}
            for g, own in enumerate(moved)
        ]
        for (k, b), r in local.own.items():
            block = graph.sources[k].blocks[b]
            near, own = every[block.group], z[block.group]
            dy = sum(jnp.einsum("...ac,...c->...a", r[p], own[p]) for p in r)
            more = block.of_neurons(_summed(dy, near)).astype(dq[k].dtype)
            dq[k] = dq[k].at[..., block.columns].add(more)
        flow = [{s: _summed(a, every[g]) for s, a in own.items()} for g, own in enumerate(z)]
        return graph.of_states(flow), dq


def _coupling(
    graph: Graph,
    values: Any,
    record: Record,
    op: Operation,
    b: int,
    back: Sequence[int],
    every: Sequence[np.ndarray],
) -> dict[int, Any]:
    """R of a block by the states that it reads `back`, [K, lead, n, most, most]: what the neuron
    near[j, c] adds to the y that feeds the neuron near[j, a], by every path inside the step; zero
    where the block feeds another. Step after step, as all that moves y in one takes the memory of a
    trace."""
    block = op.blocks[b]
    group, near = graph.groups[block.group], every[block.group]
    places = {p: graph.hidden[group.states[p]].var for p in back}
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

        def column(j: Any) -> dict[int, Any]:
            (d,) = pull(jnp.zeros_like(y).at[..., j].set(1))  # of all rows: none reads another
            return {p: d[v] for p, v in places.items()}

        found = jax.vmap(column)(jnp.arange(block.columns.start, block.columns.stop))
        return None, jax.tree.map(arranged, found)

    return scan(one, None, record.read)[1]


def _summed(z: Any, near: np.ndarray) -> Any:
    """At the neurons where z [..., n, reach] is, [..., n]."""
    if near.shape[1] == 1:
        return z[..., 0]
    z = jnp.where(near >= 0, z, 0)
    return jnp.zeros(z.shape[:-1], z.dtype).at[..., near].add(z)
