"""Random spike trains with random labels, new ones every batch."""

from __future__ import annotations

import math

import numpy as np

from bench.bounds import Count
from bench.tasks.base import Batch, DrawnTask
from core.errors import Refusal


class RandomSpikes(DrawnTask):
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

    def __init__(
        self,
        n_steps: int,
        batch_size: int,
        seed: int,
        n_in: Count = 50,
        n_out: Count = 10,
        rate: float = 0.1,
        n_batches: Count = 1,
    ) -> None:
        super().__init__(n_steps, batch_size, seed, n_batches, n_test=None)
        if not 0 <= rate <= 1:
            raise Refusal("a probability", rate, what="rate")
        self.n_in = n_in
        self.n_out = n_out
        self.best_loss = math.log(n_out)
        self._rate = rate

    def _draw(self, rng: np.random.Generator, n: int) -> Batch:
        spikes = np.empty((self._n_steps, n, self.n_in), np.float32)
        for step in spikes:  # no larger array beside it, which may be many GiB
            step[:] = rng.random(step.shape, dtype=np.float32) < self._rate
        return spikes, rng.integers(0, self.n_out, n, dtype=np.int32)
