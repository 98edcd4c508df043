"""No memory of the past: the gradient within each step, and nothing else.

    g = sum_t dl_t/dW at h_{t-1} held fixed

Nothing is carried for credit, so memory is that of one step: the baseline that a trace has to beat.
It equals BPTT truncated to windows of one step.

Reference: the same-step term of Williams & Peng, Neural Computation 2 (1990).
"""

from __future__ import annotations

from typing import Any

import jax
from jax import lax

from core.algorithms.base import Arrays, Carry, OnlineAlgorithm, Window
from core.axes import scan
from core.capture import trace_step
from core.graph import Graph

__all__ = ["Immediate"]


class Immediate(OnlineAlgorithm):
    """Within-step gradients: h_{t-1} counts as a constant. Every model can be trained so.

    Args:
      model: any brainstate module.
      mode: accepted for compatibility.
    """

    def make_graph(self, args: tuple[Any, ...], watched: Any = ()) -> Graph:
        """The step as it is: every model can be differentiated."""
        return trace_step(self.stepped, args, watched)

    def init_traces(self, graph: Graph) -> dict[str, Any]:
        """It carries none."""
        return {}

    def steps_per_window(self, n_steps: int) -> int:
        return 1

    def window(self, params: Arrays, carry: Carry, window: Window) -> tuple[Arrays, Carry]:
        """However many steps a call has, each begins from states that count as constants."""
        restart = window.restart
        again = None if restart is None else (restart.keep, restart.idle)

        def tick(state: Any, inputs: Any) -> Any:
            args, again = jax.tree.map(lambda a: a[None], inputs)
            now = None
            if restart is not None:
                now = restart._replace(keep=again[0], idle=again[1])
            step = window._replace(args=args, restart=now)
            before = lax.stop_gradient(carry._replace(hidden=state[0], others=state[1]))
            outs, new = self.forward(params, before, step)
            return (new.hidden, new.others), jax.tree.map(lambda a: a[0], outs)

        (hidden, others), outs = scan(tick, (carry.hidden, carry.others), (window.args, again))
        return outs, carry._replace(hidden=hidden, others=others)
