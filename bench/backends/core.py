"""This project's own core."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.backends.base import Backend, ModelTrainee, StepResult, Trainee
from bench.config import Config
from bench.instantiate import instantiate

if TYPE_CHECKING:
    import jax


class Core(Backend):
    """Algorithms of ``core``, built from their ``_target_``."""

    masks = True

    def unsupported(self, config: Config, choices: Mapping[str, str]) -> str:
        if config.batching.mode == "single" and config.update_every != "sequence":
            return (
                "batching=single sums the gradients of whole sequences; "
                "update_every needs batching=manual or vmap"
            )
        return ""

    def trainee(self, model: Any, config: Config) -> Trainee:
        return CoreTrainee(model, config)


class CoreTrainee(ModelTrainee):
    """A model under one of the core's algorithms.

    Args:
        model: any brainstate model.
        config: composed configuration of the cell.
    """

    def __init__(self, model: Any, config: Config) -> None:
        super().__init__(model, config)
        self._mode = config.batching.mode
        # A single-sample call sees one of B sequences, and the loss is a mean over all of them.
        self._share = 1.0 / config.batch_size if self._mode == "single" else 1.0

    def train(self, xs: jax.Array, ys: jax.Array) -> StepResult:
        import core
        from bench.cell.trees import norm

        result = core.train(
            self._started(xs, self._mode),
            self._loss,
            xs,
            ys,
            self._optimizer,
            has_aux=True,
            update_every=self._config.update_every,
            clip_norm=self._config.clip_norm,
            mask=self.mask,
        )
        return StepResult(result.losses, result.aux, norm(result.grads))

    def gradient(self, xs: jax.Array, ys: jax.Array) -> tuple[dict[Any, Any], StepResult]:
        """That of all updates of a sequence together, had they left the weights as they are."""
        import core
        from bench.cell.trees import norm

        total = Total(self.weights)
        result = core.train(
            self._started(xs, self._mode),
            self._loss,
            xs,
            ys,
            total,
            has_aux=True,
            update_every=self._config.update_every,
            clip_norm=None,
            mask=self.mask,
        )
        gradient = total.value()
        return gradient, StepResult(result.losses, result.aux, norm(gradient))

    def evaluate(self, xs: jax.Array, ys: jax.Array) -> StepResult:
        import jax.numpy as jnp

        import core

        result = core.evaluate(self._started(xs, "manual"), self._loss, xs, ys, has_aux=True)
        return StepResult(result.losses, result.aux, jnp.zeros(()))

    def trace_bytes(self, xs: Any) -> dict[str, int]:
        return dict(self._started(xs, self._mode).trace_bytes)

    def window_steps(self, xs: Any) -> int:
        import core

        every = self._config.update_every
        steps = xs if every == "sequence" else xs[:every]
        return core.window_steps(self._started(xs, self._mode), steps)

    def _started(self, xs: Any, mode: str) -> Any:
        """The algorithm with fresh states and traces for this batch."""
        import core

        algo = instantiate(self._config.algo, self.model)
        core.initialise(algo, xs[0], batching=mode)
        return algo

    def _loss(self, out: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Of logits [B, O], or [O] of one sequence."""
        loss, right = super()._loss(out, target)
        single = out.ndim == 1
        return (loss * self._share, right * self._share) if single else (loss, right)


class Total:
    """An optimizer that leaves the weights alone and adds up their gradients.

    Args:
        weights: trainable states by path.
    """

    def __init__(self, weights: Mapping[Any, Any]) -> None:
        import brainstate
        import jax
        import jax.numpy as jnp

        self._sums = {
            path: brainstate.ShortTermState(jax.tree.map(jnp.zeros_like, weight.value))
            for path, weight in weights.items()
        }

    def update(self, gradient: Mapping[Any, Any]) -> None:
        """Adds the gradient of one update."""
        import jax
        import jax.numpy as jnp

        for path, total in self._sums.items():
            total.value = jax.tree.map(jnp.add, total.value, gradient[path])

    def value(self) -> dict[Any, Any]:
        """The sums, by path."""
        return {path: total.value for path, total in self._sums.items()}
