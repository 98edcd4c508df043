"""What several models are made of."""

from __future__ import annotations

import brainpy.state
import brainstate
import braintools
import brainunit as u
import jax
import jax.numpy as jnp


def recurrent_linear(
    n_in: int, n_hidden: int, unit: u.Unit, gain: float = 1.0, recurrent_gain: float = 1.0
) -> brainstate.nn.Linear:
    """The layer from ``[x, own spikes]`` to the neurons, with weights in ``unit``.

    Each part is scaled by its own fan-in, as if it were a projection of its own, and by its gain:
    deep networks and slow neurons need more than one to spike.
    """
    init = braintools.init.KaimingNormal(unit=unit)
    weight = u.math.concatenate(
        [gain * init((n_in, n_hidden)), recurrent_gain * init((n_hidden, n_hidden))], axis=0
    )
    return brainstate.nn.Linear(
        n_in + n_hidden, n_hidden, w_init=weight, b_init=braintools.init.ZeroInit(unit=unit)
    )


def time_constants(tau: float, spread: float, n: int) -> u.Quantity:
    """``tau`` ms, or ``n`` of them whose logarithms scatter around it by ``spread``."""
    if not spread:
        return tau * u.ms
    return tau * jnp.exp(spread * brainstate.random.randn(n)) * u.ms


def full_current(tau: u.Quantity) -> u.Quantity:
    """The membrane resistance with which one step of a current of 1 mA moves V by 1 mV."""
    return 1.0 / (1.0 - u.math.exp(-brainstate.environ.get_dt() / tau)) * u.ohm


class Spiking(brainstate.nn.Module):
    """Layers of neurons, each reading the spikes below and its own, and a leaky rate readout.

    Args:
        layers: modules from spikes below to spikes.
        n_hidden: neurons of the last layer, H.
        n_out: classes, O.
        tau_out: time constant of the readout in ms.
    """

    def __init__(
        self, layers: list[brainstate.nn.Module], n_hidden: int, n_out: int, tau_out: float
    ) -> None:
        super().__init__()
        self.layers = layers
        self.readout = brainpy.state.LeakyRateReadout(n_hidden, n_out, tau=tau_out * u.ms)

    def update(self, x: jax.Array) -> jax.Array:
        """One step: ``x`` [B, I] or [I] to logits [B, O] or [O]."""
        for layer in self.layers:
            x = layer(x)
        return self.readout(x)


class Projected(brainstate.nn.Module):
    """Neurons that are driven through a projection of ``[x, own spikes]``.

    Args:
        neuron: of brainpy.state.
        projection: to it.
    """

    def __init__(self, neuron: brainstate.nn.Module, projection: brainstate.nn.Module) -> None:
        super().__init__()
        self.neuron, self.projection = neuron, projection

    def update(self, x: jax.Array) -> jax.Array:
        self.projection(u.math.concatenate([x, self.neuron.get_spike()], axis=-1))
        return self.neuron()


class Stack(brainstate.nn.Module):
    """Layers, each reading the one below, and a linear readout of the last.

    Args:
        layers: modules.
        n_last: outputs of the last one.
        n_out: classes, O.
    """

    def __init__(self, layers: list[brainstate.nn.Module], n_last: int, n_out: int) -> None:
        super().__init__()
        self.layers = layers
        self.readout = brainstate.nn.Linear(n_last, n_out)

    def update(self, x: jax.Array) -> jax.Array:
        """One step: ``x`` [B, I] or [I] to logits [B, O] or [O]."""
        for layer in self.layers:
            x = layer(x)
        return self.readout(x)


def widths(n_in: int, n_hidden: int, n_layers: int) -> list[int]:
    """What each layer reads from below."""
    return [n_in, *[n_hidden] * (n_layers - 1)]
