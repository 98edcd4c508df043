"""Leaky integrate-and-fire layers whose synapses are currents that decay exponentially."""

from dataclasses import dataclass

import brainpy.state
import braintools
import brainunit as u

from bench.bounds import Positive
from bench.models.base import Projected, Spiking, full_current


@dataclass(eq=False, repr=False)
class ExpCurrent(Spiking):
    """Neurons with a voltage and a synaptic current."""

    tau_syn: Positive = 3.0  # ms, time constant of the synaptic current

    def layer(self, below: int) -> Projected:
        tau = self.tau()
        neuron = brainpy.state.LIF(self.n_hidden, tau=tau, R=full_current(tau))
        zero = braintools.init.Constant(0.0 * u.mA)
        syn = brainpy.state.Expon.desc(self.n_hidden, tau=self.tau_syn * u.ms, g_initializer=zero)
        comm, out = self.linear(below, u.mA), brainpy.state.CUBA.desc(scale=1.0)
        projection = brainpy.state.AlignPostProj(comm=comm, syn=syn, out=out, post=neuron)
        return Projected(neuron, projection)
