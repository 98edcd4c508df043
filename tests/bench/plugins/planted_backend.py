"""A backend outside of the tree whose training step does something known instead of training."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from bench.backends.base import Backend, ModelTrainee, StepResult

HELD_MIB = 200
SLEEP_S = 0.2


class Planted(Backend):
    """``truth``: hold, sleep, recompile, or not_finite."""

    def __init__(self, truth: str) -> None:
        self._truth = truth

    def trainee(self, model: Any, config: Mapping[str, Any]) -> ModelTrainee:
        return PlantedTrainee(model, self._truth)


class PlantedTrainee(ModelTrainee):
    def __init__(self, model: Any, truth: str) -> None:
        import brainstate
        import jax.numpy as jnp

        self.model = model
        self.weights = model.states(brainstate.ParamState)
        self._truth = truth
        # What a cell may draw with is there and nobody has waited for it: no plain module yet.
        drawing = sys.modules["braintools.visualize"]
        print(type(drawing) is ModuleType, drawing.spike_raster)
        size = HELD_MIB * 2**18 if truth == "hold" else 1
        self._held = brainstate.ShortTermState(jnp.zeros(size, jnp.float32))

    def train(self, xs: Any, ys: Any) -> StepResult:
        import jax
        import jax.numpy as jnp
        from jax.experimental import io_callback

        def sleep(x: Any) -> Any:
            time.sleep(SLEEP_S)
            return x

        def recompile(x: Any) -> Any:
            return jax.jit(lambda y: y + 1)(x)

        self._held.value = self._held.value + 1
        loss = jnp.zeros(())
        if self._truth in ("sleep", "recompile"):
            host = sleep if self._truth == "sleep" else recompile
            loss = io_callback(host, jax.ShapeDtypeStruct((), jnp.float32), loss, ordered=True)
        if self._truth == "not_finite":
            loss = loss / 0
        return StepResult(jnp.full(xs.shape[0], loss), jnp.zeros(xs.shape[0]), loss)

    def gradient(self, xs: Any, ys: Any) -> Any:
        raise NotImplementedError

    def apply(self, gradient: Any) -> Any:
        raise NotImplementedError

    def evaluate(self, xs: Any, ys: Any) -> StepResult:
        return self.train(xs, ys)

    def trace_bytes(self, xs: Any) -> dict[str, int]:
        return {}
