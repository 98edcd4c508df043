"""Leaky integrate-and-fire layers with delta synapses and a leaky readout."""

import brainpy.state
import brainunit as u

from bench.models.base import Projected, Spiking


class LIFNet(Spiking):
    """Input and own spikes jump the voltage."""

    def layer(self, below: int) -> Projected:
        neuron = brainpy.state.LIF(self.n_hidden, tau=self.tau())
        comm = self.linear(below, u.mV)
        return Projected(neuron, brainpy.state.DeltaProj(comm=comm, post=neuron))
