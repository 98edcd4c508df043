"""Delayed match to sample: was the second stimulus the first one again?"""

from __future__ import annotations

import numpy as np

from bench.bounds import Count, NotNegative
from bench.tasks.base import Batch, DrawnTask, delay_of
from core.errors import Refusal


class DelayedMatch(DrawnTask):
    """A sample, a silent delay, and a probe that is the sample in half of the sequences.

    Class 1 is a match. Only the steps of the probe are asked for and trained on: before, nobody can
    know. Accuracy is that of the last step.

    Args:
        n_steps: time steps, T: at least ``2 hold`` and the delay. The probe lasts to the end.
        batch_size: sequences a batch, B.
        seed: of the sequences that are trained on.
        n_stimuli: different stimuli, one input each.
        hold: steps that the sample is shown, and the probe at least.
        delay: silent steps between them; None for as many as fit.
        noise: standard deviation of what is added to every input.
        n_batches: fresh batches an epoch.
        n_test: held-out sequences, the same for every seed.
    """

    n_out = 2
    target = 0.9

    def __init__(
        self,
        n_steps: int,
        batch_size: int,
        seed: int,
        n_stimuli: int = 8,
        hold: int = 2,
        delay: int | None = None,
        noise: NotNegative = 0.1,
        n_batches: Count = 20,
        n_test: Count = 512,
    ) -> None:
        super().__init__(n_steps, batch_size, seed, n_batches, n_test)
        if n_stimuli < 2:
            raise Refusal("at least 2", n_stimuli, what="n_stimuli")
        self.n_in = n_stimuli
        self._delay = delay_of(n_steps, delay, shown=2 * hold)
        self._hold = hold
        self._noise = noise
        self.mask = (np.arange(n_steps) >= hold + self._delay).astype(np.float32)

    def _draw(self, rng: np.random.Generator, n: int) -> Batch:
        sample = rng.integers(0, self.n_in, n)
        match = rng.integers(0, 2, n, dtype=np.int32)
        # Any of the others, each as often.
        other = (sample + rng.integers(1, self.n_in, n)) % self.n_in
        probe = np.where(match == 1, sample, other)
        xs = rng.normal(0, self._noise, (self._n_steps, n, self.n_in)).astype(np.float32)
        every = np.arange(n)
        xs[: self._hold, every, sample] += 1
        xs[self._hold + self._delay :, every, probe] += 1
        return xs, match
