"""Generate a sine wave of the frequency that is asked for."""

from __future__ import annotations

import numpy as np

from bench.answers import NUMBERS
from bench.bounds import Count, Positive
from bench.tasks.base import Batch, DrawnTask
from core.errors import Refusal


class Sine(DrawnTask):
    """``y_t = sin(2 pi f t)``, and f is told by a level, -1 to 1 from the slowest to the fastest.

    The second input marks the beginning. As the target depends on nothing else, the wave has to be
    made by the network itself.

    Args:
        n_steps: time steps, T.
        batch_size: sequences a batch, B.
        seed: of the sequences that are trained on.
        slowest, fastest: longest and shortest period in steps.
        cue: steps that the level is shown; None for all.
        n_batches: fresh batches an epoch.
        n_test: held-out sequences, the same for every seed.

    Reference: D. Sussillo and O. Barak, "Opening the black box", Neural Computation 25 (2013):
    their network makes sine waves of a frequency that a constant input tells.
    """

    n_in = 2
    n_out = 1
    answers = NUMBERS
    target = 0.9

    def __init__(
        self,
        n_steps: int,
        batch_size: int,
        seed: int,
        slowest: Positive = 40.0,
        fastest: Positive = 10.0,
        cue: Count | None = None,
        n_batches: Count = 20,
        n_test: Count = 512,
    ) -> None:
        super().__init__(n_steps, batch_size, seed, n_batches, n_test)
        if not slowest > fastest >= 2:
            raise Refusal(
                "slowest > fastest >= 2 steps",
                f"{slowest:g} and {fastest:g}",
                what="slowest, fastest",
            )
        self._range = 1 / slowest, 1 / fastest
        self._cue = n_steps if cue is None else cue

    def _draw(self, rng: np.random.Generator, n: int) -> Batch:
        level = rng.uniform(-1, 1, n)
        low, high = self._range
        frequency = low + (high - low) * (level + 1) / 2
        xs = np.zeros((self._n_steps, n, self.n_in), np.float32)
        xs[: self._cue, :, 0] = level
        xs[0, :, 1] = 1
        ys = np.sin(2 * np.pi * np.outer(frequency, np.arange(self._n_steps)))
        return xs, ys[..., None].astype(np.float32)
