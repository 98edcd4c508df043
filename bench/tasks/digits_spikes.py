"""Handwritten digits as spike trains of any length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.tasks.base import Batch, Task, digit_images, shuffled


class DigitsSpikes(Task):
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

    def __init__(self, n_steps: int, batch_size: int, seed: int, n_test: int = 360,
                 max_rate: float = 0.5) -> None:
        if not 0 < max_rate <= 1:
            raise ValueError(f"max_rate: expected a probability above 0, got {max_rate}.")
        self._n_steps = n_steps
        self._batch_size = batch_size
        self._seed = seed
        self._max_rate = max_rate
        (self._images, self._labels), self._held_out = digit_images(n_test)

    def batches(self, epoch: int) -> Iterator[Batch]:
        # Spikes are drawn anew each epoch, from a stream of their own.
        rng = np.random.default_rng([self._seed, epoch, 1])
        for index in shuffled(len(self._labels), self._batch_size, self._seed, epoch):
            yield self._spikes(self._images[index], rng), self._labels[index]

    def test(self) -> Batch:
        images, labels = self._held_out
        # The same spikes for every seed, as the images are.
        return self._spikes(images, np.random.default_rng(0)), labels

    def _spikes(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Images [N, 8, 8] as spikes [T, N, 64], 0 or 1."""
        rate = images.reshape(len(images), -1) * self._max_rate
        draws = rng.random((self._n_steps, *rate.shape), dtype=np.float32)
        return (draws < rate).astype(np.float32)
