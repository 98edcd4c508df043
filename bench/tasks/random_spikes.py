"""Random spike trains with random labels, new ones every batch."""

import math
from dataclasses import dataclass, field

import numpy as np

from bench.bounds import Count
from bench.tasks.base import Batch, DrawnTask, Probability


@dataclass(eq=False)
class RandomSpikes(DrawnTask):
    """Bernoulli spikes with labels that do not depend on them: the work of learning without any."""

    n_batches: Count = 1
    n_test: None = field(default=None, init=False)
    n_in: Count = 50  # inputs per step
    n_out: Count = 10  # classes
    rate: Probability = 0.1  # probability per step that an input spikes

    def __post_init__(self) -> None:
        self.best_loss = math.log(self.n_out)

    def draw(self, rng: np.random.Generator, n: int) -> Batch:
        spikes = np.empty((self.n_steps, n, self.n_in), np.float32)
        for step in spikes:  # no larger array beside it, which may be many GiB
            step[:] = rng.random(step.shape, dtype=np.float32) < self.rate
        return spikes, rng.integers(0, self.n_out, n, dtype=np.int32)
