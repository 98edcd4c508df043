"""Full RTRL: the exact influence of every parameter on every hidden state.

    M_t = (dh_t/dh_{t-1}) M_{t-1} + dh_t/dtheta            [states, parameters]
    g_t = L_t M_t                                           exact: equals BPTT, online

No structure is assumed, so the trace holds (hidden size) x (parameters) numbers: a reference for
small networks. Inside a window the steps are differentiated as they are, with dh_0 = M_0 dtheta.

Reference: Williams & Zipser, Neural Computation 1 (1989).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from core.algorithms.base import Arrays, OnlineAlgorithm, Params, check_window
from core.analysis.graph import Graph
from core.analysis.other_states import check_other_states
from core.errors import NotRepresentable
from core.execution.axes import over_time
from core.execution.derivative import with_derivative
from core.execution.rollout import Carry, Window


class RTRL(OnlineAlgorithm):
    """Real-time recurrent learning without approximation, for small networks.

    Args:
      model: any brainstate module.
      window: steps per window of the sequence driver; the gradient does not depend on it.
      mode: accepted for compatibility; the shapes tell.
    """

    def __init__(self, model: Any, *, window: int | str = 1, mode: Any = None) -> None:
        super().__init__(model, mode)
        self.window_size = check_window(window, ("sequence",))

    def make_graph(self, args: tuple[Any, ...], watched: Sequence[Any] = ()) -> Graph:
        """The step as it is, provided that M, over HiddenStates, holds all that is carried."""
        graph = super().make_graph(args, watched)
        check_other_states(graph)
        avals = graph.program.avals
        for v in (*graph.trained, *(h.var for h in graph.hidden)):
            if jnp.issubdtype(avals[v].dtype, jnp.complexfloating):
                raise NotRepresentable(
                    "real states and parameters",
                    f"{graph.names[v]} of dtype {avals[v].dtype}",
                    "Use core.BPTT, whose gradient is the same.",
                )
        return graph

    def init_traces(self, graph: Graph) -> dict[str, Any]:
        """M = 0: for each hidden array, [its shape, P] over all P trained numbers."""
        n = sum(math.prod(graph.program.avals[v].shape) for v in graph.trained)
        return {h.name: jnp.zeros((*h.shape, n), h.dtype) for h in graph.hidden}

    def window(self, params: Params, carry: Carry, window: Window) -> tuple[Arrays, Carry]:
        graph = self.graph
        start = lax.stop_gradient(carry)
        start = start._replace(traces=window.past(start.traces))
        influence = {h.var: start.traces[h.name] for h in graph.hidden}
        trained = {v: params[v] for v in graph.trained}

        def moved_by(influence: Any, moved: dict[int, Any]) -> dict[int, Any]:
            d, _ = ravel_pytree([moved.get(v, jnp.zeros_like(p)) for v, p in trained.items()])
            return {v: (m @ d).astype(m.dtype) for v, m in influence.items()}

        hidden = {v: start.states[v] for v in influence}
        states = start.states | with_derivative(moved_by, hidden, influence, trained)
        outs, after = self.forward(params, start._replace(states=states), window)
        traces = start.traces
        if trained and not window.alone:
            traces = self._advance(lax.stop_gradient(params), start, influence, window)
        return outs, after._replace(traces=traces)

    def _advance(self, params: Params, carry: Carry, influence: Any, window: Window) -> Any:
        """M_K: push every unit vector of the parameters, with its M_0, through the window."""
        graph = self.graph
        flat, unravel = ravel_pytree([params[v] for v in graph.trained])

        def last(hidden: Any, flat: Any) -> Any:
            trained = dict(zip(graph.trained, unravel(flat), strict=True))
            start = carry._replace(states=carry.states | hidden)
            states = self.forward({**params, **trained}, start, window)[1].states
            return {v: states[v] for v in hidden}

        # A derivative rule may exist in reverse alone; transposed, it is the forward one.
        new, pull = jax.vjp(last, {v: carry.states[v] for v in influence}, flat)
        push = jax.linear_transpose(pull, new)
        first = {v: jnp.moveaxis(m, -1, 0) for v, m in influence.items()}
        every = over_time(push, not graph.one_by_one)((first, jnp.eye(flat.size, dtype=flat.dtype)))
        return {h.name: jnp.moveaxis(every[0][h.var], 0, -1) for h in graph.hidden}
