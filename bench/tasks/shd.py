"""Spiking Heidelberg Digits: spoken digits as spikes of a model cochlea, from files on disk."""

import importlib.util
from dataclasses import dataclass

import numpy as np

from bench.bounds import Positive
from bench.tasks.base import Batch
from bench.tasks.events import EventTask, examples_of
from core.errors import Refusal

UNITS = 700
SOURCE = "https://zenkelab.org/datasets (SHD; unpack shd_train.h5.gz and shd_test.h5.gz)"


@dataclass(eq=False)
class SHD(EventTask):
    """Digits 0 to 9 in German and English, 700 channels, 20 classes (Cramer et al. 2020).

    ``path`` holds ``shd_train.h5`` and ``shd_test.h5``. In each, ``spikes/times`` is a list of N
    arrays of seconds, ``spikes/units`` one of N arrays of channels from 0 to 699, and ``labels``
    has N classes from 0 to 19.
    """

    duration_s: Positive = 1.0  # of a recording that are used; later events are left out
    units_per_input: int = 5  # neighbouring channels that share an input; a divisor of 700

    n_out = 20

    def __post_init__(self) -> None:
        if self.units_per_input < 1 or UNITS % self.units_per_input:
            raise Refusal(f"a divisor of {UNITS}", self.units_per_input, what="units_per_input")
        if importlib.util.find_spec("h5py") is None:
            do = "Run pip install 'etrace-bench[data]'."
            raise Refusal("the package h5py to read it", "none", do, what="path")
        self.n_in = UNITS // self.units_per_input
        names = ["shd_train.h5", "shd_test.h5"]
        self._folder = self.found(names, " and ".join(names), SOURCE)

    def examples(self, split: str) -> Batch:
        import h5py

        name = f"shd_{split}.h5"
        with h5py.File(self._folder / name, "r") as file:
            absent = [n for n in ("spikes/times", "spikes/units", "labels") if n not in file]
            if absent:
                do = f"The files come from {SOURCE}."
                raise Refusal(f"{absent[0]} in it", ", ".join(file), do, what=name)
            labels, times, units = file["labels"][:], file["spikes/times"], file["spikes/units"]
            index = self.chosen(len(labels), split)
            # Half precision on disk: a step's edge would move by the rounding.
            recordings = [
                self.events(
                    np.asarray(times[i], np.float64),
                    np.asarray(units[i], np.int64) // self.units_per_input,
                    self.duration_s,
                )
                for i in index
            ]
        return examples_of(recordings, labels[index])
