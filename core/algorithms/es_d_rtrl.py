"""ES-D-RTRL (pp_prop): the trace of a weight factorised into an input side and a state side.

With decays a_x, a_f in [0, 1) (usually one and the same) and t counted from 0 since the last reset:

    ex_t = a_x ex_{t-1} + x_t                               [lead, I]
    ef_t = a_f D_t ef_{t-1} + (1 - a_f) f_t                 [lead, H] for each state component
    g_t  = sum_b ex_t (x) (sum_s L_t ef_t) / (1 - a_f^{t+1})

As a derivative: with q_t = (ex_t dW) / (1 - a_f^{t+1}), the step sees dh_{t-1} = a_f ef_{t-1} q_t
and dy_t = (1 - a_f) q_t, so that dh_t = ef_t q_t. The products of all steps of a window are one
GEMM. A bias is a weight on the constant input 1; other element-wise parameters keep their exact
trace. Outputs of an operation that feed no state get their exact within-step gradient.

`ES_D_RTRL(model, r)` with an integer keeps instead the best rank-r approximation of D-RTRL's trace
(`core.low_rank`).

References: C. Wang et al., "BrainTrace" (ES-D-RTRL); Bellec et al., Nature Communications 11
(2020), e-prop, for the factorised eligibility.
"""

from __future__ import annotations

import numbers
from typing import Any

import jax
import jax.numpy as jnp

from core.algorithms.base import Carry, WindowedAlgorithm
from core.errors import InvalidArgument
from core.graph import Graph
from core.operation import Operation, Parameter, pieces
from core.traces import spread
from core.window import Derivatives, Record, Restart, derivatives, forget, run

__all__ = ["DecayRTRL"]


