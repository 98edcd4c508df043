"""Batches of a task, held against what tasks promise before anything is computed of them.

jax reads a class that is out of range as NaN or as another class, and says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.config import Config
from bench.errors import BadInput
from bench.tasks.base import Batch, Task


def batches(task: Task, epoch: int, config: Config) -> Iterator[Batch]:
    """The training batches of an epoch; a BadInput as of ``drawn`` and ``held``."""
    for batch in drawn(task, epoch):
        yield held(task, batch, config, config.batch_size)


def drawn(task: Task, epoch: int) -> Iterator[Batch]:
    """The training batches of an epoch as they come; a BadInput where there is none."""
    batch = None
    for batch in task.batches(epoch) or ():
        yield batch
    if batch is None:
        raise BadInput("task", f"at least one training batch in epoch {epoch}", "none")


def held(task: Task, batch: Batch, config: Config, n: int | None = None) -> Batch:
    """A batch in the precision of the cell; a BadInput where it does not keep a promise.

    It is to have ``n`` sequences; None for as many as there are, which is at least one.
    """
    inputs, answers = pair(batch)
    size = n or (inputs.shape[1] if inputs.ndim == 3 else 0) or 1
    # Only what changes no meaning: of another width, or whole numbers among numbers.
    xs, ys = (
        values.astype(kind, copy=False) if np.can_cast(values.dtype, kind, "same_kind") else values
        for values, kind in ((inputs, config.dtype), (answers, task.answers.shape(task, 1, 1)[1]))
    )
    for promise in broken(task, (xs, ys), (config.n_steps, size), config.dtype):
        do = "python -m bench check task=NAME holds a task against all it promises."
        raise BadInput.quoting("task", f"{promise}. {do}")
    return xs, ys


def broken(task: Task, batch: Batch, size: tuple[int, int], dtype: str = "float32") -> list[str]:
    """Promises of ``bench.tasks.base.Task`` that a batch of size T, N does not keep."""
    xs, ys = batch
    found = _unlike(xs, (*size, task.n_in), dtype, "inputs: expected [T, B, I] =")
    if not found and not np.isfinite([xs.min(), xs.max()]).all():  # it can be most of the memory
        found = ["inputs: expected finite numbers"]
    unlike = _unlike(ys, *task.answers.shape(task, *size), "answers: expected")
    found += unlike or task.answers.broken(task, ys)
    if task.mask is not None:
        mask = np.asarray(task.mask, float)
        if mask.shape != size[:1]:
            found.append(f"mask: expected [T] = [{size[0]}]; got {list(mask.shape)}")
        elif not (np.isfinite(mask).all() and mask.min() >= 0 < mask.max()):
            found.append(f"mask: expected weights from 0, some of them above; got {mask}")
    return found


def _unlike(values: np.ndarray, shape: tuple[int, ...], kind: Any, expected: str) -> list[str]:
    if values.shape == shape and values.dtype == kind:
        return []
    return [f"{expected} {list(shape)} {np.dtype(kind)}; got {list(values.shape)} {values.dtype}"]


def pair(batch: Any) -> Batch:
    """Inputs and answers as arrays; a BadInput where a batch is no such pair."""
    try:
        inputs, answers = map(np.asarray, batch)
    except (TypeError, ValueError) as error:
        expected = "batches to be pairs of arrays, inputs and answers"
        raise BadInput("task", expected, f"{type(batch).__name__} ({error})") from error
    return inputs, answers
