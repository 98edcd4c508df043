"""Integrate a noisy input: the running sum, held between two bounds."""

from dataclasses import dataclass

import numpy as np

from bench.answers import NUMBERS
from bench.bounds import NotNegative, Positive
from bench.tasks.base import Batch, DrawnTask, Probability
from core.errors import Refusal


@dataclass(eq=False)
class Integrator(DrawnTask):
    """``y_t = clip(y_{t-1} + gain x_t, -1, 1)`` of inputs around a drift that each sequence has.

    With ``reset_rate`` it is one long stream: a second input is 1 where a new part begins, at
    random times, and the sum starts there from 0: what was kept has to be forgotten as well.
    """

    gain: Positive = 0.2  # of the sum
    drift: NotNegative = 0.3  # standard deviation of a part's mean input
    noise: NotNegative = 1.0  # standard deviation of the input around it
    reset_rate: Probability = 0.0  # probability per step that a new part begins

    n_out, answers, target = 1, NUMBERS, 0.9

    def __post_init__(self) -> None:
        if not self.drift + self.noise:
            raise Refusal("one of them above 0", "0 and 0", what="drift, noise")
        self.n_in = 2 if self.reset_rate else 1

    def draw(self, rng: np.random.Generator, n: int) -> Batch:
        shape = self.n_steps, n
        begins = rng.random(shape) < self.reset_rate
        begins[0] = False  # nothing to forget yet
        drift = np.empty(shape)
        drawn = rng.normal(0, self.drift, shape)
        y, ys = np.zeros(n), np.empty(shape)
        xs = rng.normal(0, self.noise, shape)
        for t in range(self.n_steps):
            drift[t] = np.where(begins[t] | (t == 0), drawn[t], drift[t - 1])
            xs[t] += drift[t]
            y = np.clip(np.where(begins[t], 0, y) + self.gain * xs[t], -1, 1)
            ys[t] = y
        inputs = np.stack([xs, begins], axis=2)[..., : self.n_in].astype(np.float32)
        return inputs, ys.T[..., None].astype(np.float32)
