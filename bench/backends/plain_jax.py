"""BPTT in plain JAX: what the libraries' machinery around a network and its gradient costs.

The networks are written down again, as a user of JAX alone would do it. Shapes: x [B, I] or [I],
states [B, H] or [H], logits [B, O] or [O]; voltages are in mV.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.backends.base import Backend, ModelTrainee, StepResult
from bench.config import Config

if TYPE_CHECKING:
    import jax

    # The arrays of each layer, [bias, weight], by where the layer is in the brainstate model.
    Params = dict[tuple[Any, ...], list[jax.Array]]
    States = tuple[jax.Array, ...]

DT_MS = 1.0
V_TH = 1.0  # mV
SLOPE = 0.3  # of the surrogate derivative, a triangle over |v - V_TH| < 1 mV


class Network(NamedTuple):
    """A recurrent network whose states start at zero."""

    widths: list[int]  # of its states
    # Parameters, states and x to the next states and the logits.
    step: Callable[[Params, States, jax.Array], tuple[States, jax.Array]]


def gru(model: Any, config: Config) -> Network:
    """Gated recurrent layers and a linear readout."""
    import jax
    import jax.numpy as jnp

    def step(params: Params, states: States, x: jax.Array) -> tuple[States, jax.Array]:
        new = []
        for i, h_tm1 in enumerate(states):
            xh = jnp.concatenate([x, h_tm1], axis=-1)
            z = jax.nn.sigmoid(linear(params["layers", i, "update_gate"], xh))
            r = jax.nn.sigmoid(linear(params["layers", i, "reset_gate"], xh))
            xrh = jnp.concatenate([x, r * h_tm1], axis=-1)
            candidate = jnp.tanh(linear(params["layers", i, "candidate"], xrh))
            x = (1 - z) * h_tm1 + z * candidate
            new.append(x)
        return tuple(new), linear(params["readout",], x)

    return Network([config.n_hidden] * config.n_layers, step)


def lif(model: Any, config: Config) -> Network:
    """Leaky integrate-and-fire layers with soft reset that read their own spikes; a leaky readout.

    Time constants are taken over as they are, rounded to the precision that ``model`` was built in.
    """
    import jax
    import jax.numpy as jnp

    decay = math.exp(-DT_MS / scalar(model.layers[0].neuron.tau))
    decay_out = scalar(model.readout.decay)

    @jax.custom_jvp
    def spike(v: jax.Array) -> jax.Array:
        return (v >= V_TH).astype(v.dtype)

    @spike.defjvp
    def spike_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[Any, Any]:
        (v,), (dv,) = primals, tangents
        return spike(v), jnp.maximum(0.0, SLOPE * (1.0 - jnp.abs(v - V_TH))) * dv

    def step(params: Params, states: States, x: jax.Array) -> tuple[States, jax.Array]:
        *voltages, r_tm1 = states
        new = []
        for i, v_tm1 in enumerate(voltages):
            spikes = spike(v_tm1)
            xs = jnp.concatenate([x, spikes], axis=-1)
            drive = linear(params["layers", i, "projection", "comm"], xs)
            v = decay * (v_tm1 - V_TH * spikes) + drive
            x = spike(v)
            new.append(v)
        (weight,) = params["readout",]
        r = decay_out * r_tm1 + x @ weight
        return (*new, r), r

    return Network([config.n_hidden] * config.n_layers + [model.readout.out_size[-1]], step)


def linear(layer: list[jax.Array], x: jax.Array) -> jax.Array:
    bias, weight = layer
    return x @ weight + bias


def scalar(constant: Any) -> float:
    """A constant of a model without its unit."""
    import brainunit as u
    import numpy as np

    return float(np.ravel(u.get_magnitude(constant))[0])


NETWORKS = {"bench.models.gru.GRU": gru, "bench.models.lif_net.LIFNet": lif}


class PlainJax(Backend):
    """``jax.grad`` through ``lax.scan``, from the same initial weights as everyone."""

    losses = ("mask",)

    def unsupported(self, config: Config, choices: Mapping[str, str]) -> str:
        if config.algo["_target_"] != "core.BPTT":
            return f"plain JAX is written down for bptt, not for {choices['algo']}"
        if config.model["_target_"] not in NETWORKS:
            return f"plain JAX has no {choices['model']}"
        if config.model.get("tau_spread"):
            return "plain JAX has one time constant for all neurons"
        if config.update_every != "sequence":
            return "plain JAX updates once a sequence"
        return ""

    def trainee(self, model: Any, config: Config) -> ModelTrainee:
        return PlainJaxTrainee(model, config)


class PlainJaxTrainee(ModelTrainee):
    """The model's weights in a plain network, under the optimizer of all backends.

    The states of the model only hold the weights between two steps, because the harness carries
    states; the compiled program has no trace of them.
    """

    def __init__(self, model: Any, config: Config) -> None:
        super().__init__(model, config)
        self._network = NETWORKS[config.model["_target_"]](model, config)

    def gradient(self, xs: jax.Array, ys: jax.Array) -> tuple[dict[Any, Any], StepResult]:
        import jax

        mode, mask = self._config.batching.mode, self.task.mask

        def loss(params: Params) -> tuple[jax.Array, Any]:
            if mode == "vmap":
                one = jax.vmap(lambda x, y: self._run(params, x, y), (1, 0))
                losses, correct = (found.mean(0) for found in one(xs, ys))
            else:
                losses, correct = self._run(params, xs, ys)
            weighted = losses if mask is None else losses * mask
            share = self._share
            return share * weighted.sum(), (share * losses, share * correct)

        gradient, (losses, correct) = jax.grad(loss, has_aux=True)(self._params())
        return {
            path: jax.tree.unflatten(jax.tree.structure(state.value), gradient[path[:-1]])
            for path, state in self.weights.items()
        }, StepResult(losses, correct)

    def evaluate(self, xs: jax.Array, ys: jax.Array) -> StepResult:
        return StepResult(*self._run(self._params(), xs, ys))

    def trace_bytes(self, xs: Any) -> dict[str, int]:
        return {}

    def _params(self) -> Params:
        """The weights' leaves, which have no units."""
        import jax

        return {path[:-1]: jax.tree.leaves(state.value) for path, state in self.weights.items()}

    def _run(self, params: Params, xs: jax.Array, ys: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Loss of each step, [T], and whether its largest logit is the label: means over the batch.

        ``xs`` is [T, B, I] with labels [B], or [T, I] with a scalar.
        """
        import jax
        import jax.numpy as jnp

        def step(states: States, x: jax.Array) -> tuple[States, tuple[jax.Array, jax.Array]]:
            states, logits = self._network.step(params, states, x)
            picked = jnp.take_along_axis(jax.nn.log_softmax(logits), ys[..., None], axis=-1)
            return states, (-picked.mean(), (jnp.argmax(logits, axis=-1) == ys).mean())

        start = tuple(jnp.zeros((*xs.shape[1:-1], n), xs.dtype) for n in self._network.widths)
        return jax.lax.scan(step, start, xs)[1]
