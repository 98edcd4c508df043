"""Handwritten digits read row by row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from bench.tasks.base import Batch, Task, digit_images, shuffled

ROWS = 8


class Digits(Task):
    """scikit-learn's digits, 8 pixels a step: each of the 8 rows is held ``n_steps / 8`` steps.

    Args:
        n_steps: time steps, T, a multiple of 8.
        batch_size: sequences a batch, B.
        seed: of the order of the images.
        n_test: images held out.
        steps_multiple_of: 8 and nothing else, for the check before any cell runs.
    """

    n_in = 8
    n_out = 10

    def __init__(self, n_steps: int, batch_size: int, seed: int, n_test: int = 360,
                 steps_multiple_of: Literal[8] = 8) -> None:
        if n_steps % steps_multiple_of:
            raise ValueError(f"n_steps: expected a multiple of {ROWS}, got {n_steps}.")
        self._hold = n_steps // ROWS
        self._batch_size = batch_size
        self._seed = seed
        (self._images, self._labels), self._held_out = digit_images(n_test)

    def batches(self, epoch: int) -> Iterator[Batch]:
        for index in shuffled(len(self._labels), self._batch_size, self._seed, epoch):
            yield self._sequence(self._images[index]), self._labels[index]

    def test(self) -> Batch:
        images, labels = self._held_out
        return self._sequence(images), labels

    def _sequence(self, images: np.ndarray) -> np.ndarray:
        """Images [N, 8, 8] as sequences [T, N, 8]."""
        return np.repeat(images.transpose(1, 0, 2), self._hold, axis=0)
