"""A step's time as a multiple of BPTT's, both taking turns in one process.

What slows a machine down lasts longer than a turn of a few milliseconds, so it meets both. Of each
side the lowest decile of its steps counts: those that nothing interrupted.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from bench.cell.gradients import EXACT
from bench.cell.statistics import ratio_interval
from bench.cell.stepper import Stepper, stepper_of, timed
from bench.errors import words_of
from bench.metrics.base import Run
from bench.processes import memory_cap

COLUMNS = "time_vs_bptt", "time_vs_bptt_low", "time_vs_bptt_high"
TURN_S = 0.005
LEAST_ROUNDS = 12
LOOK_AGAIN = 1.5
# Longer where the interval stays wide: on a busy machine few steps are undisturbed.
STRETCH = 3.0


class Side:
    """A training step that takes turns with something else."""

    def __init__(self, stepper: Stepper, batch: tuple[np.ndarray, np.ndarray]) -> None:
        self._stepper = stepper
        self._batch = stepper.prepare(*batch)
        self._values = stepper.values()

    def step(self) -> float:
        """Seconds of one step."""
        self._values, _, seconds = timed(self._stepper, self._values, self._batch)
        return seconds


def turn(step: Callable[[], float], turn_s: float = TURN_S) -> list[float]:
    """Seconds of the steps of one turn, without the first, which finds the other's caches."""
    step()
    steps: list[float] = []
    ends = time.perf_counter() + turn_s
    while not steps or time.perf_counter() < ends:
        steps.append(step())
    return steps


def against_bptt(run: Run, **rule: float) -> dict[str, Any]:
    """Parts of a record: the step's time over BPTT's, or a note why there is no such number.

    The rule is that of ``time_ratio``.
    """
    # Of BPTT itself, batched by hand.
    if all(getattr(run.config, key) == value for key, value in EXACT.items()):
        return {"metrics": dict.fromkeys(COLUMNS, 1.0)}
    config = replace(run.config, **EXACT)
    try:
        other = stepper_of(run.build(config), config, *run.batch)
        mib = [side.largest().memory_total() for side in (run.stepper, other)]
        if sum(mib) * 2**20 > memory_cap(run.config.limits):
            raise MemoryError(f"BPTT asks for {mib[1]:,.0f} MiB beside the cell's {mib[0]:,.0f}")
        ratio, rounds = time_ratio(run, other, **rule)
    except Exception as error:
        # A cell is worth its own time where BPTT cannot be built, or does not fit.
        return {"note": f"not timed against BPTT: {words_of(error)}"}
    return {"metrics": {**dict(zip(COLUMNS, ratio, strict=True)), "paired_rounds": rounds}}


def time_ratio(
    run: Run, other: Stepper, *, width: float, budget_s: float, least_s: float
) -> tuple[tuple[float, float, float], int]:
    """Time of the cell's step over the other's with its 95 % interval, and the rounds it is from.

    Sampling stops when the interval is a fraction ``width`` of the ratio wide, or after
    ``budget_s``; ``STRETCH`` times that where fewer than ``LEAST_ROUNDS`` rounds fit or the
    interval is still twice as wide as asked.
    """
    sides = (Side(run.stepper, run.batch), Side(other, run.batch))
    for side in sides:
        turn(side.step)
    turns: tuple[list[list[float]], list[list[float]]] = ([], [])
    began, look = time.perf_counter(), LEAST_ROUNDS
    for round_ in itertools.count(1):
        # The one that went second goes first.
        for place in (0, 1) if round_ % 2 else (1, 0):
            turns[place].append(turn(sides[place].step))
        spent = time.perf_counter() - began
        if spent > STRETCH * budget_s:
            break
        if round_ >= look and spent >= least_s:
            value, low, high = ratio_interval(*turns)
            wide = (high - low) / value
            if wide <= width or (spent > budget_s and wide <= 2 * width):
                break
            look = 1 + int(LOOK_AGAIN * round_)
    return ratio_interval(*turns), round_
