"""Current-driven spiking layers that do spike: neurons stepped once, gain up to threshold."""

from __future__ import annotations

import brainpy.state
import brainstate
import brainunit as u
import jax

from bench.bounds import Positive
from bench.models.base import recurrent_linear


class LIFCurrent(brainstate.nn.Module):
    """Current-driven neurons and a leaky rate readout.

    The network of ``lif_snn`` with its two faults mended: the neurons are stepped once, and the
    membrane resistance makes up for the share of the current that one step of a slow membrane
    takes in, ``1 - exp(-dt / tau)``, without which the voltage stays below threshold.

    Args:
        n_in: inputs per step, I.
        n_hidden: neurons of each layer, H.
        n_out: classes, O.
        n_layers: recurrent layers, each reading the spikes of the one below.
        tau_mem: membrane time constant in ms.
        tau_out: time constant of the readout in ms.
    """

    def __init__(self, n_in: int, n_hidden: int, n_out: int, n_layers: int = 1,
                 tau_mem: Positive = 5.0, tau_out: Positive = 5.0) -> None:
        super().__init__()
        step_share = 1.0 - u.math.exp(-brainstate.environ.get_dt() / (tau_mem * u.ms))
        self.linears, self.neurons = [], []
        for layer in range(n_layers):
            below = n_in if layer == 0 else n_hidden
            self.linears.append(recurrent_linear(below, n_hidden, u.mA))
            self.neurons.append(brainpy.state.LIF(
                n_hidden, tau=tau_mem * u.ms, R=1.0 / step_share * u.ohm
            ))
        self.readout = brainpy.state.LeakyRateReadout(n_hidden, n_out, tau=tau_out * u.ms)

    def update(self, x: jax.Array) -> jax.Array:
        """One step: ``x`` [B, I] or [I] to logits [B, O] or [O]."""
        for linear, neuron in zip(self.linears, self.neurons, strict=True):
            x = neuron(linear(u.math.concatenate([x, neuron.get_spike()], axis=-1)))
        return self.readout(x)
