"""What a metric is given and what it gives back."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.backends.base import Trainee
from bench.cell.core_process import CoreProcess
from bench.cell.stepper import Stepper
from bench.tasks.base import Task


@dataclass
class Run:
    """A built and compiled cell, as the metrics see it.

    Attributes:
        config: the composed configuration.
        choices: option chosen in each group.
        task: the data.
        trainee: model and algorithm; its states hold the initial values unless a metric stored
            others, and a metric that does puts them back.
        stepper: the compiled training step.
        initial: values of weights and optimizer before any training, on the host.
        batch: the first training batch on the host, [T, B, I] and [B].
        build: builds another trainee, ``build(config)``, with the same initial weights.
        core_process: who knows the core's gradients where the core cannot run; None where it can.
        rates: rates of this machine, ``{"product_flops_per_s", "copy_bytes_per_s"}``.
        device_peak: most bytes that the device held up to the first step's end; None where the
            device does not say.
        trained: values of weights and optimizer after the learning pass; None before it.
        parts: the record's parts so far, those of earlier metrics included.
    """

    config: Mapping[str, Any]
    choices: Mapping[str, str]
    task: Task
    trainee: Trainee
    stepper: Stepper
    initial: Any
    batch: tuple[np.ndarray, np.ndarray]
    build: Callable[[Mapping[str, Any]], Trainee]
    rates: Mapping[str, float]
    core_process: CoreProcess | None = None
    device_peak: int | None = None
    trained: Any = None
    parts: dict[str, Any] = field(default_factory=dict)


class Metric(abc.ABC):
    """One pass over a cell; built from its YAML's scalars.

    Attributes:
        reads_clock: whether the times of the pass are results.
        disturbs_clock: whether the pass leaves the process in another state for those that follow;
            it then waits until no clock is read any more.
    """

    reads_clock = False
    disturbs_clock = False

    @abc.abstractmethod
    def measure(self, run: Run) -> dict[str, Any]:
        """Parts of the record: ``{"metrics": {...}, "samples": {...}, "curves": {...}, ...}``.

        ``metrics`` are numbers or None, each named with its unit. An entry ``"invalid"`` holds the
        reason why the cell's numbers cannot be used, ``"note"`` what has to be known about them.
        """


def in_order(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """The passes as asked, but those that disturb a clock after the last one that reads it."""
    names = list(metrics)
    last = max((i for i, name in enumerate(names) if metrics[name].reads_clock), default=-1)
    early = names[: last + 1]
    waiting = [name for name in early if metrics[name].disturbs_clock]
    order = [*(name for name in early if name not in waiting), *waiting, *names[last + 1 :]]
    return {name: metrics[name] for name in order}
