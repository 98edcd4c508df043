"""What a task offers, and the data that several tasks draw on."""

import abc
import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Self

import numpy as np

from bench.answers import CLASSES, Answers, Guess
from bench.bounds import LARGEST, Count, Range
from core.errors import Refusal

VALIDATION = 0.2  # share of the training data that choices are made by

Several = Annotated[int, Range(2, LARGEST)]
Probability = Annotated[float, Range(0, 1)]
Delay = Annotated[int, Range(0, LARGEST)] | None  # in steps; None for as many as fit

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

    def split(self) -> "tuple[Task, Batch] | None":
        """Data to choose by: the task without it, and a ``Batch``; None where there is none.

        It comes from what is trained on, never from ``test``, and is the same for every seed.
        """
        return None


@dataclass(eq=False)
class DataclassTask(Task):
    """A task that is a dataclass; a subclass has its own settings as further fields.

    Args:
        n_steps: time steps, T.
        batch_size: sequences a batch, B.
        seed: of what is random in training.
    """

    n_steps: int
    batch_size: int
    seed: int


@dataclass(eq=False)
class StoredTask(DataclassTask):
    """Examples that are held in memory and come in another order every epoch.

    Attributes:
        data: by ``train`` and ``test``, examples [N, ...] and labels [N]; a subclass sets it, or
            has an ``examples`` of its own.
    """

    data: dict[str, Batch] = field(init=False, repr=False)

    def examples(self, split: str) -> Batch:
        """Examples [N, ...] and labels [N] of ``train`` or ``test``."""
        return self.data[split]

    @abc.abstractmethod
    def sequences(self, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Examples [N, ...] as sequences [T, N, I] float32; ``rng`` draws what is random."""

    def batches(self, epoch: int) -> Iterator[Batch]:
        values, labels = self._train
        # What is drawn anew each epoch comes from a stream of its own.
        rng = np.random.default_rng([self.seed, epoch, 1])
        order = np.random.default_rng([self.seed, epoch]).permutation(len(labels))
        # Every batch is full; a small set is repeated to fill one.
        order = np.resize(order, max(len(order), self.batch_size))
        for first in range(0, len(order) - self.batch_size + 1, self.batch_size):
            index = order[first : first + self.batch_size]
            yield self.sequences(values[index], rng), labels[index]

    def test(self) -> Batch:
        return self._whole(self.examples("test"), 0)

    def split(self) -> tuple[Self, Batch]:
        values, labels = self._train
        kept, chosen = self.divided(len(labels), max(1, round(VALIDATION * len(labels))))
        rest = copy.copy(self)
        rest._train = values[kept], labels[kept]
        return rest, self._whole((values[chosen], labels[chosen]), 1)

    def divided(self, n: int, n_chosen: int) -> tuple[np.ndarray, np.ndarray]:
        """Which of ``n`` examples are trained on, and which chosen by: here the last ones."""
        return np.arange(n - n_chosen), np.arange(n - n_chosen, n)

    @cached_property
    def _train(self) -> Batch:
        return self.examples("train")

    def _whole(self, data: Batch, stream: int) -> Batch:
        return self.sequences(data[0], np.random.default_rng(stream)), data[1]


@dataclass(eq=False)
class DrawnTask(DataclassTask):
    """Sequences that are drawn afresh for every batch.

    Args:
        n_steps, batch_size, seed: as of ``DataclassTask``.
        n_batches: fresh batches an epoch.
        n_test: held-out sequences, the same for every seed; None for none.
    """

    n_batches: Count = 20
    n_test: Count | None = 512

    @abc.abstractmethod
    def draw(self, rng: np.random.Generator, n: int) -> Batch:
        """``n`` sequences [T, n, I] and their answers."""

    def batches(self, epoch: int) -> Iterator[Batch]:
        rng = np.random.default_rng([self.seed, epoch])
        for _ in range(self.n_batches):
            yield self.draw(rng, self.batch_size)

    def test(self) -> Batch | None:
        return self._held_out(1)

    def split(self) -> tuple[Self, Batch] | None:
        held_out = self._held_out(2)
        return None if held_out is None else (self, held_out)

    def _held_out(self, stream: int) -> Batch | None:
        if self.n_test is None:
            return None
        # A stream of three numbers, so that no seed and epoch trains on it.
        return self.draw(np.random.default_rng([0, 0, stream]), self.n_test)


def held_out(values: np.ndarray, labels: np.ndarray, n_test: int, what: str) -> dict[str, Batch]:
    """Divides [N, ...] and labels [N], the same for every seed: what is held out never trains.

    Raises:
        Refusal: when nothing is left to train or to test on; ``what`` they are.
    """
    n = len(labels)
    if not 1 <= n_test < n:
        raise Refusal(f"1 to {n - 1} of the {n} {what}", n_test, what="n_test")
    order = np.random.default_rng(0).permutation(n)
    values, labels = values[order], labels[order].astype(np.int32)
    return {"train": (values[n_test:], labels[n_test:]), "test": (values[:n_test], labels[:n_test])}


def digit_images(n_test: int) -> dict[str, Batch]:
    """scikit-learn's handwritten digits, images [N, 8, 8] from 0 to 1, as of ``held_out``."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8) / 16.0).astype(np.float32)
    return held_out(images, labels, n_test, "images")


def question(n_steps: int, hold: int, delay: int | None, shown: int) -> tuple[int, np.ndarray]:
    """What is asked behind ``shown`` things and a silent delay: its first step, and a mask of it.

    Each thing takes ``hold`` steps, and the question at least as many; it lasts to the end. A delay
    of None is all that is left.

    Raises:
        Refusal: when the sequence is too short.
    """
    busy, wanted = (shown + 1) * hold, 1 if delay is None else delay
    if n_steps < busy + wanted:
        why = f"{busy} steps that show something and a delay of {wanted}"
        raise Refusal(f"at least {busy + wanted} ({why})", n_steps, what="n_steps")
    first = shown * hold + (n_steps - busy if delay is None else delay)
    return first, (np.arange(n_steps) >= first).astype(np.float32)
