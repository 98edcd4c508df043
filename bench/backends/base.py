"""What a backend offers: an implementation of the algorithms, behind one small interface.

Backend modules are also imported by the parent process, which must stay free of jax: import a
library inside the methods that need it, never at the top.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.config import Config
from bench.errors import BadInput, Skip

if TYPE_CHECKING:
    import brainstate
    import jax

    from bench.tasks.base import Task

    Arrays = dict[Any, Any]


# What ``optimizer`` may be, and the name of it in braintools.
OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop", "sgd": "SGD"}


class StepResult(NamedTuple):
    """What a training step or an evaluation gives back."""

    losses: jax.Array  # mean loss of each time step, [T]
    # Fraction of the sequences whose label is the largest logit at each step, [T]; None where
    # numbers are asked for.
    correct: jax.Array | None
    grad_norm: jax.Array | float = 0.0  # of the gradient of an update, before clipping


class Comparison(NamedTuple):
    """How a backend's gradient is held against the core's."""

    core: Mapping[str, Any] = {}  # entries that differ on the core's side
    words: str = ""  # what a reader has to know about it, for the cell's row


class ModelTrainee(abc.ABC):
    """A brainstate model under one algorithm of one backend, and an optimizer of braintools.

    A subclass says what its gradient is. ``train``, ``gradient``, ``apply`` and ``evaluate`` are
    traced by jax, never called bare.

    Args:
        model: the built model.
        config: composed configuration of the cell.

    Attributes:
        model: the brainstate model.
        weights: its trainable states by path.
        task: the cell's, which says at which steps what is asked for; the harness sets it.
    """

    task: Task

    def __init__(self, model: brainstate.nn.Module, config: Config) -> None:
        import brainstate
        import braintools

        self.model = model
        self.weights = model.states(brainstate.ParamState)
        self._config = config
        # A single-sample call sees one of B sequences, and the loss is a mean over all of them.
        self._share = 1.0 / config.batch_size if config.batching.mode == "single" else 1.0
        self._optimizer = getattr(braintools.optim, OPTIMIZERS[config.optimizer])(
            lr=config.lr, weight_decay=config.weight_decay
        )
        self._optimizer.register_trainable_weights(self.weights)

    @abc.abstractmethod
    def gradient(self, xs: jax.Array, ys: jax.Array) -> tuple[Arrays, StepResult]:
        """The gradient of the loss summed over steps, by the paths of ``weights``, and the losses.

        Each step counts as much as the task's ``mask`` says; the losses are those before it.

        ``xs`` is [T, B, I], or [T, I] with the answer of one for the single-sample batching.
        """

    @abc.abstractmethod
    def trace_bytes(self, xs: Any) -> dict[str, int]:
        """Bytes of what is carried from step to step for credit, by name, for this batch."""

    def train(self, xs: jax.Array, ys: jax.Array) -> StepResult:
        """Trains once from fresh states on ``xs`` [T, B, I] and the answers ``ys`` [B, ...]."""
        gradient, result = self.gradient(xs, ys)
        return result._replace(grad_norm=self.apply(gradient))

    def apply(self, gradient: Arrays) -> jax.Array:
        """Clips a gradient, updates the weights with it, returns its norm before clipping."""
        import brainstate

        from bench.cell.trees import norm

        missing = [".".join(map(str, path)) for path in self.weights if path not in gradient]
        if missing:
            expected, came = "the gradient of each weight", f"none of {', '.join(missing)}"
            raise BadInput("backend", expected, came, "A trainee's are by the paths of `weights`.")
        size = norm(gradient)
        self._optimizer.update(brainstate.nn.clip_grad_norm(gradient, self._config.clip_norm))
        return size

    def evaluate(self, xs: jax.Array, ys: jax.Array) -> StepResult:
        """Losses and accuracy of [T, N, I] without a gradient."""
        import brainstate

        brainstate.nn.init_all_states(self.model, batch_size=xs.shape[1])
        losses, correct = brainstate.transform.for_loop(lambda x: self._loss(self.model(x), ys), xs)
        return StepResult(losses, correct)

    def comparable(self, names: list[str], xs: Any) -> list[str]:
        """Those of the named weights whose gradient follows the core's definition exactly.

        ``xs`` is an input like those of ``train``, [T, B, I].
        """
        return names

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

    def _loss(self, out: jax.Array, asked: jax.Array) -> tuple[Any, Any]:
        """Mean loss of outputs, and the fraction that is right.

        Raises:
            BadInput: where there are not as many as the task has: a loss takes more, and says
                nothing.
        """
        import jax.numpy as jnp

        n_out, shape = self.task.n_out, getattr(out, "shape", ())
        if shape[-1:] != (n_out,) or not jnp.issubdtype(out.dtype, jnp.floating):
            came = f"{out.dtype}{list(shape)}" if hasattr(out, "dtype") else type(out).__name__
            expected = f"update to return outputs [B, {n_out}] of floating point"
            raise BadInput("model", expected, came, "n_out is given to its constructor.")
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
    def trainee(self, model: Any, config: Config) -> ModelTrainee:
        """Puts ``model`` under the algorithm that ``config.algo`` describes."""
