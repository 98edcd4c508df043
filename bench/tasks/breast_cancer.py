"""Measurements of real tumours, told one after the other."""

from __future__ import annotations

from typing import Literal

import numpy as np

from bench.tasks.base import StoredTask
from core.errors import Refusal

QUANTITIES = 10


class BreastCancer(StoredTask):
    """scikit-learn's breast cancer data: malignant or benign, from 10 quantities of cell nuclei.

    Each quantity (radius, texture, perimeter, ...) takes ``n_steps / 10`` steps; the inputs are its
    mean, standard error and worst value over a patient's cells. No quantity decides alone, so what
    was told has to be kept. Real data that is no recording in time: of the packages that this
    project needs, none ships one that can be learnt from.

    Args:
        n_steps: time steps, T, a multiple of 10.
        batch_size: sequences a batch, B.
        seed: of the order of the patients.
        n_test: patients held out, the same for every seed.
        steps_multiple_of: 10 and nothing else, for the check before any cell runs.
    """

    n_in = 3
    n_out = 2
    target = 0.93

    def __init__(
        self,
        n_steps: int,
        batch_size: int,
        seed: int,
        n_test: int = 114,
        steps_multiple_of: Literal[10] = 10,
    ) -> None:
        from sklearn.datasets import load_breast_cancer

        if n_steps % steps_multiple_of:
            raise Refusal(f"a multiple of {QUANTITIES}", n_steps, what="n_steps")
        values, labels = load_breast_cancer(return_X_y=True)
        if not 1 <= n_test < len(values):
            raise Refusal(
                f"1 to {len(values) - 1} of the {len(values)} patients", n_test, what="n_test"
            )
        self._hold = n_steps // QUANTITIES
        order = np.random.default_rng(0).permutation(len(values))
        train, test = order[n_test:], order[:n_test]
        # Standardised by what may be known: the patients that are trained on.
        values = (values - values[train].mean(0)) / values[train].std(0)
        # Columns are 10 means, 10 standard errors, 10 worst values.
        values = values.reshape(-1, 3, QUANTITIES).transpose(0, 2, 1).astype(np.float32)
        labels = labels.astype(np.int32)
        super().__init__(
            batch_size, seed, (values[train], labels[train]), (values[test], labels[test])
        )

    def sequences(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.repeat(values.transpose(1, 0, 2), self._hold, axis=0)
