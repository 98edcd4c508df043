"""LSTM layers with a linear readout."""

from __future__ import annotations

import brainstate

from bench.models.base import Stack, widths


class LSTM(Stack):
    """``n_layers`` LSTM cells of brainstate, each reading the one below.

    Args:
        n_in: inputs per step, I.
        n_hidden: units of each layer, H.
        n_out: classes or numbers, O.
        n_layers: LSTM layers.
    """

    def __init__(self, n_in: int, n_hidden: int, n_out: int, n_layers: int = 1) -> None:
        super().__init__(
            [brainstate.nn.LSTMCell(below, n_hidden) for below in widths(n_in, n_hidden, n_layers)],
            n_hidden,
            n_out,
        )
