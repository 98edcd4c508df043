"""What several models are made of."""

from dataclasses import dataclass

import brainpy.state
import brainstate
import braintools
import brainunit as u
import jax
import jax.numpy as jnp
from brainstate.nn import Module

from bench.bounds import NotNegative, Positive


def full_current(tau: u.Quantity) -> u.Quantity:
    """The membrane resistance with which one step of a current of 1 mA moves V by 1 mV."""
    return 1.0 / (1.0 - u.math.exp(-brainstate.environ.get_dt() / tau)) * u.ohm


@dataclass(eq=False, repr=False)
class Stack(Module):
    """Layers, each reading the one below, and a readout of the last.

    A subclass says what a layer is; one with settings of its own is a dataclass, and they are its
    further fields.

    Args:
        n_in: inputs per step, I.
        n_hidden: units of each layer, H.
        n_out: classes or numbers, O.
        n_layers: recurrent layers.
    """

    n_in: int
    n_hidden: int
    n_out: int
    n_layers: int = 1

    def __post_init__(self) -> None:
        super().__init__()
        self.layers = self.made()
        self.readout = self.made_readout()

    def layer(self, below: int) -> Module:
        """The module from ``below`` values to ``width`` of them."""
        raise NotImplementedError

    @property
    def width(self) -> int:
        """Outputs of a layer."""
        return self.n_hidden

    def made(self) -> list[Module]:
        """The layers, the lowest first."""
        return [self.layer(n) for n in [self.n_in, *[self.width] * (self.n_layers - 1)]]

    def made_readout(self) -> Module:
        """From the last layer to the outputs: a linear one."""
        return brainstate.nn.Linear(self.width, self.n_out)

    def update(self, x: jax.Array) -> jax.Array:
        """One step: ``x`` [B, I] or [I] to outputs [B, O] or [O]."""
        for layer in self.layers:
            x = layer(x)
        return self.readout(x)


@dataclass(eq=False, repr=False)
class Spiking(Stack):
    """Layers of neurons, each reading the spikes below and its own, and a leaky rate readout.

    Args:
        n_in, n_hidden, n_out, n_layers: as of ``Stack``.
        tau_mem: membrane time constant in ms.
        tau_out: time constant of the readout in ms.
        gain, recurrent_gain: of the initial weights from below, and of those between the neurons.
        tau_spread: standard deviation of the logarithm of the membrane time constants.
    """

    tau_mem: Positive = 5.0
    tau_out: Positive = 5.0
    gain: Positive = 1.0
    recurrent_gain: NotNegative = 1.0
    tau_spread: NotNegative = 0.0

    def made_readout(self) -> Module:
        return brainpy.state.LeakyRateReadout(self.n_hidden, self.n_out, tau=self.tau_out * u.ms)

    def tau(self) -> u.Quantity:
        """Membrane time constants of a layer, newly drawn where they scatter."""
        if not self.tau_spread:
            return self.tau_mem * u.ms
        scatter = self.tau_spread * brainstate.random.randn(self.n_hidden)
        return self.tau_mem * jnp.exp(scatter) * u.ms

    def linear(self, below: int, unit: u.Unit) -> brainstate.nn.Linear:
        """A layer's weights in ``unit``, from ``[spikes below, own spikes]``.

        Each part is scaled by its own fan-in, as if it were a projection of its own, and by its
        gain: deep networks and slow neurons need more than one to spike.
        """
        init, n = braintools.init.KaimingNormal(unit=unit), self.n_hidden
        parts = [self.gain * init((below, n)), self.recurrent_gain * init((n, n))]
        return brainstate.nn.Linear(
            below + n,
            n,
            w_init=u.math.concatenate(parts, axis=0),
            b_init=braintools.init.ZeroInit(unit=unit),
        )


class Driven(Module):
    """Neurons that get a linear function of ``[x, own spikes]`` as their current."""

    def __init__(self, neuron: Module, linear: Module) -> None:
        super().__init__()
        self.neuron, self.linear = neuron, linear

    def update(self, x: jax.Array) -> jax.Array:
        return self.neuron(self.linear(u.math.concatenate([x, self.neuron.get_spike()], axis=-1)))


class Projected(Module):
    """Neurons that are driven through a projection of ``[x, own spikes]``.

    ``strength`` is what becomes of the own spikes on the way.
    """

    def __init__(self, neuron: Module, projection: Module, strength: Module | None = None) -> None:
        super().__init__()
        self.neuron, self.projection, self.strength = neuron, projection, strength

    def update(self, x: jax.Array) -> jax.Array:
        spikes = self.neuron.get_spike()
        if self.strength is not None:
            spikes = self.strength(spikes)
        self.projection(u.math.concatenate([x, spikes], axis=-1))
        return self.neuron()
