"""Adaptive leaky integrate-and-fire layers: a threshold that each spike raises for a while."""

from __future__ import annotations

from dataclasses import dataclass

import brainpy.state
import brainunit as u

from bench.bounds import NotNegative, Positive
from bench.models.base import Projected, Spiking


@dataclass(eq=False, repr=False)
class ALIF(Spiking):
    """Neurons with a voltage and an adaptation, and delta synapses.

    Args:
        tau_adapt: time constant of the adaptation in ms.
        beta: how far one spike raises the threshold, in mV; the threshold is 1 mV.
        others: as of ``Spiking``.
    """

    tau_adapt: Positive = 100.0
    beta: NotNegative = 0.1

    def layer(self, below: int, tau: u.Quantity) -> Projected:
        tau_adapt, beta = self.tau_adapt * u.ms, self.beta * u.mV
        neuron = brainpy.state.ALIF(self.n_hidden, tau=tau, tau_a=tau_adapt, beta=beta)
        comm = self.linear(below, u.mV)
        return Projected(neuron, brainpy.state.DeltaProj(comm=comm, post=neuron))
