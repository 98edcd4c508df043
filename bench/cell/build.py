"""From a job to a compiled cell: data, model, algorithm, and the phases of the first call."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import brainstate
import brainunit as u
import jax
import numpy as np

from bench import processes
from bench.answers import CLASSES
from bench.backends.base import Backend, ModelTrainee, spiking_layers
from bench.cell.batches import batches
from bench.cell.program import Phase, compilations, kept
from bench.cell.stepper import stepper_of
from bench.cell.trees import flat
from bench.config import Config
from bench.errors import BadInput, Skip, quoted
from bench.instantiate import instantiate, target_of, task_of
from bench.metrics.base import Run
from bench.tasks.base import Task

DT_MS = 1.0


def build(
    config: Config, choices: Mapping[str, str], on_phase: Phase = lambda phase: None
) -> tuple[Run, dict[str, Any]]:
    """Builds, compiles and calls a cell's training step once.

    What comes back is the cell for the metrics, and the first parts of its record.

    Raises:
        Skip: when the backend does not support the cell.
        MemoryError: when the compiled step asks for more than the cell may hold.
    """
    on_phase("build")
    backend: Backend = instantiate(config.backend)
    if reason := backend.unsupported(config, choices):
        raise Skip(reason)
    set_up(config)
    task = task_of(config)
    xs, ys = next(batches(task, 0, config))
    model = model_of(config, task)
    for loss, words, is_asked in (
        ("numbers", "of numbers", task.answers is not CLASSES),
        ("mask", "at some steps only", task.mask is not None),
        ("rates", "with a penalty on rates", config.rate_penalty > 0),
    ):
        if is_asked and loss not in backend.losses:
            raise Skip(f"{choices['backend']} has no loss {words}")
    if config.rate_penalty and not spiking_layers(model):
        raise Skip(f"rate_penalty is of spiking layers, and {choices['model']} has none")
    trainee = backend.trainee(model, config)
    trainee.task = task
    weights = {path: jax.tree.map(np.array, state.value) for path, state in trainee.weights.items()}
    compiled = compilations()
    stepper = stepper_of(trainee, config, xs, ys, on_phase)
    on_phase("first_call")
    # Before it takes the machine down.
    need, cap = stepper.largest().memory_total(), processes.memory_cap(config.limits) / 2**20
    if need > cap:
        raise MemoryError(
            f"the compiled step asks for {need:,.0f} MiB, the memory cap is {cap:,.0f} MiB"
        )
    initial = jax.tree.map(np.array, stepper.values())
    values, batch = stepper.values(), stepper.prepare(xs, ys)
    started = time.perf_counter()
    _, result = jax.block_until_ready(stepper(values, batch))
    first_call = time.perf_counter() - started
    compiled = compilations() - compiled
    # There is no reset: what runs later, such as an evaluation, would count as the step's.
    device = jax.devices()[0].memory_stats()

    run = Run(
        config=config,
        choices=choices,
        task=task,
        trainee=trainee,
        stepper=stepper,
        initial=initial,
        batch=(xs, ys),
        build=Rebuild(config, task, weights),
        device_peak=None if device is None else int(device["peak_bytes_in_use"]),
    )
    return run, {
        "metrics": {
            **stepper.seconds(),
            "first_call_s": first_call,
            "n_compilations": compiled,
            "n_weights": sum(leaf.size for leaf in flat(weights).values()),
            "n_classes": task.n_out if task.answers is CLASSES else None,
            "guess_loss": task.guess.loss,
            # Seeded: where processes of a cell differ in it, the program computes anew each time.
            "grad_norm": float(result.grad_norm),
            "calls_per_step": max(times for _, times in stepper.calls),
        },
        "provenance": {"device": str(jax.devices()[0].device_kind)},
    }


@dataclass(frozen=True)
class Rebuild:
    """Builds further trainees of a cell with its initial weights, which are by path."""

    config: Config
    task: Task
    weights: Mapping[Any, Any]

    def __call__(self, other: Config) -> ModelTrainee:
        # In the cell's own precision: its initialisers are compiled already, and only the weights
        # need to be of another type.
        wide = self.config.dtype == "float64"
        with jax.enable_x64(wide), brainstate.environ.context(precision=64 if wide else 32):
            model = model_of(other, self.task)
        for path, state in model.states(brainstate.ParamState).items():
            state.value = jax.tree.map(lambda leaf: leaf.astype(other.dtype), self.weights[path])
        trainee: ModelTrainee = instantiate(other.backend).trainee(model, other)
        trainee.task = self.task
        return trainee


def set_up(config: Config) -> None:
    """Precision, time step and seed of this process, whatever a plug-in sets as it is imported."""
    for node in (config.task, config.model, config.algo):
        with contextlib.suppress(BadInput), quoted(""):  # told where it is made
            target_of(node)
    jax.config.update("jax_disable_jit", False)
    jax.config.update("jax_enable_x64", config.dtype == "float64")
    brainstate.environ.set(dt=DT_MS * u.ms, precision=64 if config.dtype == "float64" else 32)


def model_of(config: Config, task: Task) -> Any:
    """The cell's model with its seed's weights; a BadInput where it has none."""
    brainstate.random.seed(config.seed)
    with kept():  # random initialisers are a dozen programs
        model = instantiate(
            config.model,
            n_in=task.n_in,
            n_hidden=config.n_hidden,
            n_out=task.n_out,
            n_layers=config.n_layers,
        )
    if not isinstance(model, brainstate.nn.Module):
        raise BadInput("model", "a brainstate.nn.Module", type(model).__name__)
    if not model.states(brainstate.ParamState):
        raise BadInput("model", "parameters that can be trained", "no ParamState")
    return model
