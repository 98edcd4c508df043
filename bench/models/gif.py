"""Generalised integrate-and-fire layers: currents that a spike starts, and a moving threshold."""

from dataclasses import dataclass

import brainpy.state
import braintools
import brainunit as u

from bench.models.base import Driven, Spiking, full_current


@dataclass(eq=False, repr=False)
class GIF(Spiking):
    """Neurons of four states: voltage, threshold and two currents, the second slow."""

    after: float = -0.05  # mA that a spike adds to the slow current; negative for adaptation

    def layer(self, below: int) -> Driven:
        tau, zero, threshold = self.tau(), 0.0 * u.mV, 1.0 * u.mV
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
        return Driven(neuron, self.linear(below, u.mA))
