"""A model that no trace can train, and a task that keeps none of its promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

from bench.check.algorithm import Leaky
from bench.tasks.base import Batch, Task


class Normalised(Leaky):
    """A recurrent state that is divided by its length: no element of it goes on by itself."""

    def __init__(self, n_in: int, n_hidden: int, n_out: int, n_layers: int = 1) -> None:
        super().__init__(n_in, n_hidden, n_out, recurrent=False)

    def update(self, x: jax.Array) -> jax.Array:
        h = self.h.value + self.linear(x)
        self.h.value = h / (1 + jnp.linalg.norm(h, axis=-1, keepdims=True))
        return self.readout(self.h.value)


class Throwing(Leaky):
    def __init__(self, n_in: int, n_hidden: int, n_out: int, n_layers: int = 1) -> None:
        super().__init__(n_in, n_hidden, n_out, recurrent=False)

    def update(self, x: jax.Array) -> jax.Array:
        raise KeyError("channel")


class Answering(Leaky):
    """What it returns depends on the number of its layers."""

    def __init__(self, n_in: int, n_hidden: int, n_out: int, n_layers: int = 1) -> None:
        super().__init__(n_in, n_hidden, n_out, recurrent=False)
        self.kind = n_layers

    def update(self, x: jax.Array) -> Any:
        out = super().update(x)
        return {2: jnp.concatenate([out, out], -1), 3: None, 4: jnp.argmax(out, -1), 5: (out, out)}[
            self.kind
        ]


class Stateless(Leaky):
    def __init__(self, n_in: int, n_hidden: int, n_out: int, n_layers: int = 1) -> None:
        super().__init__(n_in, n_hidden, n_out, recurrent=False)

    def init_state(self, batch_size: int | None = None, **_: object) -> None:
        pass

    def update(self, x: jax.Array) -> jax.Array:
        return self.readout(jnp.tanh(self.linear(x)))


class Weightless(brainstate.nn.Module):
    def __init__(self, n_in: int, n_hidden: int, n_out: int, n_layers: int = 1) -> None:
        super().__init__()


def nothing(n_in: int, n_hidden: int, n_out: int, n_layers: int = 1) -> None:
    """Makes no model."""


class Unlabelled(Task):
    """Labels beyond its classes, and other numbers whenever it is asked."""

    n_in, n_out = 2, 2

    def __init__(self, n_steps: int, batch_size: int, seed: int) -> None:
        self._shape = n_steps, batch_size, self.n_in
        self._rng = np.random.default_rng()

    def batches(self, epoch: int) -> Iterator[Batch]:
        labels = np.full(self._shape[1], 5, np.int32)
        yield self._rng.random(self._shape, dtype=np.float32), labels

    def test(self) -> None:
        return None
