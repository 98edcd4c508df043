"""Leaky integrate-and-fire layers with delta synapses and a leaky readout."""

from __future__ import annotations

from dataclasses import dataclass

import brainpy.state
import brainunit as u

from bench.models.base import Projected, Spiking


@dataclass(eq=False, repr=False)
class LIFNet(Spiking):
    """Input and own spikes jump the voltage. The settings are those of ``Spiking``."""

    def layer(self, below: int, tau: u.Quantity) -> Projected:
        neuron = brainpy.state.LIF(self.n_hidden, tau=tau)
        comm = self.linear(below, u.mV)
        return Projected(neuron, brainpy.state.DeltaProj(comm=comm, post=neuron))
