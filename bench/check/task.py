"""``python -m bench check task=NAME``: a batch, what guessing reaches, and whether a GRU learns it.

A GRU under BPTT with Adam is trained for a minute at most. That it does not learn the task says
that the task may be too hard for an hour as well, or needs another learning rate: lr=VALUE.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from bench.answers import CLASSES
from bench.cell.batches import broken, drawn, held, pair
from bench.cell.build import build
from bench.errors import quoted
from bench.instantiate import task_of
from bench.metrics.base import Run
from bench.metrics.learning import Learning
from bench.sweep.cell import Cell
from bench.tasks.base import Batch, Task

SECONDS = 60.0
PATIENCE = 30  # epochs without a better one, after which a task that was learned is done
LEARNED = 0.5  # of the way from guessing to the best score; below, it is only on its way


def run(cell: Cell) -> int:
    """Prints what there is to know of the task of a cell, which has a GRU and BPTT beside it.

    Returns 1 when a promise is broken or the GRU learned nothing, 0 otherwise.
    """
    config, name = cell.config, cell.choices["task"]
    with quoted("task"):
        task, again = task_of(config), task_of(config)
        batch, same = (pair(next(drawn(t, 0))) for t in (task, again))
    unkept = broken(task, batch, (config.n_steps, config.batch_size))
    if not all(map(np.array_equal, batch, same)):
        unkept.append("the same epoch gives another batch the second time")
    for promise in unkept:
        print(f"FAIL  {promise}")
    if unkept:
        return 1
    with quoted("task"):
        test, split = task.test(), task.split()
        for data in (test, split[1] if split else None):
            if data is not None:
                held(task, data, config)
    held_out = split[1] if split else test
    guess = _describe(task, batch, test, split)
    if held_out is None or task.best_loss >= 0.99 * task.guess.loss:
        print(f"{name}: nothing to learn, so nothing was trained")
        return 0
    return _learned(build(config, cell.choices)[0], guess, name)


def _describe(task: Task, batch: Batch, test: Batch | None, split: Any) -> float:
    """Prints the data; returns the score of guessing."""
    xs, ys = batch
    print(
        f"inputs   {list(xs.shape)}, {xs.min():.3g} to {xs.max():.3g}, mean {xs.mean():.3g}, "
        f"{100 * (xs != 0).mean():.0f} % not zero"
    )
    print(f"answers  {task.answers.describe(task, ys)}")
    asked = len(xs) if task.mask is None else int(np.count_nonzero(task.mask))
    print(f"loss     asked for at {asked} of {len(xs)} steps")
    guess = task.guess.score
    for kind, data in (("test", test), ("choose", split[1] if split else None)):
        if data is None:
            print(f"{kind:9}none")
            continue
        if task.answers is CLASSES and kind == "test":
            guess = max(guess, CLASSES.constant(data[1]))
        print(f"{kind:9}{len(data[1])} sequences")
    print(f"chance   {task.answers.figure(guess)}, loss {task.guess.loss:.4f}")
    return guess


def _learned(run: Run, guess: float, name: str) -> int:
    """Trains a GRU for a minute and says what it came to."""
    print(f"training a GRU for {SECONDS:.0f} s at most ...", flush=True)
    until = time.monotonic() + SECONDS
    answers = run.task.answers
    found: list[float] = []
    steps: list[int] = []

    def share() -> float:
        return (max(found) - guess) / (1 - guess) if guess < 1 else 1.0

    def over(score: float, n: int) -> bool:
        found.append(score)
        steps.append(n)
        idle = len(found) - 1 - found.index(max(found))
        learned = share() > LEARNED and (idle > PATIENCE or score == 1)
        return learned or time.monotonic() > until

    Learning(choose="trial" if run.task.split() else None).measure(run, over)
    best = max(found)
    words = (
        f"a GRU reaches {answers.name} {answers.figure(best)} on held-out data in "
        f"{steps[found.index(best)]} steps (guessing: {answers.figure(guess)})"
    )
    print(f"{name}: {words}{'' if share() > LEARNED else ': it has not learned the task in time'}")
    return 0 if share() > LEARNED else 1
