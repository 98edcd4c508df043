"""Linear recurrent units: a complex decay for each unit, element by element."""

from __future__ import annotations

import brainstate
import jax

from bench.bounds import NotNegative, Positive
from bench.models.base import Stack
from core.errors import Refusal
from core.nn.layers import LRUCell


class Block(brainstate.nn.Module):
    """``x + gelu(LRU(x))``."""

    def __init__(self, n: int, r_min: float, r_max: float) -> None:
        super().__init__()
        self.unit = LRUCell(n, n, r_min=r_min, r_max=r_max)

    def update(self, x: jax.Array) -> jax.Array:
        return x + jax.nn.gelu(self.unit(x))


class LRU(Stack):
    """A linear encoder, ``n_layers`` blocks of linear recurrent units, and a linear readout.

    With one block D-RTRL's gradient is BPTT's but for the encoder, which reaches the states through
    the units' own product and is credited within the step alone.

    Args:
        n_in: inputs per step, I.
        n_hidden: width, and complex units of each layer, H.
        n_out: classes or numbers, O.
        n_layers: blocks.
        r_min, r_max: range of the initial decays.
    """

    def __init__(
        self,
        n_in: int,
        n_hidden: int,
        n_out: int,
        n_layers: int = 1,
        r_min: NotNegative = 0.5,
        r_max: Positive = 0.99,
    ) -> None:
        if not r_min < r_max < 1:
            raise Refusal("r_min < r_max < 1", f"{r_min}, {r_max}", what="r_min, r_max")
        blocks = [Block(n_hidden, r_min, r_max) for _ in range(n_layers)]
        super().__init__([brainstate.nn.Linear(n_in, n_hidden), *blocks], n_hidden, n_out)
