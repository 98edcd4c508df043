"""One training step as the harness runs it: one compiled call, or one per sample in a host loop."""

from __future__ import annotations

import abc
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from bench.backends.base import StepResult, Trainee
from bench.cell.program import Program

Phase = Callable[[str], None]


class Stepper(abc.ABC):
    """A training step that takes and returns the values of weights and optimizer.

    Attributes:
        seconds: time of each compilation phase, summed over the programs of the step.
        calls: each program of the step with how often a step runs it.
    """

    seconds: dict[str, float]
    calls: list[tuple[Program, int]]

    @abc.abstractmethod
    def values(self) -> Any:
        """Fresh copies of the values that weights and optimizer hold now."""

    @abc.abstractmethod
    def store(self, values: Any) -> None:
        """Writes values back into weights and optimizer."""

    @abc.abstractmethod
    def prepare(self, xs: np.ndarray, ys: np.ndarray) -> Any:
        """A batch, [T, B, I] and [B], in the form that a step takes it, outside of any timing."""

    @abc.abstractmethod
    def __call__(self, values: Any, batch: Any) -> tuple[Any, StepResult]:
        """One training step on ``values``, which are consumed."""


def stepper_of(
    trainee: Trainee, mode: str, devices: int, xs: np.ndarray, ys: np.ndarray, on_phase: Phase
) -> Stepper:
    """The stepper of a batching mode, compiled for batches like ``xs`` [T, B, I], ``ys`` [B]."""
    if mode == "single":
        return SingleStepper(trainee, xs, ys, on_phase)
    return BatchStepper(trainee, devices, xs, ys, on_phase)


def timed(stepper: Stepper, values: Any, batch: Any) -> tuple[Any, StepResult, float]:
    """One step to the end of all that it computes: values, result and seconds."""
    started = time.perf_counter()
    values, result = stepper(values, batch)
    jax.block_until_ready((values, result))
    return values, result, time.perf_counter() - started


class BatchStepper(Stepper):
    """The whole batch in one compiled call, on one device or split over several."""

    def __init__(
        self, trainee: Trainee, devices: int, xs: np.ndarray, ys: np.ndarray, on_phase: Phase
    ) -> None:
        self._dtype = xs.dtype
        # Auto: the compiler spreads the split of the batch through the program.
        mesh = jax.make_mesh(
            (devices,), ("batch",), (AxisType.Auto,), devices=jax.devices()[:devices]
        )
        self._whole = NamedSharding(mesh, PartitionSpec())
        self._shares = (
            NamedSharding(mesh, PartitionSpec(None, "batch")),
            NamedSharding(mesh, PartitionSpec("batch")),
        )
        self._program = Program(
            trainee.train,
            *self.prepare(xs, ys),
            on_phase=on_phase,
            sharding=self._whole if devices > 1 else None,
        )
        self.seconds = self._program.seconds
        self.calls = [(self._program, 1)]

    def values(self) -> Any:
        return self._program.values()

    def store(self, values: Any) -> None:
        self._program.store(values)

    def prepare(self, xs: np.ndarray, ys: np.ndarray) -> Any:
        return jax.device_put((xs.astype(self._dtype), ys), self._shares)

    def __call__(self, values: Any, batch: Any) -> tuple[Any, StepResult]:
        return self._program(values, *batch)


class SingleStepper(Stepper):
    """One compiled call per sample, gradients summed on the host's order, one update."""

    def __init__(self, trainee: Trainee, xs: np.ndarray, ys: np.ndarray, on_phase: Phase) -> None:
        self._dtype = xs.dtype
        sample = (xs[:, 0], ys[0])
        self._gradient = Program(trainee.gradient, *sample, on_phase=on_phase, reads_only=True)
        shapes = self._gradient.output_shapes
        self._apply = Program(trainee.apply, shapes[0], on_phase=on_phase)
        self._add = Program(_add, shapes, shapes, on_phase=on_phase, reads_only=True)
        programs = (self._gradient, self._add, self._apply)
        self.seconds = {
            phase: sum(p.seconds[phase] for p in programs) for phase in self._gradient.seconds
        }
        self.calls = [(self._gradient, len(ys)), (self._add, len(ys) - 1), (self._apply, 1)]
        places = {id(state): place for place, state in enumerate(self._apply.states)}
        self._weights = [places[id(state)] for state in self._gradient.states]

    def values(self) -> Any:
        return self._apply.values()

    def store(self, values: Any) -> None:
        self._apply.store(values)

    def prepare(self, xs: np.ndarray, ys: np.ndarray) -> Any:
        samples = np.ascontiguousarray(np.moveaxis(xs.astype(self._dtype), 1, 0))
        return [jax.device_put((samples[b], ys[b])) for b in range(len(ys))]

    def __call__(self, values: Any, batch: Any) -> tuple[Any, StepResult]:
        weights = tuple(values[place] for place in self._weights)
        parts = self._parts(weights, batch)
        total = next(parts)
        for part in parts:
            _, total = self._add((), total, part)
        gradient, result = total
        values, norm = self._apply(values, gradient)
        return values, result._replace(grad_norm=norm)

    def _parts(self, weights: Any, batch: Any) -> Iterator[Any]:
        for x, y in batch:
            yield self._gradient(weights, x, y)[1]


def _add(total: Any, part: Any) -> Any:
    return jax.tree.map(lambda a, b: a + b, total, part)
