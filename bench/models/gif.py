"""Generalised integrate-and-fire layers: currents that a spike starts, and a moving threshold."""

from __future__ import annotations

from dataclasses import dataclass

import brainpy.state
import brainstate
import braintools
import brainunit as u
import jax

from bench.models.base import Spiking, full_current


class Layer(brainstate.nn.Module):
    """Neurons driven by a current from ``[x, own spikes]``."""

    def __init__(self, neuron: brainstate.nn.Module, linear: brainstate.nn.Module) -> None:
        super().__init__()
        self.neuron, self.linear = neuron, linear

    def update(self, x: jax.Array) -> jax.Array:
        return self.neuron(self.linear(u.math.concatenate([x, self.neuron.get_spike()], axis=-1)))


@dataclass(eq=False, repr=False)
class GIF(Spiking):
    """Neurons of four states: voltage, threshold and two currents, the second slow.

    Args:
        after: current that a spike adds to the slow one, in mA; negative for adaptation.
        others: as of ``Spiking``.
    """

    after: float = -0.05

    def layer(self, below: int, tau: u.Quantity) -> Layer:
        zero, threshold = 0.0 * u.mV, 1.0 * u.mV
        neuron = brainpy.state.Gif(
            self.n_hidden,
            R=full_current(tau),
            tau=tau,
            V_rest=zero,
            V_reset=zero,
            V_th_inf=threshold,
            V_th_reset=threshold,
            A2=self.after * u.mA,
            V_initializer=braintools.init.Constant(zero),
            V_th_initializer=braintools.init.Constant(threshold),
        )
        return Layer(neuron, self.linear(below, u.mA))
