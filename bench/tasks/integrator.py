"""Integrate a noisy input: the running sum, held between two bounds."""

from __future__ import annotations

import numpy as np

from bench.answers import NUMBERS
from bench.bounds import Count, NotNegative, Positive
from bench.tasks.base import Batch, DrawnTask
from core.errors import Refusal


class Integrator(DrawnTask):
    """``y_t = clip(y_{t-1} + gain x_t, -1, 1)`` of inputs around a drift that each sequence has.

    With ``reset_rate`` it is one long stream: a second input is 1 where a new part begins, at
    random times, and the sum starts there from 0: what was kept has to be forgotten as well.

    Args:
        n_steps: time steps, T.
        batch_size: sequences a batch, B.
        seed: of the sequences that are trained on.
        gain: of the sum.
        drift: standard deviation of a part's mean input.
        noise: standard deviation of the input around it.
        reset_rate: probability per step that a new part begins.
        n_batches: fresh batches an epoch.
        n_test: held-out sequences, the same for every seed.
    """

    n_out = 1
    answers = NUMBERS
    target = 0.9

    def __init__(
        self,
        n_steps: int,
        batch_size: int,
        seed: int,
        gain: Positive = 0.2,
        drift: NotNegative = 0.3,
        noise: NotNegative = 1.0,
        reset_rate: NotNegative = 0.0,
        n_batches: Count = 20,
        n_test: Count = 512,
    ) -> None:
        super().__init__(n_steps, batch_size, seed, n_batches, n_test)
        if not drift + noise:
            raise Refusal("one of them above 0", "0 and 0", what="drift, noise")
        if reset_rate > 1:
            raise Refusal("a probability", reset_rate, what="reset_rate")
        self.n_in = 2 if reset_rate else 1
        self._gain, self._drift, self._noise = gain, drift, noise
        self._reset_rate = reset_rate

    def _draw(self, rng: np.random.Generator, n: int) -> Batch:
        shape = self._n_steps, n
        begins = rng.random(shape) < self._reset_rate
        begins[0] = False  # nothing to forget yet
        drift = np.empty(shape)
        drawn = rng.normal(0, self._drift, shape)
        y, ys = np.zeros(n), np.empty(shape)
        xs = rng.normal(0, self._noise, shape)
        for t in range(self._n_steps):
            drift[t] = np.where(begins[t] | (t == 0), drawn[t], drift[t - 1])
            xs[t] += drift[t]
            y = np.clip(np.where(begins[t], 0, y) + self._gain * xs[t], -1, 1)
            ys[t] = y
        inputs = np.stack([xs, begins], axis=2)[..., : self.n_in].astype(np.float32)
        return inputs, ys.T[..., None].astype(np.float32)
