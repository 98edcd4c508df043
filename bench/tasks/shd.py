"""Spiking Heidelberg Digits: spoken digits as spikes of a model cochlea, from files on disk."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.bounds import Count, Positive
from bench.tasks.base import Batch, StoredTask
from core.errors import Refusal

UNITS = 700
NAMES = "shd_train.h5", "shd_test.h5"
SOURCE = "https://zenkelab.org/datasets (SHD; unpack shd_train.h5.gz and shd_test.h5.gz)"


@dataclass(eq=False)
class SHD(StoredTask):
    """Digits 0 to 9 in German and English, 700 channels, 20 classes (Cramer et al. 2020).

    ``path`` holds ``shd_train.h5`` and ``shd_test.h5``. In each, ``spikes/times`` is a list of N
    arrays of seconds, ``spikes/units`` one of N arrays of channels from 0 to 699, and ``labels``
    has N classes from 0 to 19. Several spikes of one input in one step are one.

    The files are looked for when the task is made and read when the first batch is asked for. An
    example is the E events of one recording: their steps and their inputs, [2, E].
    """

    path: str | None = None  # folder of the two files
    duration_s: Positive = 1.0  # of a recording that are used; later events are left out
    units_per_input: int = 5  # neighbouring channels that share an input; a divisor of 700
    n_train: Count | None = None  # recordings to train on, drawn once and for all; None for all
    n_test: Count | None = 256  # held out; they are held as one array of 0 and 1

    n_out = 20

    def __post_init__(self) -> None:
        if self.units_per_input < 1 or UNITS % self.units_per_input:
            raise Refusal(f"a divisor of {UNITS}", self.units_per_input, what="units_per_input")
        if importlib.util.find_spec("h5py") is None:
            raise Refusal(
                "the package h5py to read it",
                "none",
                "Run pip install 'etrace-bench[data]'.",
                what="path",
            )
        self.n_in = UNITS // self.units_per_input
        self._folder = Path(self.path or "").expanduser()
        missing = [name for name in NAMES if not (self._folder / name).is_file()]
        if missing or not self.path:
            raise Refusal(
                f"a folder with {' and '.join(NAMES)}",
                f"no {missing[0]} in {self.path}" if self.path else "nothing",
                f"Set task.path=DIR; the files come from {SOURCE}.",
                what="path",
            )

    def examples(self, split: str) -> Batch:
        import h5py

        name, limit = f"shd_{split}.h5", self.n_train if split == "train" else self.n_test
        with h5py.File(self._folder / name, "r") as file:
            absent = [n for n in ("spikes/times", "spikes/units", "labels") if n not in file]
            if absent:
                raise Refusal(
                    f"{absent[0]} in it",
                    ", ".join(file),
                    f"The files come from {SOURCE}.",
                    what=name,
                )
            labels = file["labels"][:].astype(np.int32)
            index = np.arange(len(labels))
            if limit is not None and limit < len(labels):
                index = np.sort(np.random.default_rng(0).permutation(len(labels))[:limit])
            recordings = np.empty(len(index), object)
            for place, i in enumerate(index):
                recordings[place] = self._events(file["spikes/times"][i], file["spikes/units"][i])
        return recordings, labels[index]

    def _events(self, times: Any, units: Any) -> np.ndarray:
        """Steps and inputs of a recording, [2, E]."""
        # Half precision on disk: a step's edge would move by the rounding.
        seconds = np.asarray(times, np.float64)
        kept = seconds < self.duration_s
        steps = (seconds[kept] / self.duration_s * self.n_steps).astype(np.int64)
        inputs = np.asarray(units, np.int64)[kept] // self.units_per_input
        return np.stack([steps, inputs]).astype(np.uint16)

    def divided(self, n: int, n_chosen: int) -> tuple[np.ndarray, np.ndarray]:
        # Files may be sorted by class.
        order = np.random.default_rng(0).permutation(n)
        return np.sort(order[n_chosen:]), order[:n_chosen]

    def sequences(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        out = np.zeros((self.n_steps, len(values), self.n_in), np.float32)
        for place, (steps, inputs) in enumerate(values):
            out[steps, place, inputs] = 1
        return out
