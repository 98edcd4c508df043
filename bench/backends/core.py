"""This project's own core."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from bench.backends.base import Backend, ModelTrainee, StepResult, spiking_layers
from bench.config import Config
from bench.instantiate import instantiate

if TYPE_CHECKING:
    import jax


class Core(Backend):
    """Algorithms of ``core``, built from their ``_target_``."""

    losses = ("mask", "numbers", "rates")

    def unsupported(self, config: Config, choices: Mapping[str, str]) -> str:
        if config.batching.mode == "single" and config.update_every != "sequence":
            return (
                "batching=single sums the gradients of whole sequences; "
                "update_every needs batching=manual or vmap"
            )
        return ""

    def trainee(self, model: Any, config: Config) -> ModelTrainee:
        return CoreTrainee(model, config)


class CoreTrainee(ModelTrainee):
    """A model under one of the core's algorithms."""

    def __init__(self, model: Any, config: Config) -> None:
        super().__init__(model, config)
        self._mode = config.batching.mode

    def train(self, xs: jax.Array, ys: jax.Array) -> StepResult:
        return self._trained(xs, ys, self._optimizer, self._config.clip_norm)

    def gradient(self, xs: jax.Array, ys: jax.Array) -> tuple[dict[Any, Any], StepResult]:
        """That of all updates of a sequence together, had they left the weights as they are."""
        import brainstate
        import jax
        import jax.numpy as jnp

        from bench.cell.trees import norm

        weights = {path: state.value for path, state in self.weights.items()}
        total = brainstate.ShortTermState(jax.tree.map(jnp.zeros_like, weights))

        def add(gradient: dict[Any, Any]) -> None:
            total.value = jax.tree.map(jnp.add, total.value, gradient)

        # An optimizer that leaves the weights alone.
        result = self._trained(xs, ys, SimpleNamespace(update=add), None)
        return total.value, result._replace(grad_norm=norm(total.value))

    def _trained(
        self, xs: jax.Array, ys: jax.Array, optimizer: Any, clip_norm: float | None
    ) -> StepResult:
        """What was computed on the way to updates; the norm is that of the last one's gradient."""
        import core
        from bench.cell.trees import norm

        asked, per_step = self.task.answers.in_time(ys, xs)
        result = core.train(
            self._started(xs, self._mode),
            self._loss_and_aux,
            xs,
            asked,
            optimizer,
            has_aux=True,
            update_every=self._config.update_every,
            clip_norm=clip_norm,
            mask=self.task.mask,
            per_step_targets=per_step,
        )
        losses, right = result.aux
        return StepResult(losses, right, norm(result.grads))

    def evaluate(self, xs: jax.Array, ys: jax.Array) -> StepResult:
        import core

        asked, per_step = self.task.answers.in_time(ys, xs)
        algo = self._started(xs, "manual")
        result = core.evaluate(algo, self._loss, xs, asked, has_aux=True, per_step_targets=per_step)
        return StepResult(result.losses, result.aux)

    def trace_bytes(self, xs: Any) -> dict[str, int]:
        return dict(self._started(xs, self._mode).trace_bytes)

    def stream(self, x: Any) -> Callable[[Any, Any, Any], Any]:
        import core

        return core.Stream(
            self._started(x[None], self._mode),
            lambda out, y: self._loss_and_aux(out, y)[0],
            self._optimizer,
            clip_norm=self._config.clip_norm,
        )

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

    def _loss_and_aux(self, out: jax.Array, asked: jax.Array) -> tuple[Any, Any]:
        """What is differentiated, of outputs [B, O] or [O], and what is reported beside it."""
        import jax

        found = jax.tree.map(lambda a: a * self._share, self._loss(out, asked))
        return found[0] + self._share * self._penalty(), found

    def _penalty(self) -> Any:
        """Of the rates of spiking layers; each sequence has its own, so that batchings agree."""
        import jax.numpy as jnp

        config = self._config
        if not config.rate_penalty:
            return 0.0
        rates = [node.get_spike().mean(-1) for node in spiking_layers(self.model).values()]
        errors = [jnp.mean((rate - config.rate_target) ** 2) for rate in rates]
        return config.rate_penalty * sum(errors, 0.0)
