"""Generate a sine wave of the frequency that is asked for."""

from dataclasses import dataclass

import numpy as np

from bench.answers import NUMBERS
from bench.bounds import Count, Positive
from bench.tasks.base import Batch, DrawnTask
from core.errors import Refusal


@dataclass(eq=False)
class Sine(DrawnTask):
    """``y_t = sin(2 pi f t)``, and f is told by a level, -1 to 1 from the slowest to the fastest.

    The second input marks the beginning. As the target depends on nothing else, the wave has to be
    made by the network itself.

    Reference: D. Sussillo and O. Barak, "Opening the black box", Neural Computation 25 (2013):
    their network makes sine waves of a frequency that a constant input tells.
    """

    slowest: Positive = 40.0  # steps of the longest period
    fastest: Positive = 10.0  # of the shortest
    cue: Count | None = None  # steps that the level is shown; None for all

    n_in, n_out, answers, target = 2, 1, NUMBERS, 0.9

    def __post_init__(self) -> None:
        if self.n_steps < 2:
            raise Refusal("at least 2, as every wave begins at 0", self.n_steps, what="n_steps")
        if not self.slowest > self.fastest >= 2:
            came = f"{self.slowest:g} and {self.fastest:g}"
            raise Refusal("slowest > fastest >= 2 steps", came, what="slowest, fastest")

    def draw(self, rng: np.random.Generator, n: int) -> Batch:
        level = rng.uniform(-1, 1, n)
        low, high = 1 / self.slowest, 1 / self.fastest
        frequency = low + (high - low) * (level + 1) / 2
        xs = np.zeros((self.n_steps, n, self.n_in), np.float32)
        xs[: self.cue, :, 0] = level
        xs[0, :, 1] = 1
        ys = np.sin(2 * np.pi * np.outer(frequency, np.arange(self.n_steps)))
        return xs, ys[..., None].astype(np.float32)
