"""Traces of every weight and element-wise parameter, and how they follow a window of K steps.

Inside a window the recurrence of D-RTRL runs over dh [lead, n], and jax transposes it:

    dh_0  = contract(eps_0, dW)
    dh_t  = D_t dh_{t-1} + f_t (x_t dW)
    eps_K = A_0 eps_0 + sum_t x_t (x) (A_t f_t)          A_t = D_K ... D_{t+1}

A trace of a block (some columns of y = x W that feed the neurons of one group) stands for the
derivative of a state component by those columns of W, per sample. How it is kept
(`core.traces.dense`, `core.traces.low_rank`) is left open here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

from core.analysis.graph import Graph
from core.analysis.operation import Block, Operation, Parameter
from core.execution.axes import forget
from core.execution.recurrence import accumulate, products, remembered
from core.execution.step import Values
from core.execution.window import Derivatives, Moved

Source = Operation | Parameter


class Unsettled(NamedTuple):
    """Traces at the start of a window, and what is to enter them."""

    old: Any
    entered: Any


def of_blocks(graph: Graph, make: Callable[[Source, Block, int, int], Any]) -> dict[str, Any]:
    """By source and block, what is made of both and of their places; {} where no state is
    covered."""
    return {
        source.label: tuple(
            make(source, block, k, b) if block.components else {}
            for b, block in enumerate(source.blocks)
        )
        for k, source in enumerate(graph.sources)
    }


class EligibilityTrace(brainstate.ShortTermState):
    """The brainstate State that holds an algorithm's traces (a pytree of arrays)."""


def enter(flow: Any, s: Any, values: Any, neurons: Any) -> None:
    """Add [..., width] to `flow[s]` [..., n] at `neurons`."""
    into = flow[s]
    n = into.shape[-1]
    values = values.astype(into.dtype)
    if not isinstance(neurons, slice):
        flow[s] = into.at[..., np.array(neurons)].add(values)
    elif neurons.start == 0 and neurons.stop == n:
        flow[s] = into + values
    else:
        padding = [(0, 0)] * (values.ndim - 1) + [(neurons.start, n - neurons.stop)]
        flow[s] = into + jnp.pad(values, padding)


def zero_after(tree: Any) -> Any:
    """An integer zero that is known only when all arrays of `tree` are.

    An array that was read on the way to `tree` may be overwritten by what depends on this zero.
    `lax.optimization_barrier` does not say so: XLA's CPU backend removes it before it decides
    which buffers to share, and then copies the array.
    """
    zero = sum(0.0 * leaf.ravel()[0].real for leaf in jax.tree.leaves(tree) if leaf.size)
    return jnp.where(zero == 0, zero, 0.0).astype(jnp.int32)  # also of what is not finite


