"""The trace of a weight factorised into an input side and a state side (ES-D-RTRL).

With decays a_x, a_f and t counted from 0 since the last reset, ex_t = a_x ex_{t-1} + x_t and
ef_t = a_f D_t ef_{t-1} + (1 - a_f) f_t: `core.algorithms.es_d_rtrl` says what for. As a derivative:
with q_t = (ex_t dW) / (1 - a_f^{t+1}), the step sees dh_{t-1} = a_f ef_{t-1} q_t and
dy_t = (1 - a_f) q_t, so that dh_t = ef_t q_t. The product with dW and the low-pass commute:

    ex_t dW = a_x (ex_{t-1} dW) + x_t dW

so a window needs ex only where it begins; its products are one GEMM, and what is filtered is as
wide as the outputs. A bias is a weight on the constant input 1, with ex_t = (1 - a_x^{t+1}) /
(1 - a_x); other element-wise parameters keep their exact trace. Outputs of an operation that feed
no state get their exact within-step gradient.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
from jax import lax

from core.analysis.graph import Graph
from core.analysis.operation import Block, Operation, pieces
from core.errors import InvalidArgument
from core.execution.axes import along
from core.execution.recurrence import accumulate, faded_sum, low_pass
from core.execution.step import Values
from core.execution.window import Derivatives, Moved
from core.traces.full import FullTrace, enter, of_blocks


class FactorisedTrace(FullTrace):
    """With the decays (a_x, a_f)."""

    least_buffer = 2**20  # bytes of a window's steps, which stay in a processor's cache

    def __init__(self, decays: Any) -> None:
        valid = len(decays) == 2 and all(
            isinstance(a, numbers.Real) and not isinstance(a, bool) and 0 <= float(a) < 1
            for a in decays
        )
        if not valid:
            raise InvalidArgument(
                "decay_or_rank to be a decay in [0, 1), a pair of them, or an integer rank >= 1",
                repr(decays[0] if len(decays) == 2 and decays[0] is decays[1] else decays),
                "Use for example 0.99; a decay of 1 has no bias correction.",
            )
        self.decays = (float(decays[0]), float(decays[1]))

    def zeros(self, graph: Graph) -> dict[str, Any]:
        """By source: ex, ef by block and component, and the steps since a reset."""

        def zero(source: Any, block: Block, *_: int) -> Any:
            shape, dtype = (*source.lead, block.width), graph.dtype(block.group)
            return {s: jnp.zeros(shape, dtype) for s in block.components}

        traces, f = {}, of_blocks(graph, zero)
        for source in graph.sources:
            trace: dict[str, Any] = {"f": f[source.label]}
            if source.blocks and isinstance(source, Operation):
                trace["x"] = jnp.zeros((*source.lead, source.rows), graph.operand_dtype(source))
            if source.blocks and (isinstance(source, Operation) or source.additive):
                trace["age"] = jnp.zeros(source.lead, jnp.int32)
            traces[source.label] = trace
        return traces

    def follow(self, graph: Graph, local: Derivatives, traces: Any) -> tuple[Any, Any]:
        """The past is ef_{t-1} and t + 1 at every step, and ex where the window begins."""
        before = self.zeros(graph) if traces is None else traces
        ef, last_ef = self._state_side(graph, local, before)
        after, past = {}, {}
        for source, x in zip(graph.sources, local.x, strict=True):
            trace = before[source.label]
            new, seen = {"f": last_ef[source.label]}, {"f": ef[source.label]}
            if "age" in trace:
                seen["age"] = _ages(trace["age"], local)
                new["age"] = seen["age"][-1]
            if "x" in trace:
                seen["x"] = None if traces is None else trace["x"]
                new["x"] = faded_sum(self.decays[0], trace["x"], x, local.keep)
            after[source.label], past[source.label] = new, seen
        return after, past

    def _state_side(self, graph: Graph, local: Derivatives, before: Any) -> tuple[Any, Any]:
        """ef_{t-1} of every step, and the last, by source, block and component."""
        start, inflow, transition = {}, {}, {}
        known: dict[Any, Any] = {}

        def decayed(block: Block, pair: tuple[int, int], decay: float) -> Any:
            """What blocks of the same neurons share, once."""
            key = (block.group, pair, repr(block.neurons), decay)
            if key not in known:
                known[key] = decay * block.of_neurons(local.transition[block.group][pair])
            return known[key]

        for k, source in enumerate(graph.sources):
            trace = before[source.label]
            decay, gain = self._state_decay(trace)
            for b, block in enumerate(source.blocks):
                for s in block.components:
                    start[k, b, s], inflow[k, b, s] = trace["f"][b][s], gain * local.f[k, b][s]
                for s, p in local.transition[block.group]:
                    if s in block.components and p in block.components:
                        transition[(k, b, s), (k, b, p)] = decayed(block, (s, p), decay)

        def by_source(found: dict[Any, Any]) -> dict[str, Any]:
            def of(_: Any, block: Block, k: int, b: int) -> Any:
                return {s: found[k, b, s] for s in block.components}

            return of_blocks(graph, of)

        ef, last = accumulate(transition, start, inflow, local.keep)
        return by_source(ef), by_source(last)

    def _state_decay(self, trace: dict[str, Any]) -> tuple[float, float]:
        """a_f and 1 - a_f where the trace is low-passed."""
        a_f = self.decays[1]
        return (a_f, 1.0 - a_f) if "age" in trace else (1.0, 1.0)

    def moved(self, source: Any, trace: Any, dw: Any) -> Iterator[tuple[Block, dict[int, Any]]]:
        """dh_0 = ef_0 q_0: what a trace says on its own."""
        if not source.blocks:
            return
        operand = trace["x"][None] if "x" in trace else None
        (q,) = source.drive(operand, dw, 1)
        if "age" in trace:  # zero where nothing has been seen, and so the trace
            age = {**trace, "age": jnp.maximum(trace["age"], 1)}
            q = self._scale(age, q.dtype)[..., None] * q
        for block, ef in zip(source.blocks, trace["f"], strict=True):
            yield block, {s: value * q[..., block.columns] for s, value in ef.items()}

    def direction(self, graph: Graph, local: Derivatives, past: Any, d_weights: Values) -> Moved:
        """dh_{t-1} = a_f ef_{t-1} q_t and dy_t = (1 - a_f) q_t."""
        runs: list[Any] = []
        q: dict[Any, Any] = {}
        inflow: dict[Any, Any] = {}
        for k, (source, x) in enumerate(zip(graph.sources, local.x, strict=True)):
            dw, memory = source.moved(d_weights), past[source.label]
            whole: list[Any] = [(slice(0, source.width), ())]
            runs.append(pieces(source.blocks, source.width) if dw is not None else whole)
            entering = x  # with what comes from before the window as a part of the first
            if memory.get("x") is not None:
                entering = jnp.concatenate([x[:1] + self.decays[0] * memory["x"][None], x[1:]])
            parts = source.cut(dw, [columns for columns, _ in runs[k]])
            for part, (columns, fed) in zip(parts, runs[k], strict=True):
                operand, into = (entering, inflow) if fed and "x" in memory else (x, q)
                into[k, columns.start] = source.drive(operand, part, local.n_steps, columns)
        q |= low_pass(self.decays[0], inflow, local.keep)  # all in one loop

        flow = graph.zero_flow(local.n_steps)
        dq = []
        for k, source in enumerate(graph.sources):
            memory, dy = past[source.label], []
            decay, gain = self._state_decay(memory)
            for columns, fed in runs[k]:
                q_t = q[k, columns.start]
                if not fed:
                    dy.append(q_t)
                    continue
                if "age" in memory:
                    q_t = self._scale(memory, q_t.dtype)[..., None] * q_t
                dy.append(gain * q_t)
                for b in fed:
                    block = source.blocks[b]
                    here, neurons = block.within(columns)
                    for s in block.components:
                        dh = decay * memory["f"][b][s][..., here] * q_t
                        enter(flow[block.group], s, dh, neurons)
            dq.append(jnp.concatenate(dy, axis=-1) if len(dy) > 1 else dy[0])
        return graph.of_states(flow), dq

    def _scale(self, memory: dict[str, Any], dtype: Any) -> Any:
        """1 / (1 - a_f^{t+1}); for a bias also its ex_t, [K, lead]."""
        a_x, a_f = self.decays
        scale = 1.0 / _missing(a_f, memory["age"], dtype)
        if "x" not in memory:
            scale = scale * _missing(a_x, memory["age"], dtype) / (1.0 - a_x)
        # Without the barrier XLA computes the power again for every output.
        return lax.optimization_barrier(scale)


def _missing(decay: float, age: Any, dtype: Any) -> Any:
    """1 - decay^age, without cancellation."""
    return -jnp.expm1(age.astype(dtype) * math.log(decay)) if decay else jnp.ones(age.shape, dtype)


def _ages(age: Any, local: Derivatives) -> Any:
    """Steps since a reset after every step, [K, lead], from those before the first."""
    step = along(jnp.arange(local.n_steps, dtype=age.dtype), jnp.zeros((1, *age.shape)))
    start = jnp.broadcast_to(-age, (local.n_steps, *age.shape))
    if local.keep is not None:
        start = lax.cummax(jnp.where(along(local.keep, start) > 0, start, step))
    return step - start + 1
