"""LSTM layers with a linear readout."""

from __future__ import annotations

import brainstate

from bench.models.base import Stack


class LSTM(Stack):
    """LSTM cells of brainstate."""

    def layer(self, below: int) -> brainstate.nn.Module:
        return brainstate.nn.LSTMCell(below, self.n_hidden)
