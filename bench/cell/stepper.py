"""One training step as the harness runs it: one compiled call, or one per sample in a host loop."""

from __future__ import annotations

import abc
import time
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from bench.backends.base import ModelTrainee, StepResult
from bench.cell.program import Phase, Program
from bench.config import Config


class Stepper(abc.ABC):
    """A training step that takes and returns the values of weights and optimizer.

    Args:
        calls: each program of the step with how often a step runs it.
        owner: the one of them that updates weights and optimizer.
    """

    def __init__(self, calls: list[tuple[Program, int]], owner: Program) -> None:
        self._owner, self.calls = owner, calls

    @abc.abstractmethod
    def prepare(self, xs: np.ndarray, ys: np.ndarray) -> Any:
        """A batch, [T, B, I] and [B], in the form that a step takes it, outside of any timing."""

    @abc.abstractmethod
    def __call__(self, values: Any, batch: Any) -> tuple[Any, StepResult]:
        """One training step on ``values``, which are consumed."""

    def values(self) -> Any:
        """Fresh copies of the values that weights and optimizer hold now."""
        return self._owner.values()

    def store(self, values: Any) -> None:
        """Writes values back into weights and optimizer."""
        self._owner.store(values)

    def seconds(self) -> dict[str, float]:
        """Time of each compilation phase, summed over the programs."""
        programs = [program for program, _ in self.calls]
        return {phase: sum(p.seconds[phase] for p in programs) for phase in programs[0].seconds}

    def largest(self) -> Program:
        """The program that needs most memory, and with that the step: they run in turn."""
        return max((program for program, _ in self.calls), key=Program.memory_total)


def stepper_of(
    trainee: ModelTrainee,
    config: Config,
    xs: np.ndarray,
    ys: np.ndarray,
    on_phase: Phase = lambda phase: None,
) -> Stepper:
    """The stepper of a cell's batching, compiled for batches like ``xs`` [T, B, I], ``ys`` [B]."""
    if config.batching.mode == "single":
        return SingleStepper(trainee, xs, ys, on_phase)
    return BatchStepper(trainee, config.devices, xs, ys, on_phase)


def timed(stepper: Stepper, values: Any, batch: Any) -> tuple[Any, StepResult, float]:
    """One step to the end of all that it computes: values, result and seconds."""
    started = time.perf_counter()
    values, result = stepper(values, batch)
    jax.block_until_ready((values, result))
    return values, result, time.perf_counter() - started


class BatchStepper(Stepper):
    """The whole batch in one compiled call, on one device or split over several."""

    def __init__(
        self, trainee: ModelTrainee, devices: int, xs: np.ndarray, ys: np.ndarray, on_phase: Phase
    ) -> None:
        # Auto: the compiler spreads the split of the batch through the program.
        mesh = jax.make_mesh(
            (devices,), ("batch",), (AxisType.Auto,), devices=jax.devices()[:devices]
        )
        self._shares = (
            NamedSharding(mesh, PartitionSpec(None, "batch")),
            NamedSharding(mesh, PartitionSpec("batch")),
        )
        whole = NamedSharding(mesh, PartitionSpec()) if devices > 1 else None
        batch = jax.device_put((xs, ys), self._shares)
        program = Program(trainee.train, *batch, on_phase=on_phase, sharding=whole)
        super().__init__([(program, 1)], program)

    def prepare(self, xs: np.ndarray, ys: np.ndarray) -> Any:
        return jax.device_put((xs, ys), self._shares)

    def __call__(self, values: Any, batch: Any) -> tuple[Any, StepResult]:
        return self._owner(values, *batch)


class SingleStepper(Stepper):
    """One compiled call per sample, gradients summed on the host's order, one update."""

    def __init__(
        self, trainee: ModelTrainee, xs: np.ndarray, ys: np.ndarray, on_phase: Phase
    ) -> None:
        sample = (xs[:, 0], ys[0])
        self._gradient = Program(trainee.gradient, *sample, on_phase=on_phase, reads_only=True)
        shapes = self._gradient.output_shapes
        apply = Program(trainee.apply, shapes[0], on_phase=on_phase)
        self._add = Program(_add, shapes, shapes, on_phase=on_phase, reads_only=True)
        calls = [(self._gradient, len(ys)), (self._add, len(ys) - 1), (apply, 1)]
        super().__init__(calls, apply)
        places = {id(state): place for place, state in enumerate(apply.states)}
        self._weights = [places[id(state)] for state in self._gradient.states]

    def prepare(self, xs: np.ndarray, ys: np.ndarray) -> Any:
        samples = np.ascontiguousarray(np.moveaxis(xs, 1, 0))
        return [jax.device_put((samples[b], ys[b])) for b in range(len(ys))]

    def __call__(self, values: Any, batch: Any) -> tuple[Any, StepResult]:
        weights = tuple(values[place] for place in self._weights)
        parts = (self._gradient(weights, *sample)[1] for sample in batch)
        total = next(parts)
        for part in parts:
            _, total = self._add((), total, part)
        gradient, result = total
        values, norm = self._owner(values, gradient)
        return values, result._replace(grad_norm=norm)


def _add(total: Any, part: Any) -> Any:
    return jax.tree.map(lambda a, b: a + b, total, part)
