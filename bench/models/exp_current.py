"""Leaky integrate-and-fire layers whose synapses are currents that decay exponentially."""

from __future__ import annotations

import brainpy.state
import brainstate
import braintools
import brainunit as u

from bench.bounds import NotNegative, Positive
from bench.models.base import (
    Projected,
    Spiking,
    full_current,
    recurrent_linear,
    time_constants,
    widths,
)


class ExpCurrent(Spiking):
    """Neurons with a voltage and a synaptic current.

    Args:
        n_in: inputs per step, I.
        n_hidden: neurons of each layer, H.
        n_out: classes, O.
        n_layers: recurrent layers, each reading the spikes of the one below.
        tau_mem: membrane time constant in ms.
        tau_syn: time constant of the synaptic current in ms.
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
        tau_syn: Positive = 3.0,
        tau_out: Positive = 5.0,
        gain: Positive = 1.0,
        recurrent_gain: NotNegative = 1.0,
        tau_spread: NotNegative = 0.0,
    ) -> None:
        layers: list[brainstate.nn.Module] = []
        for below in widths(n_in, n_hidden, n_layers):
            tau = time_constants(tau_mem, tau_spread, n_hidden)
            neuron = brainpy.state.LIF(n_hidden, tau=tau, R=full_current(tau))
            syn = brainpy.state.Expon.desc(
                n_hidden, tau=tau_syn * u.ms, g_initializer=braintools.init.Constant(0.0 * u.mA)
            )
            comm = recurrent_linear(below, n_hidden, u.mA, gain, recurrent_gain)
            layers.append(
                Projected(
                    neuron,
                    brainpy.state.AlignPostProj(
                        comm=comm, syn=syn, out=brainpy.state.CUBA.desc(scale=1.0), post=neuron
                    ),
                )
            )
        super().__init__(layers, n_hidden, n_out, tau_out)
