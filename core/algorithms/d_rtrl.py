"""D-RTRL: a trace for every weight, sample and state component.

With D_t = dh_t/dh_{t-1} and f_t = dh_t/dy_t at fixed outputs y of all operations, element-wise:

    eps_t = D_t eps_{t-1} + x_t (x) f_t                  [lead, I, H] for each state component
    g_t   = sum_{b,s} L_t eps_t                          L_t: credit inside step t

Written as the derivative that it is, dh_t = D_t dh_{t-1} + f_t (x_t dW), the trace is needed only
where a window of K steps begins (`core.traces.full`). The gradient does not depend on K. With the
whole sequence in one window no trace is made at all.

References: C. Wang et al., "BrainTrace" (D-RTRL); "HYPR", arXiv:2506.14464, for computing
eligibility over windows; J. Menick et al., "SnAp", arXiv:2006.07232, for the approximation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jax import lax

from core.algorithms.base import Arrays, Params, check_window
from core.algorithms.windowed import WindowedAlgorithm
from core.analysis.build import build_graph, join_biases
from core.analysis.graph import Graph
from core.errors import InvalidArgument, check_choice
from core.execution.derivative import with_derivative
from core.execution.rollout import Carry, Window
from core.execution.step import Values
from core.execution.window import Derivatives, Moved
from core.traces.dense import DenseTrace
from core.traces.full import FullTrace


class D_RTRL(WindowedAlgorithm):
    """Decoupled real-time recurrent learning: memory O(B I H).

    Args:
      model: any brainstate module.
      window: steps per window of the sequence driver: a number, "sequence", or "auto". It changes
        speed and memory, not the gradient (but see `credit`, and a trace that is cut to a rank).
      credit: "trace" is D-RTRL. "window" backpropagates fully inside each window and carries the
        trace from window to window (braintrace's `multi-step`); its gradient depends on the window
        and is BPTT's when one window covers the sequence.
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
        trace_dtype: Any = None,
        pending: int | str = "auto",
        feedback: str = "symmetric",
        seed: int = 0,
        mode: Any = None,
    ) -> None:
        super().__init__(model, window=window, feedback=feedback, seed=seed, mode=mode)
        check_choice("credit", credit, "trace", "window")
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
        self.past: FullTrace = DenseTrace(trace_dtype, pending)

    def make_graph(self, args: tuple[Any, ...], watched: Sequence[Any] = ()) -> Graph:
        """As the traces and the credit want it."""
        graph = build_graph(self.stepped, args, watched, every_path=self.credit == "window")
        return join_biases(graph) if self.past.joins_biases else graph

    def steps_per_window(self, n_steps: int) -> int:
        if self.window_size == "auto" and self.past.natural_window is not None:
            return min(self.past.natural_window, n_steps)
        return super().steps_per_window(n_steps)

    def init_traces(self, graph: Graph) -> dict[str, Any]:
        return self.past.zeros(self.traced(graph))

    def follow(self, graph: Graph, local: Derivatives, traces: Any) -> tuple[Any, Any]:
        return self.past.follow(self.traced(graph), local, traces)

    def direction(self, graph: Graph, local: Derivatives, past: Any, d_weights: Values) -> Moved:
        return self.past.direction(graph, local, past, d_weights)

    def settle(self, carry: Carry, gradient: Any = None) -> Carry:
        settled = self.past.settled(self.traced(self.graph), carry.traces, gradient)
        return carry._replace(traces=settled)

    def hold_traces(self, traces: Any, steps: int | None) -> Any:
        return self.past.held(self.traced(self.graph), traces, steps)

    def window(self, params: Params, carry: Carry, window: Window) -> tuple[Arrays, Carry]:
        if self.credit == "trace":
            return super().window(params, carry, window)
        graph, carry = self.graph, lax.stop_gradient(carry)
        fixed = lax.stop_gradient((params, window.args))
        _, after = super().window(fixed[0], carry, replace(window, args=fixed[1]))
        _, weights = self.values_and_weights(params, carry)

        def start(past: Any, d_weights: dict[int, Any]) -> dict[int, Any]:
            dh = graph.of_states(self.past.start(graph, past, d_weights))
            live = {graph.hidden[i]: d for i, d in dh.items()}
            return {h.var: d.reshape(h.shape).astype(h.dtype) for h, d in live.items()}

        live = {v: carry.states[v] for v in (graph.hidden[i].var for i in graph.live)}
        old = None if window.alone else window.past(carry.traces)
        credited = with_derivative(start, live, old, weights)
        outs, end = self.forward(params, carry._replace(states=carry.states | credited), window)
        written = {h.var: end.states[h.var] for h in graph.hidden}
        return outs, after._replace(states=after.states | written)

    def readable(self) -> tuple[Any, ...]:
        return super().readable() if self.credit == "trace" else ()


ParamDimVjpAlgorithm = D_RTRL
