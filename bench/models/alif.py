"""Adaptive leaky integrate-and-fire layers: a threshold that each spike raises for a while."""

from __future__ import annotations

import brainpy.state
import brainstate
import brainunit as u

from bench.bounds import NotNegative, Positive
from bench.models.base import Projected, Spiking, recurrent_linear, time_constants, widths


class ALIF(Spiking):
    """Neurons with a voltage and an adaptation, delta synapses and a leaky readout.

    Args:
        n_in: inputs per step, I.
        n_hidden: neurons of each layer, H.
        n_out: classes, O.
        n_layers: recurrent layers, each reading the spikes of the one below.
        tau_mem: membrane time constant in ms.
        tau_adapt: time constant of the adaptation in ms.
        beta: how far one spike raises the threshold, in mV; the threshold is 1 mV.
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
        tau_adapt: Positive = 100.0,
        beta: NotNegative = 0.1,
        tau_out: Positive = 5.0,
        gain: Positive = 1.0,
        recurrent_gain: NotNegative = 1.0,
        tau_spread: NotNegative = 0.0,
    ) -> None:
        layers: list[brainstate.nn.Module] = []
        for below in widths(n_in, n_hidden, n_layers):
            neuron = brainpy.state.ALIF(
                n_hidden,
                tau=time_constants(tau_mem, tau_spread, n_hidden),
                tau_a=tau_adapt * u.ms,
                beta=beta * u.mV,
            )
            comm = recurrent_linear(below, n_hidden, u.mV, gain, recurrent_gain)
            layers.append(Projected(neuron, brainpy.state.DeltaProj(comm=comm, post=neuron)))
        super().__init__(layers, n_hidden, n_out, tau_out)
