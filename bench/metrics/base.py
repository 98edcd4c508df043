"""What a metric is given and what it gives back.

Metrics are also imported by the parent process, which must stay free of jax and reads what their
constructors take: import it inside the methods that need it, never at the top.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.config import Config

if TYPE_CHECKING:
    import numpy as np

    from bench.backends.base import ModelTrainee
    from bench.cell.build import Rebuild
    from bench.cell.stepper import Stepper
    from bench.tasks.base import Task


@dataclass
class Run:
    """A built and compiled cell, as the metrics see it."""

    config: Config
    choices: Mapping[str, str]  # option chosen in each group
    task: Task
    # Its states hold the initial values unless a metric stored others, which it has to put back.
    trainee: ModelTrainee
    stepper: Stepper  # the compiled training step
    initial: Any  # values of weights and optimizer before any training, on the host
    batch: tuple[np.ndarray, np.ndarray]  # the first of training, on the host, [T, B, I] and [B]
    build: Rebuild  # ``build(config)`` is another trainee with the same initial weights
    # Most bytes that the device held up to the first step's end; None where it does not say.
    device_peak: int | None = None
    trained: Any = None  # values of weights and optimizer after the learning pass
    parts: dict[str, Any] = field(default_factory=dict)  # of the record, so far


class Metric(abc.ABC):
    """One pass over a cell; built from its YAML's scalars.

    Attributes:
        is_clock: whether the pass times training steps: other cells are looked for meanwhile, and
            times of a busy machine (column ``contended``) are taken once more.
        disturbs_clock: whether the pass leaves the process in another state for those that follow;
            it is then the last one.
        of_process: False where each process of a cell measures the same, digit by digit, as what is
            seeded: repeats of the cell leave the pass out. True where another process may measure
            something else, as a time, and no pass before this one is needed. None where the class
            does not say: the repeats of a cell that asks for it then measure all there is.
    """

    is_clock = False
    disturbs_clock = False
    of_process: bool | None = None

    @abc.abstractmethod
    def measure(self, run: Run) -> dict[str, Any]:
        """Parts of the record: ``{"metrics": {...}, "samples": {...}, "curves": {...}, ...}``.

        ``metrics`` are numbers or None, each named with its unit. An entry ``"invalid"`` holds the
        reason why the cell's numbers cannot be used, ``"note"`` what has to be known about them.
        """


def in_order(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """The passes as asked, but those that disturb a clock behind all others."""
    return dict(sorted(metrics.items(), key=lambda item: item[1].disturbs_clock))


def of_repeats(metrics: Mapping[str, Metric]) -> list[str]:
    """The names of the passes that further processes of a cell take.

    All, where one does not say whether it depends on the process, or none does: whoever asks to
    repeat nothing but training wants to see it repeat.
    """
    told = {metric.of_process for metric in metrics.values()}
    every = None in told or True not in told
    return [name for name, metric in metrics.items() if every or metric.of_process]
