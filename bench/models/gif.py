"""Generalised integrate-and-fire layers: currents that a spike starts, and a moving threshold."""

from __future__ import annotations

import brainpy.state
import brainstate
import braintools
import brainunit as u
import jax

from bench.bounds import NotNegative, Positive
from bench.models.base import Spiking, full_current, recurrent_linear, time_constants, widths


class Layer(brainstate.nn.Module):
    """Neurons driven by a current from ``[x, own spikes]``."""

    def __init__(self, neuron: brainstate.nn.Module, linear: brainstate.nn.Module) -> None:
        super().__init__()
        self.neuron, self.linear = neuron, linear

    def update(self, x: jax.Array) -> jax.Array:
        return self.neuron(self.linear(u.math.concatenate([x, self.neuron.get_spike()], axis=-1)))


class GIF(Spiking):
    """Neurons of four states: voltage, threshold and two currents, the second slow.

    Args:
        n_in: inputs per step, I.
        n_hidden: neurons of each layer, H.
        n_out: classes, O.
        n_layers: recurrent layers, each reading the spikes of the one below.
        tau_mem: membrane time constant in ms.
        after: current that a spike adds to the slow one, in mA; negative for adaptation.
        tau_out: time constant of the readout in ms.
        gain, recurrent_gain: of the initial weights from below, and of those between the neurons.
        tau_spread: standard deviation of the logarithm of the membrane time constants.
    """

    def __init__(
        self,
        n_in: int,
        n_hidden: int,
        n_out: int,
        n_layers: int = 1,
        tau_mem: Positive = 5.0,
        after: float = -0.05,
        tau_out: Positive = 5.0,
        gain: Positive = 1.0,
        recurrent_gain: NotNegative = 1.0,
        tau_spread: NotNegative = 0.0,
    ) -> None:
        layers: list[brainstate.nn.Module] = []
        for below in widths(n_in, n_hidden, n_layers):
            tau, zero = time_constants(tau_mem, tau_spread, n_hidden), 0.0 * u.mV
            neuron = brainpy.state.Gif(
                n_hidden,
                R=full_current(tau),
                tau=tau,
                V_rest=zero,
                V_reset=zero,
                V_th_inf=1.0 * u.mV,
                V_th_reset=1.0 * u.mV,
                A2=after * u.mA,
                V_initializer=braintools.init.Constant(zero),
                V_th_initializer=braintools.init.Constant(1.0 * u.mV),
            )
            linear = recurrent_linear(below, n_hidden, u.mA, gain, recurrent_gain)
            layers.append(Layer(neuron, linear))
        super().__init__(layers, n_hidden, n_out, tau_out)
