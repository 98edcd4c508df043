"""What a task asks for, classes or numbers: the loss, the score, and what guessing comes to.

All that differs between the two is here. A task names one of them; backends, metrics and checks ask
that one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import jax

    from bench.tasks.base import Task


class Guess(NamedTuple):
    """What answers come to that do not look at the input."""

    loss: float  # mean over the steps that are asked for
    score: float  # as of ``Classes.score``
    words: str  # what its loss is


class Classes:
    """One of ``n_out`` classes for each sequence, [N]; outputs are logits.

    The loss is the cross entropy, the score the share that is right at the last step.

    Attributes:
        column: of the score on the training data; ``test_`` and ``validation_`` stand before it for
            the other data. A score is 1 at best.
        name: of the score, for people.
    """

    column = name = "accuracy"

    def shape(self, task: Task, n_steps: int, n: int) -> tuple[tuple[int, ...], type]:
        """Shape and type of the answers to ``n`` sequences: these come first."""
        return (n,), np.int32

    def loss(self, out: jax.Array, asked: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean loss of one step's outputs [B, O] or [O], and the share that is right, or None."""
        import braintools
        import jax.numpy as jnp

        loss = braintools.metric.softmax_cross_entropy_with_integer_labels(out, asked).mean()
        return loss, (jnp.argmax(out, axis=-1) == asked).mean()

    def in_time(self, ys: jax.Array, xs: jax.Array) -> tuple[jax.Array, bool]:
        """Answers as the loss takes them, and whether they are [T, ...], those of each step.

        They are of a batch, or of a single sequence, with inputs ``xs`` [T, B, I] or [T, I].
        """
        return ys, False

    def score(self, loss: float, right: Any, task: Task) -> float:
        """How good answers were: by mean ``loss``, and the share ``right`` at each step, [T]."""
        return float(right[-1])

    def guess(self, task: Task) -> Guess:
        """What guessing comes to."""
        return Guess(math.log(task.n_out), 1 / task.n_out, f"ln({task.n_out})")

    def constant(self, ys: np.ndarray) -> float:
        """The score of the best answer that is the same for all: the most frequent class."""
        return float(np.bincount(ys).max() / len(ys))

    def describe(self, task: Task, ys: np.ndarray) -> str:
        """What is asked for, and how much of it these answers have."""
        return f"{task.n_out} classes, {len(np.unique(ys))} of them in this batch"

    def figure(self, score: float) -> str:
        """A score as people write it."""
        return f"{100 * score:.1f} %"

    def broken(self, task: Task, ys: np.ndarray) -> list[str]:
        """Promises that answers of the right shape and type do not keep."""
        if 0 <= ys.min() <= ys.max() < task.n_out:
            return []
        return [f"labels: expected 0 to {task.n_out - 1}; got {ys.min()} to {ys.max()}"]


class Numbers:
    """``n_out`` numbers at every step, [N, T, O]; outputs are those numbers.

    The loss is the mean squared error. The score is R², the share of their variance that is
    explained: 1 less the loss over that of the best constant, which is what guessing gives. The
    methods are those of ``Classes``.
    """

    column, name = "r2", "R²"

    def shape(self, task: Task, n_steps: int, n: int) -> tuple[tuple[int, ...], type]:
        return (n, n_steps, task.n_out), np.float32

    def loss(self, out: jax.Array, asked: jax.Array) -> tuple[jax.Array, None]:
        return ((out - asked) ** 2).mean(), None

    def in_time(self, ys: jax.Array, xs: jax.Array) -> tuple[jax.Array, bool]:
        import jax.numpy as jnp

        return jnp.moveaxis(ys.astype(xs.dtype), -2, 0), True

    def score(self, loss: float, right: Any, task: Task) -> float:
        # Of answers that never vary there is nothing to explain.
        return 1 - loss / task.guess.loss if task.guess.loss else math.nan

    def guess(self, task: Task) -> Guess:
        held_out = task.test()
        ys = (next(iter(task.batches(0))) if held_out is None else held_out)[1].astype(np.float64)
        error = (ys - np.average(ys.mean(0), axis=0, weights=task.mask)) ** 2
        loss = float(np.average(error.mean((0, 2)), weights=task.mask))
        return Guess(loss, 0.0, "that of the best constant")

    def describe(self, task: Task, ys: np.ndarray) -> str:
        return f"{task.n_out} at every step, {ys.min():.3g} to {ys.max():.3g}"

    def figure(self, score: float) -> str:
        return f"{score:.3f}"

    def broken(self, task: Task, ys: np.ndarray) -> list[str]:
        return [] if np.isfinite(ys).all() else ["answers: expected finite numbers"]


Answers = Classes | Numbers
CLASSES, NUMBERS = Classes(), Numbers()