class FullTrace:
    """eps by source, block and component; of parameters [lead, width].

    Subclasses say how the trace of an operation's block is kept:
      zero(op, block, dtype): eps = 0.
      contract(eps, block, dW): dh[s], [lead, width], for dW [rows, H].
      advance(eps, x, g, a_0, after): eps_K[s] = sum_p A_0[s, p] eps_0[p] + sum_t x_t (x) g_t[s],
        g_t = A_t f_t. x [K, lead, rows], g [K, lead, width] by component, A_0 [lead, width] by
        pair; `after` is of `zero_after`.
    """

    zero: Callable[[Operation, Block, Any], Any]
    contract: Callable[[Any, Block, Any], dict[int, Any]]
    advance: Callable[[Any, Any, dict[int, Any], dict[tuple[int, int], Any], Any], Any]

    exact = True  # whether windows of any length give the same
    joins_biases = True  # a bias is one more row
    natural_window: int | None = None  # steps after which it is best advanced

    def zeros(self, graph: Graph) -> dict[str, Any]:
        """eps = 0."""

        def zero(source: Source, block: Block, *_: int) -> Any:
            dtype = graph.dtype(block.group)
            if isinstance(source, Operation):
                return self.zero(source, block, dtype)
            return {s: jnp.zeros((*source.lead, block.width), dtype) for s in block.components}

        return of_blocks(graph, zero)

    def follow(self, graph: Graph, local: Derivatives, traces: Any) -> tuple[Any, Any]:
        """The past is eps_0 itself; at the end, eps_K."""
        if traces is None:
            return None, None
        going_on = None if local.keep is None else local.keep.min(axis=0)
        return Unsettled(forget(traces, going_on), self._entered(graph, local)), traces

    def _entered(self, graph: Graph, local: Derivatives) -> dict[str, Any]:
        """x_t, A_t f_t and A_0 by source and block."""
        zero = graph.zero_flow(local.n_steps)
        if local.keep is not None:  # steps of a sample that has started anew since may hold NaN
            kept = remembered(local.keep)
            transition, f = forget((local.transition, local.f), kept)
            every = zip(graph.sources, local.x, strict=True)  # what feeds no state has no samples
            x = tuple(forget(x, kept) if source.blocks else x for source, x in every)
            local = replace(local, transition=transition, f=f, x=x)
        passed = [products(d, z, local.keep) for d, z in zip(local.transition, zero, strict=True)]

        def entering(source: Source, block: Block, k: int, b: int) -> Any:
            pairs = {(s, p) for s in block.components for p in block.components}
            a_t, a_0 = (
                {pair: block.of_neurons(a) for pair, a in side.items() if pair in pairs}
                for side in passed[block.group]
            )
            f, x = local.f[k, b], local.x[k]
            g = {s: sum(a_t[s, p] * f[p] for p in f) for s in block.components}
            return None if x is None else x.astype(graph.dtype(block.group)), g, a_0

        return of_blocks(graph, entering)

    def settled(self, graph: Graph, traces: Any, gradient: Any = None) -> Any:
        """eps_K, in place once the gradient has been taken from eps_0."""
        if not isinstance(traces, Unsettled):
            return traces
        old, entered = traces
        after = None if gradient is None else zero_after(gradient)

        def advanced(source: Source, block: Block, _: int, b: int) -> Any:
            eps: Any = old[source.label][b]
            x, g, a_0 = entered[source.label][b]
            if isinstance(source, Operation):
                return self.advance(eps, x, g, a_0, after)
            new = {s: value.sum(axis=0) for s, value in g.items()}
            for s, p in a_0:
                new[s] += a_0[s, p] * eps[p]
            return new

        return of_blocks(graph, advanced)

    def held(self, graph: Graph, traces: Any, steps: int | None) -> Any:
        """As `OnlineAlgorithm.hold_traces`."""
        return traces

    def flow(
        self, graph: Graph, local: Derivatives, past: Any, d_weights: Values
    ) -> tuple[list[dict[int, Any]], list[Any]]:
        """dh_{t-1} by group and component, [K, lead, n]; x_t dW, or d theta, by source."""
        inflow = graph.zero_flow(local.n_steps)
        dq = []
        for k, (source, x) in enumerate(zip(graph.sources, local.x, strict=True)):
            dw = source.moved(d_weights)
            q = source.drive(x, dw, local.n_steps)
            dq.append(q)
            for b, block in enumerate(source.blocks if dw is not None else ()):
                for s, f in local.f[k, b].items():
                    enter(inflow[block.group], s, f * q[..., block.columns], block.neurons)
        start = self.start(graph, past, d_weights)
        every = zip(local.transition, start, inflow, strict=True)
        return [accumulate(d, z, u, local.keep)[0] for d, z, u in every], dq

    def direction(self, graph: Graph, local: Derivatives, past: Any, d_weights: Values) -> Moved:
        """As of `WindowedAlgorithm`."""
        moved, dq = self.flow(graph, local, past, d_weights)
        return graph.of_states(moved), dq

    def start(self, graph: Graph, past: Any, d_weights: Values) -> list[dict[int, Any]]:
        """dh_0 by group and live state, [lead, n]."""
        start = graph.zero_flow(None)
        for source in graph.sources if past is not None else ():
            dw = source.moved(d_weights)
            for block, dh in self.moved(source, past[source.label], dw) if dw is not None else ():
                for s, value in dh.items():
                    enter(start[block.group], s, value, block.neurons)
        return start

    def moved(self, source: Source, trace: Any, dw: Any) -> Iterator[tuple[Block, dict[int, Any]]]:
        """What the trace of a source makes of its dW, [lead, width] by component of each block."""
        for block, eps in zip(source.blocks, trace, strict=True):
            if block.components and isinstance(source, Operation):
                yield block, self.contract(eps, block, dw)
            elif block.components:
                d_theta = source.drive(None, dw, 1)[0][..., block.columns]
                yield block, {s: eps[s] * d_theta for s in block.components}
