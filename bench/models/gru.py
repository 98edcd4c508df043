"""Gated recurrent layers with a linear readout."""

from __future__ import annotations

import brainstate
import jax


class GRU(brainstate.nn.Module):
    """``n_layers`` GRU cells, each reading the one below, and a linear readout of the last.

    Args:
        n_in: inputs per step, I.
        n_hidden: units of each layer, H.
        n_out: classes, O.
        n_layers: GRU layers.
    """

    def __init__(self, n_in: int, n_hidden: int, n_out: int, n_layers: int = 1) -> None:
        super().__init__()
        self.cells = [brainstate.nn.GRUCell(n_in if layer == 0 else n_hidden, n_hidden)
                      for layer in range(n_layers)]
        self.readout = brainstate.nn.Linear(n_hidden, n_out)

    def update(self, x: jax.Array) -> jax.Array:
        """One step: ``x`` [B, I] or [I] to logits [B, O] or [O]."""
        for cell in self.cells:
            x = cell(x)
        return self.readout(x)
