"""BPTT: the exact gradient, by reverse-mode differentiation of the whole sequence.

    g = sum_t dl_t/dW   through every path, h_t = F(h_{t-1}, x_t, W) unrolled over all T steps.

- `BPTT` stores every step: memory O(T).
- `CheckpointedBPTT` stores the state at the start of each segment and runs the segment again on the
  way back: the same gradient, memory O(T / segment + segment), least at segment = sqrt(T).
- `TruncatedBPTT` cuts the gradient between windows of K steps: memory O(K), a different gradient.

References: Werbos, Proc. IEEE 78 (1990); Chen et al., arXiv:1604.06174 (checkpointing);
Williams & Peng, Neural Computation 2 (1990) (truncation).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
from jax import lax

from core.algorithms.base import Arrays, OnlineAlgorithm, Params, check_window
from core.execution.axes import over_windows
from core.execution.rollout import Carry, Window, run
from core.execution.step import prelude


class BPTT(OnlineAlgorithm):
    """Backpropagation through time. States keep their gradient from call to call."""

    differentiable = True

    def window(self, params: Params, carry: Carry, window: Window) -> tuple[Arrays, Carry]:
        return self.forward(params, carry, window)


class CheckpointedBPTT(BPTT):
    """BPTT that recomputes segments instead of storing every step.

    Args:
      model: any brainstate module.
      segment: steps per segment, or "auto": the square root of the length.
      mode: accepted for compatibility.
    """

    def __init__(self, model: Any, *, segment: int | str = "auto", mode: Any = None) -> None:
        super().__init__(model, mode)
        self.segment = check_window(segment, ("auto",), "segment")

    def window(self, params: Params, carry: Carry, window: Window) -> tuple[Arrays, Carry]:
        n_steps = window.n_steps
        segment = math.isqrt(n_steps) if self.segment == "auto" else min(int(self.segment), n_steps)
        graph, values = self.graph, prelude(self.graph, params, carry.constants)

        @jax.checkpoint
        def one(values: Any, states: Any, window: Window) -> Any:
            outs, after, _ = run(graph, values, carry._replace(states=states), window)
            return after.states, outs

        states, outs = over_windows(partial(one, values), carry.states, window, segment)
        return outs, carry._replace(states=states)


class TruncatedBPTT(BPTT):
    """BPTT inside windows; no gradient passes from one window to the next. A call is a window.

    Args:
      model: any brainstate module.
      window: steps per window.
      mode: accepted for compatibility.
    """

    differentiable = False  # a window does not know how the one before depends on anything

    def __init__(self, model: Any, *, window: int, mode: Any = None) -> None:
        super().__init__(model, mode)
        self.window_size = check_window(window, ())

    def window(self, params: Params, carry: Carry, window: Window) -> tuple[Arrays, Carry]:
        return self.forward(params, lax.stop_gradient(carry), window)
