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

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from core.algorithms.base import Arrays, Carry, Window, check_window
from core.algorithms.windowed import WindowedAlgorithm
from core.analysis.build import build_graph, join_biases
from core.analysis.graph import Graph
from core.analysis.operation import Block, Operation, Parameter
from core.errors import InvalidArgument
from core.execution.axes import forget
from core.execution.derivative import with_derivative
from core.execution.recurrence import accumulate, products, remembered
from core.execution.window import Derivatives
from core.traces.dense import DenseTrace, advance_parameter, enter, zero_after
from core.traces.low_rank import LowRankTrace
from core.traces.pending import Pending, held_back, slots

__all__ = ["D_RTRL", "ParamDimVjpAlgorithm"]

Source = Operation | Parameter


class Unsettled(NamedTuple):
    """Traces at the start of a window, and what is to enter them."""

    old: Any
    entered: dict[str, Any]


class D_RTRL(WindowedAlgorithm):
    """Decoupled real-time recurrent learning: memory O(B I H).

    Args:
      model: any brainstate module.
      window: steps per window of the sequence driver: a number, "sequence", or "auto". It changes
        speed and memory, not the gradient (but see `credit`, and a trace that is cut to a rank).
      credit: "trace" is D-RTRL. "window" backpropagates fully inside each window and carries the
        trace from window to window (braintrace's `multi-step`); its gradient depends on the window
        and is BPTT's when one window covers the sequence.
      trace: how the traces of operations are represented; dense by default, which is exact.
      trace_dtype: in which dense traces are kept, such as "float16" or "bfloat16", to halve their
        memory and the time of reading them; what is computed with them has the model's precision.
        None for the model's, which is exact.
      pending: with updates or windows of few steps, how many steps are held back from a dense trace
        before it is written, or "auto" (`core.traces.pending`). It changes speed and never the
        gradient.
      feedback: "symmetric", or "random": credit passes back within a step, from the loss to the
        states, through fixed random matrices in place of the weights (`core.execution.feedback`).
      seed: of those matrices.
      mode: accepted for compatibility; the shapes tell.
    """

    def __init__(
        self,
        model: Any,
        *,
        window: int | str = "auto",
        credit: str = "trace",
        trace: DenseTrace | LowRankTrace | None = None,
        trace_dtype: Any = None,
        pending: int | str = "auto",
        feedback: str = "symmetric",
        seed: int = 0,
        mode: Any = None,
    ) -> None:
        super().__init__(model, window=window, feedback=feedback, seed=seed, mode=mode)
        if credit not in ("trace", "window"):
            raise InvalidArgument(
                "credit to be trace or window", repr(credit), "Choose one of them."
            )
        self.credit = credit
        if self.feedback.random:
            self.exact_on = ""  # for `bench check`: nowhere the gradient of BPTT
        if credit == "window" and self.feedback.random:
            raise InvalidArgument(
                "credit to be trace where feedback is random",
                repr(credit),
                "Inside a window that is backpropagated only the weights themselves are defined.",
            )
        check_window(pending, ("auto",), "pending")
        dense = DenseTrace(_float(trace_dtype), pending)
        self.representation = dense if trace is None else trace

    def make_graph(self, args: tuple[Any, ...], watched: Sequence[Any] = ()) -> Graph:
        """As the representation and the credit want it."""
        graph = build_graph(self.stepped, args, watched, every_path=self.credit == "window")
        return join_biases(graph) if self.representation.joins_biases else graph

    def steps_per_window(self, n_steps: int) -> int:
        if self.window_size == "auto" and self.representation.natural_window is not None:
            return min(self.representation.natural_window, n_steps)
        return super().steps_per_window(n_steps)

    def init_traces(self, graph: Graph) -> dict[str, Any]:
        graph = self.traced(graph)

        def zero(source: Source, block: Block) -> Any:
            dtype = graph.dtype(block.group)
            if isinstance(source, Operation):
                return self.representation.zeros(source, block, dtype) if block.components else {}
            return {s: jnp.zeros((*source.lead, block.width), dtype) for s in block.components}

        return {
            source.label: tuple(zero(source, block) for block in source.blocks)
            for source in graph.sources
        }

    def follow(self, graph: Graph, local: Derivatives, traces: Any, keep: bool) -> tuple[Any, Any]:
        """The past is eps_0 itself; at the end, eps_K."""
        if not keep:
            return None, traces
        going_on = None if local.keep is None else local.keep.min(axis=0)
        entered = self._entered(self.traced(graph), local)
        return Unsettled(forget(traces, going_on), entered), traces

    def _entered(self, graph: Graph, local: Derivatives) -> dict[str, Any]:
        """x_t, A_t f_t and A_0 by source and block: eps_K = A_0 eps_0 + sum_t x_t (x) (A_t f_t)."""
        zero = graph.zero_flow(local.n_steps)
        if local.keep is not None:  # steps of a sample that has started anew since may hold NaN
            transition, f, x = forget((local.transition, local.f, local.x), remembered(local.keep))
            local = replace(local, transition=transition, f=f, x=x)
        passed = [products(d, z, local.keep) for d, z in zip(local.transition, zero, strict=True)]
        entered = {}
        for source, f, x in zip(graph.sources, local.f, local.x, strict=True):
            blocks: list[Any] = []
            for block, f_b in zip(source.blocks, f, strict=True):
                pairs = {(s, p) for s in block.components for p in block.components}
                a_t, a_0 = (
                    {k: block.of_neurons(a) for k, a in side.items() if k in pairs}
                    for side in passed[block.group]
                )
                g = {s: sum(a_t[s, p] * f_b[p] for p in f_b) for s in block.components}
                dtype = graph.dtype(block.group)
                blocks.append((None if x is None else x.astype(dtype), g, a_0))
            entered[source.label] = tuple(blocks)
        return entered

    def settle(self, carry: Carry, gradient: Any = None) -> Carry:
        """Advance the traces, in place once the gradient has been taken from the old ones."""
        if not isinstance(carry.traces, Unsettled):
            return carry
        old, entered = carry.traces
        after = None if gradient is None else zero_after(gradient)
        new: dict[str, Any] = {}
        for source in self.traced(self.graph).sources:
            blocks: list[Any] = []
            for b, (block, (x, g, a_0)) in enumerate(
                zip(source.blocks, entered[source.label], strict=True)
            ):
                eps = None if old is None else old[source.label][b]
                if not block.components:
                    blocks.append({})
                elif isinstance(source, Operation):
                    args = (eps, x, g, a_0, source, block, after)
                    blocks.append(self.representation.advance(*args))
                else:
                    blocks.append(advance_parameter(eps, g, a_0))
            new[source.label] = tuple(blocks)
        return carry._replace(traces=new)

    def open_traces(self, traces: Any, steps: int) -> Any:
        """With room to hold steps back, where that is worth it."""
        dense = self.representation
        if not isinstance(dense, DenseTrace):
            return traces

        def opened(source: Source, block: Block, eps: Any) -> Any:
            if isinstance(source, Parameter) or isinstance(eps, Pending) or not eps:
                return eps
            room = slots(eps, steps, dense.pending)
            return held_back(eps, room, self.graph.dtype(block.group)) if room else eps

        new = self._of_blocks(opened, traces)
        more = len(jax.tree.leaves(new)) > len(jax.tree.leaves(traces))
        return new if more else traces

    def close_traces(self, traces: Any) -> Any:
        """All steps taken in."""
        dense = self.representation
        if not isinstance(dense, DenseTrace):
            return traces
        return self._of_blocks(
            lambda source, block, eps: dense.settled(eps) if isinstance(eps, Pending) else eps,
            traces,
        )

    def _of_blocks(self, change: Any, traces: Any) -> Any:
        return {
            source.label: tuple(
                change(source, block, eps)
                for block, eps in zip(source.blocks, traces[source.label], strict=True)
            )
            for source in self.traced(self.graph).sources
        }

    def direction(
        self, graph: Graph, local: Derivatives, past: Any, d_weights: dict[int, Any]
    ) -> tuple[dict[int, Any], list[Any]]:
        moved, dq = self.flow(graph, local, past, d_weights)
        return graph.of_states(moved), dq

    def flow(
        self, graph: Graph, local: Derivatives, past: Any, d_weights: dict[int, Any]
    ) -> tuple[list[dict[int, Any]], list[Any]]:
        """dh_t = D_t dh_{t-1} + f_t (x_t dW), from dh_0 = contract(eps_0, dW).

        Args:
          graph: whose components have traces, as of `traced`.

        Returns:
          dh_{t-1} by group and component, [K, lead, n]; x_t dW, or d theta, by source.
        """
        inflow = graph.zero_flow(local.n_steps)
        dq = []
        for source, f, x in zip(graph.sources, local.f, local.x, strict=True):
            dw = source.moved(d_weights)
            q = source.drive(x, dw, local.n_steps)  # x_t dW, or d theta
            dq.append(q)
            for block, f_b in zip(source.blocks if dw is not None else (), f, strict=False):
                for s in f_b:
                    flow = f_b[s] * q[..., block.columns]
                    enter(inflow[block.group], s, flow, block.neurons)
        start = self.start(graph, past, d_weights)
        every = zip(local.transition, start, inflow, strict=True)
        return [accumulate(d, z, u, local.keep)[0] for d, z, u in every], dq

    def start(self, graph: Graph, past: Any, d_weights: dict[int, Any]) -> list[dict[int, Any]]:
        """dh_0 by group and live state, [lead, n]."""
        start = graph.zero_flow(None)
        for source in graph.sources if past is not None else ():
            dw = source.moved(d_weights)
            if dw is None:
                continue
            for block, eps in zip(source.blocks, past[source.label], strict=True):
                if not block.components:
                    continue
                if isinstance(source, Operation):
                    dh = self.representation.contract(eps, source, block, dw)
                else:
                    d_theta = source.drive(None, dw, 1)[0][..., block.columns]
                    dh = {s: eps[s] * d_theta for s in block.components}
                for s, value in dh.items():
                    enter(start[block.group], s, value, block.neurons)
        return start

    def window(self, params: Arrays, carry: Carry, window: Window) -> tuple[Arrays, Carry]:
        if self.credit == "trace":
            return super().window(params, carry, window)
        graph, carry = self.graph, lax.stop_gradient(carry)
        fixed = lax.stop_gradient((params, window.args))
        _, after = super().window(fixed[0], carry, window._replace(args=fixed[1]))
        _, weights = self.values_and_weights(params, carry)

        def start(past: Any, d_weights: dict[int, Any]) -> tuple[Any, ...]:
            dh = self.start(graph, past, d_weights)
            return tuple(
                dh[g][s].reshape(graph.hidden[i].shape).astype(graph.hidden[i].dtype)
                for g, group in enumerate(graph.groups)
                for s, i in enumerate(group.states)
                if s in group.live
            )

        hidden = list(carry.hidden)
        credited = with_derivative(
            start,
            tuple(hidden[i] for i in graph.live),
            None if window.fresh else window.past(carry.traces),
            dict(zip(graph.weights, weights, strict=True)),
        )
        for i, h in zip(graph.live, credited, strict=True):
            hidden[i] = h
        outs, end = self.forward(params, carry._replace(hidden=tuple(hidden)), window)
        return outs, after._replace(hidden=end.hidden)

    def readable(self) -> tuple[Any, ...]:
        return super().readable() if self.credit == "trace" else ()


def _float(dtype: Any) -> Any:
    """A floating dtype by its name, or None.

    Raises:
      InvalidArgument: anything else.
    """
    try:
        found = None if dtype is None else jnp.dtype(dtype)
        valid = found is None or jnp.issubdtype(found, jnp.floating)
    except TypeError:
        valid = False
    if not valid:
        raise InvalidArgument(
            "trace_dtype to be a floating dtype or None",
            repr(dtype),
            "Use for example float16 or bfloat16.",
        )
    return found


ParamDimVjpAlgorithm = D_RTRL
