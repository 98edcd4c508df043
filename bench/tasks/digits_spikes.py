"""Handwritten digits as spike trains of any length."""

from __future__ import annotations

import numpy as np

from bench.tasks.base import StoredTask, digit_images
from core.errors import Refusal


class DigitsSpikes(StoredTask):
    """scikit-learn's digits, 64 spiking inputs: darker pixels spike more often at every step.

    Args:
        n_steps: time steps, T.
        batch_size: sequences a batch, B.
        seed: of the order of the images and of their spikes.
        n_test: images held out.
        max_rate: probability per step that the darkest pixel spikes.
    """

    n_in = 64
    n_out = 10
    target = 0.9

    def __init__(
        self, n_steps: int, batch_size: int, seed: int, n_test: int = 360, max_rate: float = 0.5
    ) -> None:
        if not 0 < max_rate <= 1:
            raise Refusal("a probability above 0", max_rate, what="max_rate")
        self._n_steps = n_steps
        self._max_rate = max_rate
        super().__init__(batch_size, seed, *digit_images(n_test))

    def sequences(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        rate = values.reshape(len(values), -1) * self._max_rate
        draws = rng.random((self._n_steps, *rate.shape), dtype=np.float32)
        return (draws < rate).astype(np.float32)
