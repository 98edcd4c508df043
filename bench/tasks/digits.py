"""Handwritten digits read row by row."""

from __future__ import annotations

from typing import Literal

import numpy as np

from bench.tasks.base import StoredTask, digit_images
from core.errors import Refusal

ROWS = 8


class Digits(StoredTask):
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
    target = 0.9

    def __init__(
        self,
        n_steps: int,
        batch_size: int,
        seed: int,
        n_test: int = 360,
        steps_multiple_of: Literal[8] = 8,
    ) -> None:
        if n_steps % steps_multiple_of:
            raise Refusal(f"a multiple of {ROWS}", n_steps, what="n_steps")
        self._hold = n_steps // ROWS
        super().__init__(batch_size, seed, *digit_images(n_test))

    def sequences(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.repeat(values.transpose(1, 0, 2), self._hold, axis=0)
