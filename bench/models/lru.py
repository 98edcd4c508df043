"""Linear recurrent units: a complex decay for each unit, element by element."""

from dataclasses import dataclass

import brainstate
import jax
from brainstate.nn import Module

from bench.bounds import NotNegative, Positive
from bench.models.base import Stack
from core.errors import Refusal
from core.nn.layers import LRUCell


class Block(Module):
    """``x + gelu(LRU(x))``."""

    def __init__(self, n: int, r_min: float, r_max: float) -> None:
        super().__init__()
        self.unit = LRUCell(n, n, r_min=r_min, r_max=r_max)

    def update(self, x: jax.Array) -> jax.Array:
        return x + jax.nn.gelu(self.unit(x))


@dataclass(eq=False, repr=False)
class LRU(Stack):
    """A linear encoder, and blocks of ``n_hidden`` linear recurrent units each.

    With one block D-RTRL's gradient is BPTT's but for the encoder, which reaches the states through
    the units' own product and is credited within the step alone.
    """

    r_min: NotNegative = 0.5  # smallest initial decay a step
    r_max: Positive = 0.99  # largest

    def __post_init__(self) -> None:
        if not self.r_min < self.r_max < 1:
            raise Refusal("r_min < r_max < 1", f"{self.r_min}, {self.r_max}", what="r_min, r_max")
        super().__post_init__()

    def made(self) -> list[Module]:
        blocks = super().made()
        return [brainstate.nn.Linear(self.n_in, self.n_hidden), *blocks]

    def layer(self, below: int) -> Block:
        return Block(self.n_hidden, self.r_min, self.r_max)
