"""The spiking tutorial's network as published: current input, neurons stepped twice a step."""

from __future__ import annotations

import brainpy.state
import brainstate
import braintools
import brainunit as u
import jax
import jax.numpy as jnp

from bench.bounds import Positive
from bench.models.base import widths


class LIFSNN(brainstate.nn.Module):
    """Layers of current-driven neurons and a leaky rate readout, exactly as the tutorial has them.

    Each layer's neurons are stepped once with their current and once more without: the second
    step only decays the voltage, which stays far below threshold, so the network never spikes.
    It is kept as published because a benchmark has to notice that; ``lif_net`` works.

    Args:
        n_in: inputs per step, I.
        n_hidden: neurons of each layer, H.
        n_out: classes or numbers, O.
        n_layers: recurrent layers; the tutorial has one.
        tau_mem: membrane time constant in ms.
        tau_out: time constant of the readout in ms.
    """

    def __init__(
        self,
        n_in: int,
        n_hidden: int,
        n_out: int,
        n_layers: int = 1,
        tau_mem: Positive = 20.0,
        tau_out: Positive = 20.0,
    ) -> None:
        super().__init__()
        self.linears, self.neurons = [], []
        for below in widths(n_in, n_hidden, n_layers):
            self.linears.append(
                brainstate.nn.Linear(
                    below + n_hidden,
                    n_hidden,
                    w_init=braintools.init.KaimingNormal(unit=u.mA),
                    b_init=braintools.init.ZeroInit(unit=u.mA),
                )
            )
            self.neurons.append(
                brainpy.state.LIF(
                    n_hidden,
                    tau=tau_mem * u.ms,
                    R=1.0 * u.ohm,
                    V_th=1.0 * u.mV,
                    V_reset=0.0 * u.mV,
                    V_rest=0.0 * u.mV,
                    spk_fun=braintools.surrogate.ReluGrad(),
                    spk_reset="soft",
                )
            )
        self.readout = brainpy.state.LeakyRateReadout(
            n_hidden, n_out, tau=tau_out * u.ms, w_init=braintools.init.KaimingNormal()
        )

    def update(self, x: jax.Array) -> jax.Array:
        """One step: ``x`` [B, I] or [I] to outputs [B, O] or [O]."""
        for linear, neuron in zip(self.linears, self.neurons, strict=True):
            neuron(linear(jnp.concatenate([x, neuron.get_spike()], axis=-1)))
            x = neuron()
        return self.readout(x)
