"""Random spike trains with random labels, new ones every batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.tasks.base import Batch, Task


class RandomSpikes(Task):
    """Bernoulli spikes with labels that do not depend on them: the work of learning without any.

    Args:
        n_steps: time steps, T.
        batch_size: sequences a batch, B.
        seed: of spikes and labels.
        n_in: inputs per step, I.
        n_out: classes, O.
        rate: probability per step that an input spikes.
        n_batches: batches an epoch.
    """

    def __init__(self, n_steps: int, batch_size: int, seed: int, n_in: int = 50, n_out: int = 10,
                 rate: float = 0.1, n_batches: int = 1) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"rate: expected a probability, got {rate}.")
        self.n_in = n_in
        self.n_out = n_out
        self._shape = (n_steps, batch_size, n_in)
        self._seed = seed
        self._rate = rate
        self._n_batches = n_batches

    def batches(self, epoch: int) -> Iterator[Batch]:
        rng = np.random.default_rng([self._seed, epoch])
        for _ in range(self._n_batches):
            spikes = (rng.random(self._shape, dtype=np.float32) < self._rate).astype(np.float32)
            yield spikes, rng.integers(0, self.n_out, self._shape[1], dtype=np.int32)

    def test(self) -> None:
        return None
