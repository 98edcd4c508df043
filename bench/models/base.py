"""What several models are made of."""

# Hints are real here, not text: a constructor that inherits fields is asked for them elsewhere.

from dataclasses import dataclass

import brainpy.state
import brainstate
import braintools
import brainunit as u
import jax
import jax.numpy as jnp

from bench.bounds import NotNegative, Positive


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


@dataclass(eq=False, repr=False)
class Spiking(brainstate.nn.Module):
    """Layers of neurons, each reading the spikes below and its own, and a leaky rate readout.

    A subclass is a dataclass with its own settings as further fields, and says what a layer is.

    Args:
        n_in: inputs per step, I.
        n_hidden: neurons of each layer, H.
        n_out: classes or numbers, O.
        n_layers: recurrent layers, each reading the spikes of the one below.
        tau_mem: membrane time constant in ms.
        tau_out: time constant of the readout in ms.
        gain, recurrent_gain: of the initial weights from below, and of those between the neurons.
        tau_spread: standard deviation of the logarithm of the membrane time constants.
    """

    n_in: int
    n_hidden: int
    n_out: int
    n_layers: int = 1
    tau_mem: Positive = 5.0
    tau_out: Positive = 5.0
    gain: Positive = 1.0
    recurrent_gain: NotNegative = 1.0
    tau_spread: NotNegative = 0.0

    def __post_init__(self) -> None:
        super().__init__()
        self.layers = [
            self.layer(below, time_constants(self.tau_mem, self.tau_spread, self.n_hidden))
            for below in widths(self.n_in, self.n_hidden, self.n_layers)
        ]
        tau_out = self.tau_out * u.ms
        self.readout = brainpy.state.LeakyRateReadout(self.n_hidden, self.n_out, tau=tau_out)

    def layer(self, below: int, tau: u.Quantity) -> brainstate.nn.Module:
        """The module from ``below`` spikes to spikes, with membrane time constants ``tau``."""
        raise NotImplementedError

    def linear(self, below: int, unit: u.Unit) -> brainstate.nn.Linear:
        """A layer's weights, from ``[spikes below, own spikes]``."""
        return recurrent_linear(below, self.n_hidden, unit, self.gain, self.recurrent_gain)

    def update(self, x: jax.Array) -> jax.Array:
        """One step: ``x`` [B, I] or [I] to outputs [B, O] or [O]."""
        for layer in self.layers:
            x = layer(x)
        return self.readout(x)


class Projected(brainstate.nn.Module):
    """Neurons that are driven through a projection of ``[x, own spikes]``.

    Args:
        neuron: of brainpy.state.
        projection: to it.
        strength: what becomes of the spikes on the way there; None for nothing.
    """

    def __init__(
        self,
        neuron: brainstate.nn.Module,
        projection: brainstate.nn.Module,
        strength: brainstate.nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.neuron, self.projection, self.strength = neuron, projection, strength

    def update(self, x: jax.Array) -> jax.Array:
        spikes = self.neuron.get_spike()
        if self.strength is not None:
            spikes = self.strength(spikes)
        self.projection(u.math.concatenate([x, spikes], axis=-1))
        return self.neuron()


class Stack(brainstate.nn.Module):
    """Layers, each reading the one below, and a linear readout of the last.

    Args:
        layers: modules.
        n_last: outputs of the last one.
        n_out: classes or numbers, O.
    """

    def __init__(self, layers: list[brainstate.nn.Module], n_last: int, n_out: int) -> None:
        super().__init__()
        self.layers = layers
        self.readout = brainstate.nn.Linear(n_last, n_out)

    def update(self, x: jax.Array) -> jax.Array:
        """One step: ``x`` [B, I] or [I] to outputs [B, O] or [O]."""
        for layer in self.layers:
            x = layer(x)
        return self.readout(x)


def widths(n_in: int, n_hidden: int, n_layers: int) -> list[int]:
    """What each layer reads from below."""
    return [n_in, *[n_hidden] * (n_layers - 1)]
