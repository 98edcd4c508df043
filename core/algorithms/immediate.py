"""No memory of the past: the gradient within each step, and nothing else.

    g = sum_t dl_t/dW at h_{t-1} held fixed

Nothing is carried for credit, so memory is that of one step: the baseline that a trace has to beat.
It equals BPTT truncated to windows of one step.

Reference: the same-step term of Williams & Peng, Neural Computation 2 (1990).
"""

from __future__ import annotations

from core.algorithms.base import Arrays, OnlineAlgorithm, Params
from core.execution.rollout import Carry, Window


class Immediate(OnlineAlgorithm):
    """Within-step gradients: h_{t-1} counts as a constant. Every model can be trained so.

    Args:
      model: any brainstate module.
      mode: accepted for compatibility.
    """

    window_size = 1

    def window(self, params: Params, carry: Carry, window: Window) -> tuple[Arrays, Carry]:
        return self.step_by_step(self.forward, params, carry, window)
