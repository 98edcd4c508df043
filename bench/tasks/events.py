"""Recordings of events (which input, when) as spike trains, from files on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.bounds import Count
from bench.tasks.base import Batch, StoredTask
from core.errors import Refusal


@dataclass(eq=False)
class EventTask(StoredTask):
    """Spikes of 0 or 1: several events of one input in one step are one spike.

    The files are looked for when the task is made and read when the first batch is asked for. An
    example is the E events of one recording: their steps and their inputs, [2, E].
    """

    path: str | None = None  # folder of the files
    n_train: Count | None = None  # recordings to train on, drawn once and for all; None for all
    n_test: Count | None = 256  # held out; they are held as one array of 0 and 1

    def found(self, names: Sequence[str], expected: str, source: str) -> Path:
        """The folder.

        Raises:
            Refusal: when it lacks one of the names; says what was expected, and its source.
        """
        folder = Path(self.path or "").expanduser()
        missing = [name for name in names if not (folder / name).exists()]
        if missing or not self.path:
            came = f"no {missing[0]} in {self.path}" if self.path else "nothing"
            do = f"Set task.path=DIR; the files come from {source}."
            raise Refusal(f"a folder with {expected}", came, do, what="path")
        return folder

    def chosen(self, n: int, split: str) -> np.ndarray:
        """Which of ``n`` recordings of ``train`` or ``test`` are used."""
        limit = self.n_train if split == "train" else self.n_test
        if limit is None or limit >= n:
            return np.arange(n)
        return np.sort(np.random.default_rng(0).permutation(n)[:limit])

    def events(self, times: np.ndarray, inputs: np.ndarray, duration: float) -> np.ndarray:
        """Events at ``times`` before ``duration``, [2, E], as small as they can be held."""
        kept = times < duration
        steps = (times[kept] / duration * self.n_steps).astype(np.int64)
        return np.stack([steps, inputs[kept]]).astype(np.uint16)

    def divided(self, n: int, n_chosen: int) -> tuple[np.ndarray, np.ndarray]:
        # Files may be sorted by class.
        order = np.random.default_rng(0).permutation(n)
        return np.sort(order[n_chosen:]), order[:n_chosen]

    def sequences(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        out = np.zeros((self.n_steps, len(values), self.n_in), np.float32)
        for place, (steps, inputs) in enumerate(values):
            out[steps, place, inputs] = 1
        return out


def examples_of(recordings: Sequence[np.ndarray], labels: Sequence[int] | np.ndarray) -> Batch:
    """Recordings, [2, E] each, as an array of objects [N], and their labels [N]."""
    values = np.empty(len(recordings), object)
    for i, recording in enumerate(recordings):
        values[i] = recording
    return values, np.asarray(labels, np.int32)
