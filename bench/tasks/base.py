"""What a task offers, and the data that several tasks draw on."""

from __future__ import annotations

import abc
import copy
from collections.abc import Iterator
from functools import cached_property
from typing import Self

import numpy as np

from bench.answers import CLASSES, Answers, Guess
from core.errors import Refusal

VALIDATION = 0.2  # share of the training data that choices are made by

# Axes of a batch: T steps, B sequences, I inputs. Answers have the sequences first: one class each,
# [B], or O numbers at every step, [B, T, O].
Batch = tuple[np.ndarray, np.ndarray]


class Task(abc.ABC):
    """Sequences, and what is asked about them.

    A task is built with ``n_steps``, ``batch_size``, ``seed`` and its own hyperparameters, and is
    a pure function of them: the same epoch gives the same batches in every process.

    Attributes:
        n_in: inputs per step, I.
        n_out: classes or numbers, O.
        answers: which of the two, and with that the loss and the score.
        mask: weight of the loss at each step, [T]; None for all alike.
        best_loss: mean loss per step of the best possible answers, where that is known.
        target: validation score that the time of learning counts to; None for none.
    """

    n_in: int
    n_out: int
    answers: Answers = CLASSES
    mask: np.ndarray | None = None
    best_loss: float = 0.0
    target: float | None = None

    @abc.abstractmethod
    def batches(self, epoch: int) -> Iterator[Batch]:
        """Training batches of an epoch: inputs [T, B, I] float32 and answers.

        Those are classes [B] int32 or numbers [B, T, O] float32.
        """

    @abc.abstractmethod
    def test(self) -> Batch | None:
        """Held-out sequences, [T, N, I] and answers; None when those are random anyway."""

    @cached_property
    def guess(self) -> Guess:
        """What answers come to that do not look at the input."""
        return self.answers.guess(self)

    def split(self) -> tuple[Task, Batch] | None:
        """Data to choose by: the task without it, and a ``Batch``; None where there is none.

        It comes from what is trained on, never from ``test``, and is the same for every seed.
        """
        return None


class StoredTask(Task):
    """Examples that are held in memory and come in another order every epoch.

    Args:
        batch_size: sequences a batch, B.
        seed: of the order.
        train: examples [N, ...] and labels [N] in an order that says nothing about them.
        test: those that are held out.
    """

    def __init__(self, batch_size: int, seed: int, train: Batch, test: Batch) -> None:
        self._batch_size = batch_size
        self._seed = seed
        self._train = train
        self._test = test

    def batches(self, epoch: int) -> Iterator[Batch]:
        values, labels = self._train
        # What is drawn anew each epoch comes from a stream of its own.
        rng = np.random.default_rng([self._seed, epoch, 1])
        for index in shuffled(len(labels), self._batch_size, self._seed, epoch):
            yield self.sequences(values[index], rng), labels[index]

    def test(self) -> Batch:
        return self._whole(self._test, 0)

    def split(self) -> tuple[Self, Batch]:
        values, labels = self._train
        kept = len(labels) - max(1, round(VALIDATION * len(labels)))
        rest = copy.copy(self)
        rest._train = values[:kept], labels[:kept]
        return rest, self._whole((values[kept:], labels[kept:]), 1)

    def _whole(self, data: Batch, stream: int) -> Batch:
        return self.sequences(data[0], np.random.default_rng(stream)), data[1]

    @abc.abstractmethod
    def sequences(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Examples [N, ...] as sequences [T, N, I] float32; ``rng`` draws what is random."""


class DrawnTask(Task):
    """Sequences that are drawn afresh for every batch.

    Args:
        n_steps: time steps, T.
        batch_size: sequences a batch, B.
        seed: of the sequences that are trained on.
        n_batches: fresh batches an epoch.
        n_test: held-out sequences, the same for every seed; None for none.
    """

    def __init__(
        self, n_steps: int, batch_size: int, seed: int, n_batches: int, n_test: int | None
    ) -> None:
        self._n_steps = n_steps
        self._batch_size = batch_size
        self._seed = seed
        self._n_batches = n_batches
        self._n_test = n_test

    def batches(self, epoch: int) -> Iterator[Batch]:
        rng = np.random.default_rng([self._seed, epoch])
        for _ in range(self._n_batches):
            yield self._draw(rng, self._batch_size)

    def test(self) -> Batch | None:
        if self._n_test is None:
            return None
        # A stream of three numbers, so that no seed and epoch trains on it.
        return self._draw(np.random.default_rng([0, 0, 1]), self._n_test)

    def split(self) -> tuple[Self, Batch] | None:
        if self._n_test is None:
            return None
        return self, self._draw(np.random.default_rng([0, 0, 2]), self._n_test)

    @abc.abstractmethod
    def _draw(self, rng: np.random.Generator, n: int) -> Batch:
        """``n`` sequences and their answers."""


def digit_images(n_test: int) -> tuple[Batch, Batch]:
    """scikit-learn's handwritten digits as (training, test) pairs of images [N, 8, 8] and labels.

    The split is the same for every seed: a held-out image never trains in any repeat.

    Args:
        n_test: images held out, from 1 to 1,796.

    Raises:
        Refusal: when nothing is left to train or to test on.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    if not 1 <= n_test < len(images):
        raise Refusal(f"1 to {len(images) - 1} of the {len(images)} images", n_test, what="n_test")
    order = np.random.default_rng(0).permutation(len(images))
    images = (images[order].reshape(-1, 8, 8) / 16.0).astype(np.float32)
    labels = labels[order].astype(np.int32)
    return (images[n_test:], labels[n_test:]), (images[:n_test], labels[:n_test])


def shuffled(n: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Indices of an epoch's batches, every one full; a small set is repeated to fill one batch."""
    order = np.random.default_rng([seed, epoch]).permutation(n)
    if batch_size > n:
        return [np.resize(order, batch_size)]
    return [order[i * batch_size : (i + 1) * batch_size] for i in range(n // batch_size)]


def delay_of(n_steps: int, delay: int | None, shown: int) -> int:
    """Silent steps of a task that shows something for at least ``shown`` steps.

    Args:
        n_steps: time steps, T.
        delay: what was asked for; None for all that is left.
        shown: steps that are not silent.

    Raises:
        Refusal: when the sequence is too short.
    """
    wanted = 1 if delay is None else delay
    if shown < 1:
        raise Refusal("at least 1", f"{shown} steps that show something", what="hold")
    if wanted < 0:
        raise Refusal("at least 0", delay, what="delay")
    if n_steps < shown + wanted:
        raise Refusal(
            f"at least {shown + wanted} ({shown} steps that show something and a delay of "
            f"{wanted})",
            n_steps,
            what="n_steps",
        )
    return n_steps - shown if delay is None else delay
