"""The public library brainscale, in an environment with the versions that it runs on."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

from bench.backends.base import Backend, Comparison, ModelTrainee, StepResult, Trainee
from bench.config import Config

if TYPE_CHECKING:
    import jax

D_RTRL, ES_D_RTRL = "core.D_RTRL", "core.ES_D_RTRL"

# What the library does differently from the published equations.
OWN_CONVENTIONS = {
    D_RTRL: "brainscale divides traces by their largest absolute value when that exceeds 1; its "
    "gradient was compared with that left out",
    ES_D_RTRL: "brainscale corrects the bias of its averages by 1-(1-decay)^(t+1); its gradient "
    "was compared with 1-decay^(t+1) in that place; it does not low-pass the biases",
}


class Brainscale(Backend):
    """D-RTRL and ES-D-RTRL of ``brainscale``, batched and under vmap.

    Args:
        conventions: ``own`` runs the library as it is; ``published`` leaves out its rescaling of
            traces and takes the published bias correction.
    """

    environment = "brainscale"
    requires = ("brainscale",)

    def __init__(self, conventions: Literal["own", "published"] = "own") -> None:
        self._published = conventions == "published"

    def unsupported(self, config: Config, choices: Mapping[str, str]) -> str:
        algo = config.algo
        if algo["_target_"] not in OWN_CONVENTIONS:
            return f"brainscale has no {choices['algo']}"
        if algo.get("credit", "trace") != "trace":
            return "brainscale's credit inside a window is not written down here"
        if algo.get("trace_dtype"):
            return "brainscale keeps its traces in the model's dtype"
        decay = algo.get("decay_or_rank", 0.5)
        if isinstance(decay, int):
            return "brainscale maps a rank to a decay and has no rank form"
        if not isinstance(decay, float) or not 0 < decay < 1:
            return "brainscale takes one decay between 0 and 1"
        if config.batching.mode == "single":
            return "sample by sample is measured for the core only"
        if config.update_every != "sequence":
            return "updates inside a sequence are measured for the core only"
        if config.device.platform != "cpu" or config.devices > 1:
            return "brainscale's environment has one CPU device"
        return ""

    def load(self) -> None:
        # It sets a time step of its own when it is first imported.
        importlib.import_module("brainpy.state")

    def compared(self, config: Config) -> Comparison:
        own = {"backend": {**config.backend, "conventions": "published"}}
        words = OWN_CONVENTIONS[config.algo["_target_"]]
        return Comparison(own=own, words=words if not self._published else "")

    def trainee(self, model: Any, config: Config) -> Trainee:
        return BrainscaleTrainee(model, config, published if self._published else nullcontext)


class BrainscaleTrainee(ModelTrainee):
    """A model whose parameters and operations are brainscale's, under one of its algorithms.

    Args:
        model: a model made of ``brainstate.nn.Linear`` and ``brainpy.state.LeakyRateReadout``.
        config: composed configuration of the cell.
        conventions: context in which the library is traced.
    """

    def __init__(self, model: Any, config: Config, conventions: Any) -> None:
        use_traced_operations(model)
        super().__init__(model, config)
        self._conventions = conventions

    def gradient(self, xs: jax.Array, ys: jax.Array) -> tuple[dict[Any, Any], StepResult]:
        import brainstate
        import jax
        import jax.numpy as jnp

        learner = self._learner(xs)[0]

        def loss(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            return self._loss(learner(x), ys)

        def step(total: Any, x: jax.Array) -> tuple[Any, tuple[jax.Array, jax.Array]]:
            gradient, loss_t, correct_t = brainstate.transform.grad(
                loss, self.weights, has_aux=True, return_value=True
            )(x)
            return jax.tree.map(jnp.add, total, dict(gradient)), (loss_t, correct_t)

        start = {
            path: jax.tree.map(jnp.zeros_like, state.value) for path, state in self.weights.items()
        }
        with self._conventions():
            gradient, (losses, correct) = brainstate.transform.scan(step, start, xs)
        return gradient, StepResult(losses, correct, jnp.zeros(()))

    def comparable(self, names: list[str], xs: Any) -> list[str]:
        """All of them; of ES-D-RTRL not the biases with a trace, which it does not low-pass."""
        if self._config.algo["_target_"] != ES_D_RTRL:
            return names
        relations = self._learner(xs)[1].graph.hidden_param_op_relations
        traced = tuple(".".join(map(str, relation.path)) for relation in relations)
        return [name for name in names if not (name.endswith("bias") and name.startswith(traced))]

    def trace_bytes(self, xs: Any) -> dict[str, int]:
        import brainscale
        import brainunit as u
        import jax

        states = self._learner(xs)[1].states(brainscale.EligibilityTrace).values()
        return {
            f"trace {number}": sum(
                u.get_magnitude(leaf).nbytes for leaf in jax.tree.leaves(state.value)
            )
            for number, state in enumerate(states)
        }

    def _learner(self, xs: Any) -> tuple[Any, Any]:
        """What is called with a batch, with fresh states and traces, and the algorithm inside."""
        import brainscale
        import brainstate

        algo, vmap = self._config.algo, self._config.batching.mode == "vmap"
        mode = brainstate.mixin.Mode() if vmap else brainstate.mixin.Batching()
        learner = (
            brainscale.D_RTRL(self.model, mode=mode)
            if algo["_target_"] == D_RTRL
            else brainscale.ES_D_RTRL(self.model, algo["decay_or_rank"], mode=mode)
        )
        if not vmap:
            brainstate.nn.init_all_states(self.model, batch_size=xs.shape[1])
            learner.compile_graph(xs[0])
            return learner, learner

        @brainstate.transform.vmap_new_states(state_tag="new", axis_size=xs.shape[1])
        def start() -> None:
            brainstate.nn.init_all_states(self.model)
            learner.compile_graph(xs[0, 0])

        start()
        return brainstate.nn.Vmap(learner, vmap_states="new"), learner


def use_traced_operations(model: Any) -> None:
    """Gives every layer of ``model`` brainscale's parameters, at the same paths.

    brainscale finds a weight by its type, which knows how it is multiplied.
    """
    import brainpy.state
    import brainscale
    import brainstate

    class TracedLinear(brainstate.nn.Linear):
        def update(self, x: jax.Array) -> jax.Array:
            return self.weight.execute(x)

    class TracedReadout(brainpy.state.LeakyRateReadout):
        def update(self, x: jax.Array) -> jax.Array:
            self.r.value = self.decay * self.r.value + self.weight.execute(x)
            return self.r.value

    class BareMatMul(brainscale.ETraceOp):
        """``x W`` of a readout, whose parameter is an array rather than a dict of two."""

        def xw_to_y(self, inputs: jax.Array, weights: jax.Array) -> jax.Array:
            return inputs @ weights

        def yw_to_w(self, hidden_dim_arr: jax.Array, weight_dim_tree: jax.Array) -> jax.Array:
            return weight_dim_tree * hidden_dim_arr[..., None, :]

    for node in model.nodes().values():
        if type(node) is brainstate.nn.Linear:
            node.weight = brainscale.ETraceParam(node.weight.value, op=brainscale.MatMulOp())
            node.__class__ = TracedLinear
        elif type(node) is brainpy.state.LeakyRateReadout:
            node.weight = brainscale.ETraceParam(node.weight.value, op=BareMatMul())
            node.__class__ = TracedReadout


@contextmanager
def published() -> Iterator[None]:
    """Traces the library's algorithms by the published equations while it lasts."""
    library: Any = importlib.import_module("brainscale._etrace_vjp_algorithms")
    rescale, solve = library._normalize_vector, library._solve_IO_dim_weight_gradients

    def solve_published(*args: Any) -> None:
        # 1 - (1 - decay)^(t' + 1) = 1 - decay^(t + 1) for this t'.
        *given, t, decay, mode = args
        solve(*given, (t + 1) * math.log(decay) / math.log(1 - decay) - 1, decay, mode)

    library._normalize_vector = lambda trace: trace
    library._solve_IO_dim_weight_gradients = solve_published
    try:
        yield
    finally:
        library._normalize_vector, library._solve_IO_dim_weight_gradients = rescale, solve
