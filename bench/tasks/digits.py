"""Handwritten digits read row by row."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.tasks.base import StoredTask, digit_images
from core.errors import Refusal


@dataclass(eq=False)
class Digits(StoredTask):
    """scikit-learn's digits, 8 pixels a step: each of the 8 rows is held ``n_steps / 8`` steps."""

    n_test: int = 360  # images held out
    steps_multiple_of: Literal[8] = 8  # and nothing else, for the check before any cell runs

    n_in, n_out, target = 8, 10, 0.9

    def __post_init__(self) -> None:
        if self.n_steps % 8:
            raise Refusal("a multiple of 8", self.n_steps, what="n_steps")
        self.data = digit_images(self.n_test)

    def sequences(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.repeat(values.transpose(1, 0, 2), self.n_steps // 8, axis=0)
