"""Random sequences with random labels: one fixed batch to fit by heart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.bounds import Count
from bench.tasks.base import Batch, Task


class RandomClassification(Task):
    """One batch of uniform noise with random labels, the same every epoch.

    Args:
        n_steps: time steps, T.
        batch_size: sequences, B.
        seed: of inputs and labels.
        n_in: inputs per step, I.
        n_out: classes, O.
    """

    def __init__(
        self, n_steps: int, batch_size: int, seed: int, n_in: Count = 100, n_out: Count = 10
    ) -> None:
        self.n_in = n_in
        self.n_out = n_out
        rng = np.random.default_rng(seed)
        self._inputs = rng.random((n_steps, batch_size, n_in), dtype=np.float32)
        self._labels = rng.integers(0, n_out, batch_size, dtype=np.int32)

    def batches(self, epoch: int) -> Iterator[Batch]:
        yield self._inputs, self._labels

    def test(self) -> None:
        return None
