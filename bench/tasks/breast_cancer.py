"""Measurements of real tumours, told one after the other."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.tasks.base import StoredTask, held_out
from core.errors import Refusal

QUANTITIES = 10


@dataclass(eq=False)
class BreastCancer(StoredTask):
    """scikit-learn's breast cancer data: malignant or benign, from 10 quantities of cell nuclei.

    Each quantity (radius, texture, perimeter, ...) takes ``n_steps / 10`` steps; the inputs are its
    mean, standard error and worst value over a patient's cells. No quantity decides alone, so what
    was told has to be kept. Real data that is no recording in time: of the packages that this
    project needs, none ships one that can be learnt from.
    """

    n_test: int = 114  # patients held out
    steps_multiple_of: Literal[10] = 10  # and nothing else, for the check before any cell runs

    n_in, n_out, target = 3, 2, 0.93

    def __post_init__(self) -> None:
        from sklearn.datasets import load_breast_cancer

        if self.n_steps % QUANTITIES:
            raise Refusal(f"a multiple of {QUANTITIES}", self.n_steps, what="n_steps")
        values, labels = load_breast_cancer(return_X_y=True)
        patients = held_out(values, labels, self.n_test, "patients")
        # Standardised by what may be known: the patients that are trained on.
        known = patients["train"][0]
        mean, std = known.mean(0), known.std(0)
        self.data = {
            split: (((values - mean) / std).astype(np.float32), labels)
            for split, (values, labels) in patients.items()
        }

    def sequences(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        # Columns are 10 means, 10 standard errors, 10 worst values.
        told = values.reshape(-1, 3, QUANTITIES).transpose(2, 0, 1)
        return np.repeat(told, self.n_steps // QUANTITIES, axis=0)
