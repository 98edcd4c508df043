"""LSTM layers with a linear readout."""

import brainstate
from brainstate.nn import Module

from bench.models.base import Stack


class LSTM(Stack):
    """LSTM cells of brainstate."""

    def layer(self, below: int) -> Module:
        return brainstate.nn.LSTMCell(below, self.n_hidden)
