"""What a backend offers: an implementation of the algorithms, behind one small interface.

Backend modules are also imported by the parent process, which must stay free of jax: import a
library inside the methods that need it, never at the top.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.config import Config
from bench.errors import Skip

if TYPE_CHECKING:
    import brainstate
    import jax

    from bench.tasks.base import Task

    Arrays = dict[Any, Any]


# What ``optimizer`` may be, and the name of it in braintools.
OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "sgd": "SGD"}


class StepResult(NamedTuple):
    """What a training step or an evaluation gives back.

    Attributes:
        losses: mean loss of each time step, [T].
        correct: fraction of the sequences whose label is the largest logit at each step, [T]; None
            where numbers are asked for.
        grad_norm: global norm of the summed gradient before clipping; 0 for an evaluation.
    """

    losses: jax.Array
    correct: jax.Array | None
    grad_norm: jax.Array


class Comparison(NamedTuple):
    """How a backend's gradient is held against the core's.

    Attributes:
        core: entries that differ on the core's side.
        words: what a reader has to know about it, for the cell's row; empty for nothing.
    """

    core: Mapping[str, Any] = {}
    words: str = ""


class Trainee(abc.ABC):
    """A model under one algorithm of one backend.

    ``train``, ``gradient``, ``apply`` and ``evaluate`` are traced by jax, never called bare.

    Attributes:
        model: the brainstate model.
        weights: its trainable states by path.
        task: the cell's, which says at which steps what is asked for.
    """

    model: brainstate.nn.Module
    weights: Mapping[Any, brainstate.ParamState]
    task: Task

    @abc.abstractmethod
    def train(self, xs: jax.Array, ys: jax.Array) -> StepResult:
        """Trains once from fresh states on ``xs`` [T, B, I] and the answers ``ys`` [B, ...]."""

    @abc.abstractmethod
    def gradient(self, xs: jax.Array, ys: jax.Array) -> tuple[Arrays, StepResult]:
        """The gradient of the loss summed over steps, by the paths of ``weights``, and the losses.

        Each step counts as much as the task's ``mask`` says; the losses are those before it.

        ``xs`` is [T, B, I], or [T, I] with the answer of one for the single-sample batching.
        """

    @abc.abstractmethod
    def apply(self, gradient: Arrays) -> jax.Array:
        """Clips a gradient, updates the weights with it, returns its norm before clipping."""

    @abc.abstractmethod
    def evaluate(self, xs: jax.Array, ys: jax.Array) -> StepResult:
        """Losses and accuracy of [T, N, I] without a gradient."""

    def comparable(self, names: list[str], xs: Any) -> list[str]:
        """Those of the named weights whose gradient follows the core's definition exactly.

        ``xs`` is an input like those of ``train``, [T, B, I].
        """
        return names

    @abc.abstractmethod
    def trace_bytes(self, xs: Any) -> dict[str, int]:
        """Bytes of what is carried from step to step for credit, by name, for this batch."""

    def stream(self, x: Any) -> Callable[[Any, Any, Any], Any]:
        """A learner of one step a call, on copies of the weights and the optimizer's state.

        Each step counts alike, whatever the ``mask``.

        Args:
            x: an input of the shape that it will be called with, [B, I].

        Returns:
            A function of ``x`` [B, I], the step's answers [B, ...] and booleans [B], which
            sequences start with it; it gives arrays to wait for.

        Raises:
            Skip: where steps cannot be called one by one.
        """
        raise Skip("the steps of this backend cannot be called one by one")

    def window_steps(self, xs: Any) -> int | None:
        """Steps that are computed at once, traces being carried in between; None if unknown."""
        return None


class ModelTrainee(Trainee):
    """A brainstate model under an optimizer of braintools; a subclass says what its gradient is.

    Args:
        model: the built model.
        config: composed configuration of the cell.
    """

    def __init__(self, model: Any, config: Config) -> None:
        import brainstate
        import braintools

        self.model = model
        self.weights = model.states(brainstate.ParamState)
        self._config = config
        self._optimizer = getattr(braintools.optim, OPTIMIZERS[config.optimizer])(
            lr=config.lr, weight_decay=config.weight_decay
        )
        self._optimizer.register_trainable_weights(self.weights)

    def train(self, xs: jax.Array, ys: jax.Array) -> StepResult:
        gradient, result = self.gradient(xs, ys)
        return result._replace(grad_norm=self.apply(gradient))

    def apply(self, gradient: Arrays) -> jax.Array:
        import brainstate

        from bench.cell.trees import norm

        size = norm(gradient)
        self._optimizer.update(brainstate.nn.clip_grad_norm(gradient, self._config.clip_norm))
        return size

    def evaluate(self, xs: jax.Array, ys: jax.Array) -> StepResult:
        import brainstate
        import jax.numpy as jnp

        brainstate.nn.init_all_states(self.model, batch_size=xs.shape[1])
        losses, correct = brainstate.transform.for_loop(lambda x: self._loss(self.model(x), ys), xs)
        return StepResult(losses, correct, jnp.zeros(()))

    def _loss(self, out: jax.Array, asked: jax.Array) -> tuple[Any, Any]:
        """Mean loss of outputs, and the fraction that is right."""
        return self.task.answers.loss(out, asked)


def spiking_layers(model: brainstate.nn.Module) -> dict[str, Any]:
    """The modules of a model that have spikes, by name."""
    return {
        ".".join(map(str, path)): node
        for path, node in model.nodes().items()
        if hasattr(node, "get_spike")
    }


class Backend(abc.ABC):
    """A library that implements some of the algorithms; built from its YAML's scalars.

    Attributes:
        requires: distributions that the cell's interpreter must have.
        losses: what its trainees have besides the loss of a class at every step: those weighed by a
            ``mask``, of ``numbers``, with a penalty on ``rates``.
    """

    requires: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()

    def unsupported(self, config: Config, choices: Mapping[str, str]) -> str:
        """Why this backend cannot run a cell, or an empty string. Imports nothing heavy."""
        return ""

    def compared(self, config: Config) -> Comparison:
        """What is compared before this backend's numbers are believed: as it is, unless it says."""
        return Comparison()

    @abc.abstractmethod
    def trainee(self, model: Any, config: Config) -> Trainee:
        """Puts ``model`` under the algorithm that ``config.algo`` describes."""
