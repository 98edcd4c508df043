"""Handwritten digits as spike trains of any length."""

from dataclasses import dataclass

import numpy as np

from bench.tasks.base import Batch, StoredTask, digit_images
from core.errors import Refusal


@dataclass(eq=False)
class DigitsSpikes(StoredTask):
    """scikit-learn's digits, 64 spiking inputs: darker pixels spike more often at every step."""

    n_test: int = 360  # images held out
    max_rate: float = 0.5  # probability per step that the darkest pixel spikes

    n_in, n_out, target = 64, 10, 0.9

    def __post_init__(self) -> None:
        if not 0 < self.max_rate <= 1:
            raise Refusal("a probability above 0", self.max_rate, what="max_rate")
        self._images = digit_images(self.n_test)

    def examples(self, split: str) -> Batch:
        return self._images[split]

    def sequences(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        rate = values.reshape(len(values), -1) * self.max_rate
        draws = rng.random((self.n_steps, *rate.shape), dtype=np.float32)
        return (draws < rate).astype(np.float32)
