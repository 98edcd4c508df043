"""A built and compiled cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.backends.base import Trainee
from bench.config import Config
from bench.tasks.base import Task

if TYPE_CHECKING:  # metrics are imported where there is no jax
    from bench.cell.build import Rebuild
    from bench.cell.stepper import Stepper


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
        memory_bytes: most bytes that its process may hold.
        device_peak: most bytes that the device held up to the first step's end; None where the
            device does not say.
        trained: values of weights and optimizer after the learning pass; None before it.
        parts: the record's parts so far, those of earlier metrics included.
    """

    config: Config
    choices: Mapping[str, str]
    task: Task
    trainee: Trainee
    stepper: Stepper
    initial: Any
    batch: tuple[np.ndarray, np.ndarray]
    build: Rebuild
    memory_bytes: int
    device_peak: int | None = None
    trained: Any = None
    parts: dict[str, Any] = field(default_factory=dict)
