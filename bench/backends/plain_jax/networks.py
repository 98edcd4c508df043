"""The benchmark's networks and their loss in plain JAX, as a user would write them.

Nothing here knows of brainstate or units: parameters are a dict of arrays, voltages are in mV.
Shapes: x [B, I] or [I], states [B, H] or [H], logits [B, O] or [O].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

Params = dict[str, Any]
States = tuple[jax.Array, ...]

SLOPE = 0.3  # of the surrogate derivative, a triangle over |v - v_th| < 1 mV
V_TH = 1.0  # mV


class Network(NamedTuple):
    """A recurrent network as two functions.

    Attributes:
        init: states with the given leading axes and type.
        step: parameters, states and x to the next states and the logits.
    """

    init: Callable[[tuple[int, ...], Any], States]
    step: Callable[[Params, States, jax.Array], tuple[States, jax.Array]]


def linear(layer: Params, x: jax.Array) -> jax.Array:
    """``x W + b``."""
    return x @ layer["weight"] + layer["bias"]


def gru(n_hidden: int, n_layers: int) -> Network:
    """Gated recurrent layers and a linear readout."""

    def init(lead: tuple[int, ...], dtype: Any) -> States:
        return tuple(jnp.zeros((*lead, n_hidden), dtype) for _ in range(n_layers))

    def step(params: Params, states: States, x: jax.Array) -> tuple[States, jax.Array]:
        new = []
        for layer, h_tm1 in enumerate(states):
            name = f"layers.{layer}"
            xh = jnp.concatenate([x, h_tm1], axis=-1)
            z = jax.nn.sigmoid(linear(params[f"{name}.update_gate"], xh))
            r = jax.nn.sigmoid(linear(params[f"{name}.reset_gate"], xh))
            xrh = jnp.concatenate([x, r * h_tm1], axis=-1)
            x = (1 - z) * h_tm1 + z * jnp.tanh(linear(params[f"{name}.candidate"], xrh))
            new.append(x)
        return tuple(new), linear(params["readout"], x)

    return Network(init, step)


@jax.custom_jvp
def spike(v: jax.Array) -> jax.Array:
    """1 where the voltage has reached the threshold; its derivative is a triangle around it."""
    return (v >= V_TH).astype(v.dtype)


@spike.defjvp
def _spike_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[Any, Any]:
    (v,), (dv,) = primals, tangents
    return spike(v), jnp.maximum(0.0, SLOPE * (1.0 - jnp.abs(v - V_TH))) * dv


def lif(
    n_hidden: int, n_layers: int, n_out: int, layers: str, decay: float, decay_out: float
) -> Network:
    """Leaky integrate-and-fire layers with soft reset that read their own spikes; a leaky readout.

    Args:
        n_hidden: neurons of each layer.
        n_layers: layers.
        n_out: classes.
        layers: name of a layer's parameters, ``{}`` for its number.
        decay: of the voltage per step.
        decay_out: of the readout per step.
    """

    def init(lead: tuple[int, ...], dtype: Any) -> States:
        widths = [n_hidden] * n_layers + [n_out]
        return tuple(jnp.zeros((*lead, width), dtype) for width in widths)

    def step(params: Params, states: States, x: jax.Array) -> tuple[States, jax.Array]:
        *voltages, r_tm1 = states
        new = []
        for layer, v_tm1 in enumerate(voltages):
            spikes = spike(v_tm1)
            drive = linear(params[layers.format(layer)], jnp.concatenate([x, spikes], axis=-1))
            v = decay * (v_tm1 - V_TH * spikes) + drive
            x = spike(v)
            new.append(v)
        r = decay_out * r_tm1 + x @ params["readout"]
        return (*new, r), r

    return Network(init, step)


def run(
    network: Network, params: Params, xs: jax.Array, ys: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Loss of each step, [T], and whether its largest logit is the label: means over the batch.

    Args:
        network: what to run.
        params: its parameters.
        xs: inputs [T, B, I], or [T, I] of one sample.
        ys: labels [B], or a scalar.
    """

    def step(states: States, x: jax.Array) -> tuple[States, tuple[jax.Array, jax.Array]]:
        states, logits = network.step(params, states, x)
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), ys[..., None], axis=-1)
        return states, (-picked.mean(), (jnp.argmax(logits, axis=-1) == ys).mean())

    return lax.scan(step, network.init(xs.shape[1:-1], xs.dtype), xs)[1]


def run_mapped(
    network: Network, params: Params, xs: jax.Array, ys: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The same for a batch [T, B, I], written for one sample and mapped over them."""
    one = jax.vmap(lambda x, y: run(network, params, x, y), in_axes=(1, 0))
    losses, correct = one(xs, ys)
    return losses.mean(0), correct.mean(0)
