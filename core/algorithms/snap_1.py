"""SnAp-1: RTRL that keeps only what a weight does to the neuron that it feeds.

    M_t = [ dh_t/dh_{t-1} M_{t-1} + dh_t/dW ]  at the entries where dh_t/dW is not zero
    g   = sum_t dl_t/dh_t M_t

A weight of y = x W feeds one neuron, so M_t is D-RTRL's trace with another D: that of the whole
step, its diagonal through the recurrent products included,

    eps_t = (D_t + f_t R_t) eps_{t-1} + x_t (x) f_t        R_t = dy_t/dh_{t-1}, diagonal
    g_t   = sum_b L_t eps_t

D-RTRL leaves R out, which is the whole difference between the two: on networks whose states reach
themselves element by element they are one and the same. A neuron's states (a voltage and its
adaptation) count as one unit; layers are apart, and credit passes down within the step as in
D-RTRL. A gate that reaches h through another product only (the reset gate of a GRU) has its exact
gradient within the step: there the pattern would be dense, and Menick et al. take another GRU.

SnAp-n with n of 2 and more follows what a weight does to the neurons that are n - 1 products away.
With a dense recurrent matrix these are all of them, and SnAp-n is RTRL (`core.RTRL`).

R is read off H pulls through the products of a step, so a step costs O(B H^3) beside D-RTRL's.

Reference: J. Menick et al., "Practical Real Time Recurrent Learning with a Sparse Approximation",
ICLR 2021, arXiv:2006.07232.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from core.algorithms.d_rtrl import D_RTRL
from core.analysis.build import build_graph, join_biases
from core.analysis.graph import Graph
from core.analysis.operation import Block, Operation
from core.equations.program import needed
from core.equations.relations import closure, partners
from core.errors import NotRepresentable
from core.execution.axes import over_time
from core.execution.rollout import Record
from core.execution.step import products_run
from core.execution.window import Derivatives
from core.traces.dense import enter

__all__ = ["SnAp1"]

PULLS_AT_ONCE = 16  # of the H pulls of a block, so that a window takes little memory


@partial(
    jax.tree_util.register_dataclass,
    meta_fields=["n_steps"],
    data_fields=["transition", "f", "x", "keep", "own"],
)
@dataclass(frozen=True)
class WithOwn(Derivatives):
    """`Derivatives` with D + f R in the place of D.

    own[k][b][p]: R, what state p of a neuron adds to the y that feeds it, [K, lead, width].
    """

    own: tuple[tuple[dict[int, Any], ...], ...] = ()


class SnAp1(D_RTRL):
    """Sparse one-step approximation of RTRL: memory O(B I H), as D-RTRL.

    Args:
      model: any brainstate module whose recurrent weights are trained.
      window: as of D-RTRL; it never changes the gradient.
      feedback: as of D-RTRL.
      seed: as of D-RTRL.
      mode: accepted for compatibility; the shapes tell.
    """

    def __init__(
        self,
        model: Any,
        *,
        window: int | str = "auto",
        feedback: str = "symmetric",
        seed: int = 0,
        mode: Any = None,
    ) -> None:
        super().__init__(model, window=window, feedback=feedback, seed=seed, mode=mode)

    def make_graph(self, args: tuple[Any, ...], watched: Sequence[Any] = ()) -> Graph:
        """Traces of all states, also of those that their own products alone read (a plain RNN)."""
        graph = join_biases(build_graph(self.stepped, args, watched, every_path=True))
        fed: set[tuple[int, int, int]] = set()
        for op in graph.operations:
            for block in op.blocks:
                back = _read_back(graph, op, block)
                if back and not op.trainable:
                    raise NotRepresentable(
                        "recurrent products whose weights are trained, for SnAp-1",
                        f"{op.name}, which is constant",
                        "Make it a ParamState, or use core.RTRL or core.D_RTRL.",
                    )
                fed.update((block.group, s, p) for s in block.components for p in back)

        def covered(block: Block) -> Block:
            """With the states that are reached through products as well."""
            group = graph.groups[block.group]
            reads = group.reads | {(s, p) for g, s, p in fed if g == block.group}
            touched = closure(set(block.components), partners(reads, of=1))
            return replace(block, components=tuple(s for s in group.live if s in touched))

        def of(source: Any) -> Any:
            return replace(source, blocks=tuple(map(covered, source.blocks)))

        operations, parameters = tuple(map(of, graph.operations)), tuple(map(of, graph.parameters))
        return replace(graph, operations=operations, parameters=parameters)

    def linearised(self, values: Any, record: Record, keep: Any) -> WithOwn:
        graph, local = self.graph, super().linearised(values, record, keep)
        transition, own = [dict(of_group) for of_group in local.transition], []
        for k, source in enumerate(graph.sources):
            own.append(tuple(self._own(values, record, k, block) for block in source.blocks))
            for block, f, r in zip(source.blocks, local.f[k], own[k], strict=True):
                pairs = transition[block.group]
                for s, p in ((s, p) for s in f for p in r):
                    if (s, p) not in pairs:
                        pairs[s, p] = graph.zero_flow(local.n_steps)[block.group][s]
                    enter(pairs, (s, p), f[s] * r[p], block.neurons)
        rest = local.f, local.x, local.keep, local.n_steps
        return WithOwn(tuple(transition), *rest, tuple(own))

    def _own(self, values: Any, record: Record, k: int, block: Block) -> dict[int, Any]:
        """R of a block of the k-th source, by state: one output a pull."""
        graph, n_steps = self.graph, record.n_steps
        group, source = graph.groups[block.group], graph.sources[k]
        back = _read_back(graph, source, block) if isinstance(source, Operation) else []
        if not back:
            return {}
        states = [group.states[p] for p in back]

        def products(live: tuple[Any, ...]) -> Any:
            hidden = list(record.hidden)
            for i, h in zip(states, live, strict=True):
                hidden[i] = h
            run = over_time(lambda h, step: products_run(graph, values, h, step)[k])
            return run(tuple(hidden), record.step)

        y, pull = jax.vjp(products, tuple(record.hidden[i] for i in states))
        neurons = jnp.arange(group.n)[
            block.neurons if isinstance(block.neurons, slice) else np.array(block.neurons)
        ]

        def one(j: Any) -> tuple[Any, ...]:
            (found,) = pull(jnp.zeros_like(y).at[..., block.columns.start + j].set(1))
            rows = (d.reshape(n_steps, *group.lead, group.n) for d in found)
            return tuple(d[..., neurons[j]] for d in rows)

        found = lax.map(one, jnp.arange(block.width), batch_size=PULLS_AT_ONCE)
        dtype = graph.dtype(block.group)
        rows = (jnp.moveaxis(r, 0, -1).astype(dtype) for r in found)
        return dict(zip(back, rows, strict=True))

    def direction(
        self, graph: Graph, local: Derivatives, past: Any, d_weights: dict[int, Any]
    ) -> tuple[dict[int, Any], list[Any]]:
        """D-RTRL's, with dy_t = x_t dW + R_t dh_{t-1}."""
        assert isinstance(local, WithOwn)
        dh, dq = super().direction(graph, local, past, d_weights)
        for k, source in enumerate(graph.sources):
            for block, r in zip(source.blocks, local.own[k], strict=True):
                before = {p: dh[graph.groups[block.group].states[p]] for p in r}
                more = sum(r[p] * block.of_neurons(before[p]) for p in r)
                if r:
                    dq[k] = dq[k].at[..., block.columns].add(more.astype(dq[k].dtype))
        return dh, dq


def _read_back(graph: Graph, op: Operation, block: Block) -> list[int]:
    """The states of the group that a block feeds that its operation reads in turn."""
    read = {v for eqn in needed(graph.body, [op.x]) for v in eqn.variables} | {op.x}
    group = graph.groups[block.group]
    return [p for p in group.live if graph.hidden[group.states[p]].var in read]
