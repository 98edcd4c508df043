"""Spiking layers whose own synapses tire, or first grow stronger, as they are used."""

from __future__ import annotations

import brainpy.state
import brainstate
import brainunit as u
import jax

from bench.bounds import NotNegative, Positive
from bench.models.base import Spiking, recurrent_linear, time_constants, widths

KINDS = ("std", "stp")


class Layer(brainstate.nn.Module):
    """Neurons that read ``[x, own spikes times the strength of their synapses]``."""

    def __init__(
        self,
        neuron: brainstate.nn.Module,
        strength: brainstate.nn.Module,
        linear: brainstate.nn.Module,
    ) -> None:
        super().__init__()
        self.neuron, self.strength = neuron, strength
        self.synapse = brainpy.state.DeltaProj(comm=linear, post=neuron)

    def update(self, x: jax.Array) -> jax.Array:
        spikes = self.neuron.get_spike()
        self.synapse(u.math.concatenate([x, self.strength(spikes)], axis=-1))
        return self.neuron()


class Plastic(Spiking):
    """Neurons with a voltage, and one (std) or two (stp) states of their synapses.

    Args:
        n_in: inputs per step, I.
        n_hidden: neurons of each layer, H.
        n_out: classes, O.
        n_layers: recurrent layers, each reading the spikes of the one below.
        tau_mem: membrane time constant in ms.
        kind: ``std``, depression alone, or ``stp``, facilitation as well.
        tau_rec: time in ms in which a synapse recovers.
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
        kind: str = "stp",
        tau_rec: Positive = 200.0,
        tau_out: Positive = 5.0,
        gain: Positive = 1.0,
        recurrent_gain: NotNegative = 1.0,
        tau_spread: NotNegative = 0.0,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}.")
        layers: list[brainstate.nn.Module] = []
        for below in widths(n_in, n_hidden, n_layers):
            neuron = brainpy.state.LIF(n_hidden, tau=time_constants(tau_mem, tau_spread, n_hidden))
            strength = (
                brainpy.state.STD(n_hidden, tau=tau_rec * u.ms)
                if kind == "std"
                else brainpy.state.STP(n_hidden, tau_d=tau_rec * u.ms)
            )
            linear = recurrent_linear(below, n_hidden, u.mV, gain, recurrent_gain)
            layers.append(Layer(neuron, strength, linear))
        super().__init__(layers, n_hidden, n_out, tau_out)
