"""The public library braintrace on the very same models, weights and data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench.backends.base import Backend, Comparison, ModelTrainee, StepResult
from bench.bounds import Count
from bench.config import Config

if TYPE_CHECKING:
    import jax

# Its class for each of the core's algorithms that it implements.
CLASSES = {"core.D_RTRL": "D_RTRL", "core.ES_D_RTRL": "pp_prop"}


@dataclass
class Braintrace(Backend):
    """D-RTRL and ES-D-RTRL of ``braintrace``, batched and under vmap."""

    requires = ("braintrace",)

    # single_step credits through traces; before 0.2.8 weights without one stay at zero. multi_step
    # backpropagates inside each chunk and carries traces between chunks.
    mode: Literal["single_step", "multi_step"] = "single_step"
    # Steps of a chunk; None for one step at a time. More than one needs multi_step.
    chunk: Count | None = None

    @property
    def _chunk(self) -> int:
        return self.chunk or 1

    def unsupported(self, config: Config, choices: Mapping[str, str]) -> str:
        algo = config.algo
        if algo["_target_"] not in CLASSES:
            return f"braintrace has no {choices['algo']}"
        if algo.get("credit", "trace") != "trace":
            return "braintrace's credit inside a window is backend.mode=multi_step"
        if algo.get("trace_dtype"):
            return "braintrace keeps its traces in the model's dtype"
        if isinstance(algo.get("decay_or_rank"), int):
            return "braintrace maps a rank to a decay and has no rank form"
        if config.batching.mode == "single":
            return "sample by sample is measured for the core only"
        if config.update_every != "sequence":
            return "updates inside a sequence are measured for the core only"
        if self.mode == "single_step":
            return "braintrace's chunks need backend.mode=multi_step" if self._chunk > 1 else ""
        if algo["_target_"] == "core.ES_D_RTRL":
            return (
                "braintrace's multi_step credits the current step outside of the averages of "
                "ES-D-RTRL, which is another definition"
            )
        if self._chunk > 1 and config.batching.mode == "vmap":
            return "braintrace refuses chunks under vmap"
        if config.n_steps % self._chunk:
            return f"n_steps={config.n_steps} is not a multiple of backend.chunk={self._chunk}"
        return ""

    def compared(self, config: Config) -> Comparison:
        if config.algo["_target_"] == "core.ES_D_RTRL":
            return Comparison(words="braintrace does not low-pass the biases of ES-D-RTRL")
        if self.mode == "single_step":
            return Comparison()
        window = {**config.algo, "window": self._chunk, "credit": "window"}
        return Comparison(
            core={"algo": window},
            words=f"compared with the core's credit=window, window={self._chunk}",
        )

    def trainee(self, model: Any, config: Config) -> ModelTrainee:
        return BraintraceTrainee(model, config, self.mode.replace("_", "-"), self._chunk)


class BraintraceTrainee(ModelTrainee):
    """A model whose operations are swapped for braintrace's, under one of its algorithms.

    It is made of ``brainstate.nn.Linear`` and ``brainpy.state.LeakyRateReadout``; its weights stay
    the same states. ``vjp_method`` is the library's own name of the backend's mode.
    """

    def __init__(self, model: Any, config: Config, vjp_method: str, chunk: int) -> None:
        use_traced_operations(model)
        super().__init__(model, config)
        self._vjp_method, self._chunk = vjp_method, chunk
        self._vmap = config.batching.mode == "vmap"

    def gradient(self, xs: jax.Array, ys: jax.Array) -> tuple[dict[Any, Any], StepResult]:
        import braintrace
        import jax

        learner = self._learner(xs)

        def step(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            if self._chunk == 1:
                return self._loss(learner(x), ys)
            return jax.vmap(self._loss, (0, None))(learner(braintrace.MultiStepData(x)), ys)

        gradient, losses, correct = learner.etrace_grad(
            xs,
            step_fn=step,
            weights=self.weights,
            reduction="sum",
            has_aux=True,
            return_value=True,
            chunk_size=self._chunk,
        )
        return gradient, StepResult(losses, correct.reshape(losses.shape))

    def comparable(self, names: list[str], xs: Any) -> list[str]:
        """Weights with a trace; of ES-D-RTRL not the biases, which it does not low-pass.

        Step by step, before 0.2.8, parameters without a trace, a plain readout, get zero.
        """
        if self._vjp_method == "multi-step":
            return names
        traced = {
            ".".join(map(str, path))
            for relation in self._module(xs).graph.hidden_param_op_relations
            for path in relation.trainable_paths.values()
        }
        found = [name for name in names if any(name.startswith(path) for path in traced)]
        if self._config.algo["_target_"] == "core.ES_D_RTRL":
            found = [name for name in found if not name.endswith("bias")]
        return found

    def trace_bytes(self, xs: Any) -> dict[str, int]:
        import brainunit as u
        import jax

        traces = [
            (str(path[0]), state.value)
            for path, state in self._module(xs).states().items()
            if str(path[0]).startswith("etrace")
        ]
        # The library names a trace by the address of its operation: number them instead.
        return {
            f"{name} {number}": sum(u.get_magnitude(leaf).nbytes for leaf in jax.tree.leaves(value))
            for number, (name, value) in enumerate(traces)
        }

    def _module(self, xs: Any) -> Any:
        """The learner itself, without the wrapper that vectorises it."""
        learner = self._learner(xs)
        return getattr(learner, "module", learner)

    def _learner(self, xs: Any) -> Any:
        """A compiled learner with fresh states and traces for this batch [T, B, I]."""
        import braintrace

        algo = self._config.algo
        options = {"decay_or_rank": algo["decay_or_rank"]} if "decay_or_rank" in algo else {}
        return braintrace.compile(
            self.model,
            getattr(braintrace, CLASSES[algo["_target_"]]),
            xs[0],
            batch_size=xs.shape[1],
            vmap=self._vmap,
            vjp_method=self._vjp_method,
            **options,
        )


def use_traced_operations(model: Any) -> None:
    """Gives every layer of ``model`` braintrace's way to multiply; states and names stay.

    braintrace finds weights only behind operations of its own. Its linear layer is a subclass of
    brainstate's that differs in the multiplication alone, so changing the class is all it takes.
    """
    import brainpy.state
    import brainstate
    import braintrace

    class TracedReadout(brainpy.state.LeakyRateReadout):
        def update(self, x: jax.Array) -> jax.Array:
            self.r.value = self.decay * self.r.value + braintrace.matmul(x, self.weight.value)
            return self.r.value

    for node in model.nodes().values():
        if type(node) is brainstate.nn.Linear:
            node.__class__ = braintrace.nn.Linear
        elif type(node) is brainpy.state.LeakyRateReadout:
            node.__class__ = TracedReadout
