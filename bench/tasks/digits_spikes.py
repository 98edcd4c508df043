"""Handwritten digits as spike trains of any length."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from bench.bounds import Range
from bench.tasks.base import StoredTask, digit_images


@dataclass(eq=False)
class DigitsSpikes(StoredTask):
    """scikit-learn's digits, 64 spiking inputs: darker pixels spike more often at every step."""

    n_test: int = 360  # images held out
    max_rate: Annotated[float, Range(0, 1, above=True)] = (
        0.5  # probability per step that the darkest pixel spikes
    )

    n_in, n_out, target = 64, 10, 0.9

    def __post_init__(self) -> None:
        self.data = digit_images(self.n_test)

    def sequences(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        rate = values.reshape(len(values), -1) * self.max_rate
        draws = rng.random((self.n_steps, *rate.shape), dtype=np.float32)
        return (draws < rate).astype(np.float32)
