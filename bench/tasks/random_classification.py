"""Random sequences with random labels: one fixed batch to fit by heart."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.bounds import Count
from bench.tasks.base import Batch, DataclassTask


@dataclass(eq=False)
class RandomClassification(DataclassTask):
    """One batch of uniform noise with random labels, the same every epoch."""

    n_in: Count = 100  # inputs per step
    n_out: Count = 10  # classes

    def batches(self, epoch: int) -> Iterator[Batch]:
        rng = np.random.default_rng(self.seed)
        xs = rng.random((self.n_steps, self.batch_size, self.n_in), dtype=np.float32)
        yield xs, rng.integers(0, self.n_out, self.batch_size, dtype=np.int32)

    def test(self) -> None:
        return None
