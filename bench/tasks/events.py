"""Recordings of events (which input, when) as spike trains; shared by the tasks that read files."""

from __future__ import annotations

import abc
import copy
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np

from bench.tasks.base import VALIDATION, Batch, Task, shuffled


class Recordings(NamedTuple):
    """N recordings, their E events one after the other.

    Attributes:
        steps: time step of each event, [E].
        inputs: input of each event, [E].
        starts: where each recording begins, and the end of the last, [N + 1].
        labels: classes, [N].
    """

    steps: np.ndarray
    inputs: np.ndarray
    starts: np.ndarray
    labels: np.ndarray


def recordings(parts: list[tuple[np.ndarray, np.ndarray]], labels: np.ndarray) -> Recordings:
    """Joins the (steps, inputs) of single recordings, as small as they can be held."""
    starts = np.cumsum([0, *(len(steps) for steps, _ in parts)])
    steps, inputs = (np.concatenate([part[i] for part in parts]).astype(np.uint16) for i in (0, 1))
    return Recordings(steps, inputs, starts, np.asarray(labels, np.int32))


class EventTask(Task):
    """Spikes of 0 or 1: several events of one input in one step are one spike.

    The files are looked for when the task is made and read when the first batch is asked for.

    Args:
        n_steps: time steps, T.
        batch_size: sequences a batch, B.
        seed: of the order of the recordings.
    """

    def __init__(self, n_steps: int, batch_size: int, seed: int) -> None:
        self._n_steps = n_steps
        self._batch_size = batch_size
        self._seed = seed

    @abc.abstractmethod
    def read(self, split: str) -> Recordings:
        """The recordings of ``train`` or ``test``."""

    @cached_property
    def _training(self) -> Recordings:
        return self.read("train")

    @cached_property
    def _kept(self) -> np.ndarray:
        """Which of the training recordings are trained on."""
        return np.arange(len(self._training.labels))

    def batches(self, epoch: int) -> Iterator[Batch]:
        for index in shuffled(len(self._kept), self._batch_size, self._seed, epoch):
            yield self._spikes(self._training, self._kept[index])

    def split(self) -> tuple[Self, Batch]:
        # Files may be sorted by class.
        order = np.random.default_rng(0).permutation(len(self._training.labels))
        n = max(1, round(VALIDATION * len(order)))
        rest = copy.copy(self)
        rest._kept = np.sort(order[n:])
        return rest, self._spikes(self._training, order[:n])

    def test(self) -> Batch:
        data = self.read("test")
        return self._spikes(data, np.arange(len(data.labels)))

    def _spikes(self, data: Recordings, index: np.ndarray) -> Batch:
        """The recordings ``index`` [B] as spikes [T, B, I] and labels [B]."""
        out = np.zeros((self._n_steps, len(index), self.n_in), np.float32)
        for place, i in enumerate(index):
            events = slice(data.starts[i], data.starts[i + 1])
            out[data.steps[events], place, data.inputs[events]] = 1
        return out, data.labels[index]


def chosen(n: int, limit: int | None) -> np.ndarray:
    """Which of ``n`` recordings are used: all, or ``limit`` of them drawn once and for all."""
    if limit is None or limit >= n:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).permutation(n)[:limit])
