"""Spiking Heidelberg Digits: spoken digits as spikes of a model cochlea, from files on disk."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from bench.bounds import Count, Positive
from bench.tasks.events import EventTask, Recordings, chosen, recordings
from core.errors import Refusal

UNITS = 700
SOURCE = "https://zenkelab.org/datasets (SHD; unpack shd_train.h5.gz and shd_test.h5.gz)"


class SHD(EventTask):
    """Digits 0 to 9 in German and English, 700 channels, 20 classes (Cramer et al. 2020).

    ``path`` holds ``shd_train.h5`` and ``shd_test.h5``. In each, ``spikes/times`` is a list of N
    arrays of seconds, ``spikes/units`` one of N arrays of channels from 0 to 699, and ``labels``
    has N classes from 0 to 19.

    Args:
        n_steps: time steps, T, which divide ``duration_s``.
        batch_size: sequences a batch, B.
        seed: of the order of the recordings.
        path: folder of the two files.
        duration_s: seconds of a recording that are used; later events are left out.
        units_per_input: neighbouring channels that share an input; a divisor of 700.
        n_train: recordings to train on, drawn once and for all; None for all 8,156.
        n_test: recordings held out, of 2,264; they are held as one array of 0 and 1.
    """

    n_out = 20

    def __init__(
        self,
        n_steps: int,
        batch_size: int,
        seed: int,
        path: str | None = None,
        duration_s: Positive = 1.0,
        units_per_input: int = 5,
        n_train: Count | None = None,
        n_test: Count | None = 256,
    ) -> None:
        super().__init__(n_steps, batch_size, seed)
        if units_per_input < 1 or UNITS % units_per_input:
            raise Refusal(f"a divisor of {UNITS}", units_per_input, what="units_per_input")
        if importlib.util.find_spec("h5py") is None:
            raise Refusal(
                "the package h5py to read it",
                "none",
                "Run pip install 'etrace-bench[data]'.",
                what="path",
            )
        self.n_in = UNITS // units_per_input
        self._units_per_input = units_per_input
        self._duration_s = duration_s
        self._limits = {"train": n_train, "test": n_test}
        folder = Path(path).expanduser() if path else None
        self._files = {s: folder / f"shd_{s}.h5" for s in self._limits} if folder else {}
        missing = [file.name for file in self._files.values() if not file.is_file()]
        if missing or not folder:
            came = f"no {missing[0]} in {path}" if folder else "nothing"
            raise Refusal(
                "a folder with shd_train.h5 and shd_test.h5",
                came,
                f"Set task.path=DIR; the files come from {SOURCE}.",
                what="path",
            )

    def read(self, split: str) -> Recordings:
        import h5py

        with h5py.File(self._files[split], "r") as file:
            absent = [n for n in ("spikes/times", "spikes/units", "labels") if n not in file]
            if absent:
                raise Refusal(
                    f"{absent[0]} in it",
                    ", ".join(file),
                    f"The files come from {SOURCE}.",
                    what=self._files[split].name,
                )
            labels = file["labels"][:]
            index = chosen(len(labels), self._limits[split])
            parts = [self._events(file["spikes/times"][i], file["spikes/units"][i]) for i in index]
        return recordings(parts, labels[index])

    def _events(self, times: Any, units: Any) -> tuple[np.ndarray, np.ndarray]:
        # Half precision on disk: a step's edge would move by the rounding.
        seconds = np.asarray(times, np.float64)
        kept = seconds < self._duration_s
        steps = (seconds[kept] / self._duration_s * self._n_steps).astype(np.int64)
        return steps, np.asarray(units, np.int64)[kept] // self._units_per_input
