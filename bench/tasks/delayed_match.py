"""Delayed match to sample: was the second stimulus the first one again?"""

from dataclasses import dataclass

import numpy as np

from bench.bounds import Count, NotNegative
from bench.tasks.base import Batch, Delay, DrawnTask, Several, question


@dataclass(eq=False)
class DelayedMatch(DrawnTask):
    """A sample, a silent delay, and a probe that is the sample in half of the sequences.

    Class 1 is a match. Only the steps of the probe, which lasts to the end, are asked for and
    trained on: before, nobody can know. Accuracy is that of the last step.
    """

    n_stimuli: Several = 8  # different stimuli, one input each
    hold: Count = 2  # steps that the sample is shown, and the probe at least
    delay: Delay = None  # silent steps between them
    noise: NotNegative = 0.1  # standard deviation of what is added to every input

    n_out, target = 2, 0.9

    def __post_init__(self) -> None:
        self.n_in = self.n_stimuli
        self._probe, self.mask = question(self.n_steps, self.hold, self.delay, shown=1)

    def draw(self, rng: np.random.Generator, n: int) -> Batch:
        sample = rng.integers(0, self.n_in, n)
        match = rng.integers(0, 2, n, dtype=np.int32)
        # Any of the others, each as often.
        other = (sample + rng.integers(1, self.n_in, n)) % self.n_in
        probe = np.where(match == 1, sample, other)
        xs = rng.normal(0, self.noise, (self.n_steps, n, self.n_in)).astype(np.float32)
        every = np.arange(n)
        xs[: self.hold, every, sample] += 1
        xs[self._probe :, every, probe] += 1
        return xs, match
