"""BPTT in plain JAX: what the libraries' machinery around a network and its gradient costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.backends.base import Backend, ModelTrainee, StepResult, Trainee
from bench.config import Config

if TYPE_CHECKING:
    import jax

    from bench.backends.plain_jax.networks import Network, Params

DT_MS = 1.0

# Models that are written down again in plain JAX, and what the parameters of a layer are called.
LIF_LAYERS = {"bench.models.lif_net.LIFNet": "layers.{}.projection.comm"}
MODELS = ("bench.models.gru.GRU", *LIF_LAYERS)


class PlainJax(Backend):
    """``jax.grad`` through ``lax.scan``, from the same initial weights as everyone."""

    losses = ("mask",)

    def unsupported(self, config: Config, choices: Mapping[str, str]) -> str:
        if config.algo["_target_"] != "core.BPTT":
            return f"plain JAX is written down for bptt, not for {choices['algo']}"
        if config.model["_target_"] not in MODELS:
            return f"plain JAX has no {choices['model']}"
        if config.model.get("tau_spread"):
            return "plain JAX has one time constant for all neurons"
        if config.update_every != "sequence":
            return "plain JAX updates once a sequence"
        return ""

    def trainee(self, model: Any, config: Config) -> Trainee:
        return PlainJaxTrainee(model, config)


class PlainJaxTrainee(ModelTrainee):
    """The model's weights in a network of plain functions, under the optimizer of all backends.

    The states of the model only hold the weights between two steps, because the harness carries
    states; inside a step they are a dict of arrays, and the compiled program has no trace of them.

    Args:
        model: a brainstate model of ``MODELS``, whose weights are taken over.
        config: composed configuration of the cell.
    """

    def __init__(self, model: Any, config: Config) -> None:
        super().__init__(model, config)
        self._mode = config.batching.mode
        self._network = network_of(model, config)

    def gradient(self, xs: jax.Array, ys: jax.Array) -> tuple[dict[Any, Any], StepResult]:
        import jax
        import jax.numpy as jnp

        from bench.backends.plain_jax import networks

        run = networks.run_mapped if self._mode == "vmap" else networks.run
        # A single-sample call sees one of B sequences, and the loss is a mean over all of them.
        share = 1.0 / self._config.batch_size if self._mode == "single" else 1.0

        def loss(params: Params) -> tuple[jax.Array, Any]:
            losses, correct = run(self._network, params, xs, ys)
            mask = self.task.mask
            weighted = losses if mask is None else losses * mask
            return share * weighted.sum(), (share * losses, share * correct)

        gradient, (losses, correct) = jax.grad(loss, has_aux=True)(self._params())
        return {
            path: jax.tree.unflatten(
                jax.tree.structure(state.value), jax.tree.leaves(gradient[name_of(path)])
            )
            for path, state in self.weights.items()
        }, StepResult(losses, correct, jnp.zeros(()))

    def evaluate(self, xs: jax.Array, ys: jax.Array) -> StepResult:
        import jax.numpy as jnp

        from bench.backends.plain_jax import networks

        losses, correct = networks.run(self._network, self._params(), xs, ys)
        return StepResult(losses, correct, jnp.zeros(()))

    def trace_bytes(self, xs: Any) -> dict[str, int]:
        return {}

    def _params(self) -> Params:
        import brainunit as u
        import jax

        def plain(value: Any) -> Any:
            return jax.tree.map(
                u.get_magnitude, value, is_leaf=lambda leaf: isinstance(leaf, u.Quantity)
            )

        return {name_of(path): plain(state.value) for path, state in self.weights.items()}


def name_of(path: tuple[Any, ...]) -> str:
    """What the parameters at a path of the brainstate model are called: its layer's dotted name."""
    return ".".join(map(str, path[:-1]))


def network_of(model: Any, config: Config) -> Network:
    """The plain network that computes what ``model`` does.

    Its constants are taken over as they are, rounded to the precision that it was built in.
    """
    from bench.backends.plain_jax import networks

    target, size = config.model["_target_"], (config.n_hidden, config.n_layers)
    if target not in LIF_LAYERS:
        return networks.gru(*size)
    neuron, readout = model.layers[0].neuron, model.readout
    decay = math.exp(-DT_MS / _number(neuron.tau))
    return networks.lif(
        *size, readout.out_size[-1], LIF_LAYERS[target], decay, _number(readout.decay)
    )


def _number(constant: Any) -> float:
    """A scalar constant of a model without its unit, which is ms, mV, mA or ohm here."""
    import brainunit as u
    import numpy as np

    return float(np.asarray(u.get_magnitude(constant)).reshape(-1)[0])
