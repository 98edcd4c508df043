"""Leaky integrate-and-fire layers with delta synapses and a leaky readout."""

from __future__ import annotations

import brainpy.state
import brainstate
import brainunit as u
import jax

from bench.bounds import NotNegative, Positive
from bench.models.base import recurrent_linear, widths


class LIFNet(brainstate.nn.Module):
    """Recurrent spiking layers: input and own spikes jump the voltage; a leaky readout of spikes.

    Args:
        n_in: inputs per step, I.
        n_hidden: neurons of each layer, H.
        n_out: classes, O.
        n_layers: recurrent layers, each reading the spikes of the one below.
        tau_mem: membrane time constant in ms.
        tau_out: time constant of the readout in ms.
        gain, recurrent_gain: of the initial weights from below, and of those between the neurons.
    """

    def __init__(
        self,
        n_in: int,
        n_hidden: int,
        n_out: int,
        n_layers: int = 1,
        tau_mem: Positive = 5.0,
        tau_out: Positive = 5.0,
        gain: Positive = 1.0,
        recurrent_gain: NotNegative = 1.0,
    ) -> None:
        super().__init__()
        self.neurons, self.synapses = [], []
        for below in widths(n_in, n_hidden, n_layers):
            neuron = brainpy.state.LIF(n_hidden, tau=tau_mem * u.ms)
            self.neurons.append(neuron)
            self.synapses.append(
                brainpy.state.DeltaProj(
                    comm=recurrent_linear(below, n_hidden, u.mV, gain, recurrent_gain), post=neuron
                )
            )
        self.readout = brainpy.state.LeakyRateReadout(n_hidden, n_out, tau=tau_out * u.ms)

    def update(self, x: jax.Array) -> jax.Array:
        """One step: ``x`` [B, I] or [I] to logits [B, O] or [O]."""
        for neuron, synapse in zip(self.neurons, self.synapses, strict=True):
            synapse(u.math.concatenate([x, neuron.get_spike()], axis=-1))
            x = neuron()
        return self.readout(x)
