"""Spiking layers whose own synapses tire, or first grow stronger, as they are used."""

from dataclasses import dataclass
from typing import Literal

import brainpy.state
import brainunit as u

from bench.bounds import Positive
from bench.models.base import Projected, Spiking


@dataclass(eq=False, repr=False)
class Plastic(Spiking):
    """Neurons with a voltage, and one (std) or two (stp) states of their synapses."""

    kind: Literal["std", "stp"] = "stp"  # std: depression alone, stp: facilitation as well
    tau_rec: Positive = 200.0  # ms in which a synapse recovers

    def layer(self, below: int) -> Projected:
        neuron = brainpy.state.LIF(self.n_hidden, tau=self.tau())
        tau_rec = self.tau_rec * u.ms
        strength = (
            brainpy.state.STD(self.n_hidden, tau=tau_rec)
            if self.kind == "std"
            else brainpy.state.STP(self.n_hidden, tau_d=tau_rec)
        )
        comm = self.linear(below, u.mV)
        return Projected(neuron, brainpy.state.DeltaProj(comm=comm, post=neuron), strength)
