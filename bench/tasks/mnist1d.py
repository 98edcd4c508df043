"""MNIST-1D: ten shapes, shifted, stretched, sheared and noisy, as short signals in time."""

from dataclasses import dataclass

import numpy as np

from bench.tasks.base import Batch, StoredTask
from core.errors import Refusal

POINTS = 40
PER_CLASS, TRAINED_ON = 500, 4000
FADE_IN, LONGEST = 12, 72  # points of a template, and of a signal before it is sampled
# Pen strokes of the digits 0 to 9, each by 12 heights.
TEMPLATES = """
5 6 6.5 6.75 7 7 7 7 6.75 6.5 6 5;  5 3 3 3.4 3.8 4.2 4.6 5 5.4 5.8 5 5
5 6 6.5 6.5 6 5.25 4.75 4 3.5 3.5 4 5;  5 6 6.5 6.5 6 5 5 6 6.5 6.5 6 5
5 4.4 3.8 3.2 2.6 2.6 5 5 5 5 5 5;  5 3 3 3 3 5 6 6.5 6.5 6 4.5 5
5 4 3.5 3.25 3 3 3 3 3.25 3.5 4 5;  5 7 7 6.6 6.2 5.8 5.4 5 4.6 4.2 5 5
5 4 3.5 3.5 4 5 5 4 3.5 3.5 4 5;  5 4 3.5 3.5 4 5 5 5 5 4.7 4.3 5
"""


@dataclass(eq=False)
class MNIST1D(StoredTask):
    """4,000 signals of 40 points to train on and 1,000 to test (Greydanus and Kobak 2024).

    The data of the package ``mnist1d`` 0.0.2 at its defaults, drawn in the same order from the same
    stream, so the signals are the same ones; arXiv:2011.14439 reports 91 % for a GRU, 32 % for
    logistic regression and 94 % for a convolutional network. ``n_steps`` divides the 40 points:
    each step sees ``40 / n_steps`` of them.
    """

    n_out, target = 10, 0.7

    def __post_init__(self) -> None:
        if POINTS % self.n_steps:
            raise Refusal(f"a divisor of {POINTS}", self.n_steps, what="n_steps")
        self.n_in = POINTS // self.n_steps
        (signals, labels), n = drawn(), TRAINED_ON
        self.data = {"train": (signals[:n], labels[:n]), "test": (signals[n:], labels[n:])}

    def sequences(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        steps = values.reshape(len(values), self.n_steps, self.n_in)
        return np.ascontiguousarray(steps.transpose(1, 0, 2))


def drawn(seed: int = 42) -> Batch:
    """All signals [5000, 40] float32, of mean 0 and standard deviation 1, and their digits."""
    from scipy.ndimage import gaussian_filter1d

    # The package's stream, which is numpy's of old.
    rng = np.random.RandomState(seed)
    shapes = np.array(TEMPLATES.replace(";", " ").split(), float).reshape(10, -1)
    shapes = (shapes - shapes.mean(1, keepdims=True)) / shapes.std(1, keepdims=True)
    shapes = (shapes - shapes[:, :1]) / 6 + 1e-8  # from zero to zero; what is exactly zero is void
    n = len(shapes) * PER_CLASS
    clean, noise, white = np.empty((3, n, LONGEST))
    tilt = np.empty((n, 1))
    where = np.linspace(0, 1, LONGEST)
    for i in range(n):
        padded = np.zeros(FADE_IN + 36 + int(rng.rand() * 25))
        padded[:FADE_IN] = shapes[i // PER_CLASS]
        stretched = np.interp(where, np.linspace(0, 1, len(padded)), padded)
        stretched *= 1 + 0.4 * (rng.rand() - 0.5)
        clean[i] = np.roll(stretched, rng.randint(0, 48))
        noise[i], white[i] = rng.randn(LONGEST), rng.randn(LONGEST)
        tilt[i] = rng.rand() - 0.5
    void = gaussian_filter1d(0.25 * noise, 2, axis=1)
    signals = np.where(clean != 0, clean, void) + 0.02 * white
    signals -= 0.75 * tilt * np.linspace(-0.5, 0.5, LONGEST)
    sampled = np.linspace(0, LONGEST - 1, POINTS)
    below = np.minimum(sampled.astype(int), LONGEST - 2)
    part = sampled - below
    signals = signals[:, below] * (1 - part) + signals[:, below + 1] * part
    order = rng.permutation(n)
    signals = (signals - signals.mean()) / signals.std()
    return signals[order].astype(np.float32), (order // PER_CLASS).astype(np.int32)
