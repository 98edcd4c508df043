"""Adaptive leaky integrate-and-fire layers: a threshold that each spike raises for a while."""

from dataclasses import dataclass

import brainpy.state
import brainunit as u

from bench.bounds import NotNegative, Positive
from bench.models.base import Projected, Spiking


@dataclass(eq=False, repr=False)
class ALIF(Spiking):
    """Neurons with a voltage and an adaptation, and delta synapses."""

    tau_adapt: Positive = 100.0  # ms, time constant of the adaptation
    beta: NotNegative = 0.1  # mV by which one spike raises the threshold of 1 mV

    def layer(self, below: int) -> Projected:
        tau_adapt, beta = self.tau_adapt * u.ms, self.beta * u.mV
        neuron = brainpy.state.ALIF(self.n_hidden, tau=self.tau(), tau_a=tau_adapt, beta=beta)
        comm = self.linear(below, u.mV)
        return Projected(neuron, brainpy.state.DeltaProj(comm=comm, post=neuron))