class DecayRTRL(WindowedAlgorithm):
    """ES-D-RTRL with decays; use `ES_D_RTRL`.

    Args:
      decays: (a_x, a_f).
    """

    def __init__(
        self,
        model: Any,
        decays: Any,
        *,
        window: int | str = "auto",
        mode: Any = None,
    ) -> None:
        super().__init__(model, window=window, mode=mode)
        valid = len(decays) == 2 and all(
            isinstance(a, numbers.Real) and not isinstance(a, bool) and 0 <= float(a) < 1
            for a in decays
        )
        if not valid:
            raise InvalidArgument(
                "decay_or_rank to be a decay in [0, 1), a pair of them, or an integer rank >= 1",
                repr(decays[0] if len(set(decays)) == 1 else decays),
                "Use for example 0.99; a decay of 1 has no bias correction.",
            )
        self.decays = (float(decays[0]), float(decays[1]))

    def init_traces(self, graph: Graph) -> dict[str, Any]:
        """By source: ex, ef by block and component, and 1 - a_f^t of the t steps since a reset."""
        return {source.label: self._zero(graph, source) for source in graph.sources}

    def _zero(self, graph: Graph, source: Operation | Parameter) -> dict[str, Any]:
        f = tuple(
            {
                s: jnp.zeros((*source.lead, block.width), graph.dtype(block.group, s))
                for s in block.components
            }
            for block in source.blocks
        )
        if not source.blocks:
            return {}
        if isinstance(source, Parameter) and not source.additive:
            return {"f": f}
        dtype = graph.dtype(source.blocks[0].group, 0)
        return {
            "x": jnp.zeros((*source.lead, *source.trace_axes), dtype),
            "f": f,
            "correction": jnp.zeros(source.lead, dtype),
        }

    def walk(
        self,
        graph: Graph,
        values: dict[int, Any],
        start: Carry,
        args: tuple[Any, ...],
        keep: bool,
        restart: Restart | None,
    ) -> tuple[tuple[Any, ...], Carry, Record, Any]:
        """The past is ef_{t-1}, ex_t and 1 - a_f^{t+1} of every step."""

        def observe(traces: Any, record: Record, keep_t: Any) -> tuple[Any, Any]:
            local = jax.tree.map(lambda a: a[0], derivatives(graph, values, record))
            return self._advanced(graph, local, forget(traces, keep_t))

        traces = self.init_traces(graph) if start.traces is None else start.traces
        outs, hidden, others, record, traces, past = run(
            graph, values, start.hidden, start.others, args, restart, observe, traces
        )
        return outs, Carry(hidden, others, start.constants, traces), record, past

    def _advanced(self, graph: Graph, local: Derivatives, traces: Any) -> tuple[Any, Any]:
        """Traces after one step, and what the step's gradient needs."""
        a_x, a_f = self.decays
        new, past = {}, {}
        for k, source in enumerate(graph.sources):
            before = traces[source.label]
            filtered = "x" in before
            decay, gain = (a_f, 1.0 - a_f) if filtered else (1.0, 1.0)
            ef = tuple(
                _decayed(
                    before["f"][b],
                    local.f[k][b],
                    local.transition[block.group],
                    block.neurons,
                    decay,
                    gain,
                )
                for b, block in enumerate(source.blocks)
            )
            new[source.label] = {"f": ef} if before else {}
            past[source.label] = {"f": before["f"]} if before else {}
            if filtered:
                ex = a_x * before["x"] + (1.0 if local.x[k] is None else local.x[k])
                kept = {"x": ex, "correction": a_f * before["correction"] + (1.0 - a_f)}
                new[source.label] |= kept
                past[source.label] |= kept
        return new, past

    def direction(
        self, graph: Graph, local: Derivatives, past: Any, d_weights: dict[int, Any]
    ) -> tuple[dict[int, Any], list[Any]]:
        """dh_{t-1} = a_f ef_{t-1} q_t and dy_t = (1 - a_f) q_t."""
        flow = graph.zero_flow(local.n_steps)
        dq = []
        for source, x in zip(graph.sources, local.x, strict=True):
            dw, memory = d_weights.get(source.w), past[source.label]
            dy = []
            for columns, b in pieces(source.blocks, source.width):
                if b is None or dw is None or "x" not in memory:
                    q = source.drive(x, dw, local.n_steps, columns)
                    decay, gain = 1.0, 1.0
                else:
                    q = _filtered(source, memory, dw, local.n_steps, columns)
                    decay, gain = self.decays[1], 1.0 - self.decays[1]
                dy.append(gain * q)
                if b is None or dw is None:
                    continue
                block = source.blocks[b]
                for s in block.components:
                    dh = decay * memory["f"][b][s] * q
                    flow[block.group][s] += spread(dh, block.neurons, graph.groups[block.group].n)
            dq.append(jnp.concatenate(dy, axis=-1) if len(dy) > 1 else dy[0])
        dh = {
            group.states[s]: flow[g][s] for g, group in enumerate(graph.groups) for s in group.live
        }
        return dh, dq


def _decayed(
    ef: dict[int, Any],
    f: dict[int, Any],
    transition: dict[tuple[int, int], Any],
    neurons: slice,
    decay: float,
    gain: float,
) -> dict[int, Any]:
    """decay sum_p D[s, p] ef[p] + gain f[s]."""
    new = {s: gain * f[s] for s in ef}
    for (s, p), d in transition.items():
        if s in new and p in ef:
            new[s] = new[s] + decay * d[..., neurons] * ef[p]
    return new


def _filtered(
    source: Operation | Parameter, memory: dict[str, Any], dw: Any, n_steps: int, columns: slice
) -> Any:
    """q_t = ex_t dW / (1 - a_f^{t+1}) of some columns; a bias has ex_t in front of d theta."""
    scale = (1.0 / memory["correction"])[..., None]
    if isinstance(source, Operation):
        return scale * source.drive(memory["x"], dw, n_steps, columns)
    return scale * memory["x"][..., None] * source.drive(None, dw, n_steps, columns)
