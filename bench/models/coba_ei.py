"""Excitatory and inhibitory neurons with conductances, whose weights keep their sign."""

from __future__ import annotations

import math
from dataclasses import dataclass

import brainpy.state
import brainstate
import braintools
import brainunit as u
import jax

from bench.bounds import Positive
from bench.models.base import Spiking, full_current
from core.errors import Refusal

EXCITATORY = 0.8  # share of the neurons
REVERSAL = 5.0 * u.mV, -2.0 * u.mV  # of the two conductances; rest is 0 mV, the threshold 1 mV


class Layer(brainstate.nn.Module):
    """Neurons with a voltage and two conductances; inputs are excitatory.

    Args:
        n_in: spikes from below.
        n: neurons; the first four of five are excitatory.
        tau, tau_syn: time constants of the membrane and the synapses.
        gain, recurrent_gain: of the initial weights.
    """

    def __init__(
        self,
        n_in: int,
        n: int,
        tau: u.Quantity,
        tau_syn: u.Quantity,
        gain: float,
        recurrent_gain: float,
    ) -> None:
        super().__init__()
        self.n_exc = max(1, min(n - 1, round(EXCITATORY * n)))
        self.neuron = brainpy.state.LIF(n, tau=tau, R=full_current(tau))
        init = braintools.init.KaimingNormal(unit=u.siemens)
        recurrent = recurrent_gain * init((n, n))
        # Weights of one sign add up, to sqrt(n) times what those of both do, and a conductance
        # drives the neuron by its reversal potential times as much.
        below = gain * init((n_in, n)) / math.sqrt(n_in)
        exc = u.math.concatenate([below, recurrent[: self.n_exc] / math.sqrt(n)], axis=0) / 5
        inh = recurrent[self.n_exc :] / math.sqrt(n) * 2
        self.exc, self.inh = (
            brainpy.state.AlignPostProj(
                comm=brainstate.nn.SignedWLinear(w.shape[0], n, w_init=w),
                syn=brainpy.state.Expon.desc(
                    n, tau=tau_syn, g_initializer=braintools.init.Constant(0.0 * u.siemens)
                ),
                out=brainpy.state.COBA.desc(E=reversal),
                post=self.neuron,
            )
            for w, reversal in zip((exc, inh), REVERSAL, strict=True)
        )

    def update(self, x: jax.Array) -> jax.Array:
        spikes = self.neuron.get_spike()
        self.exc(u.math.concatenate([x, spikes[..., : self.n_exc]], axis=-1))
        self.inh(spikes[..., self.n_exc :])
        return self.neuron()


@dataclass(eq=False, repr=False)
class CobaEI(Spiking):
    """Recurrent layers of excitatory and inhibitory neurons, four to one; at least one of a kind.

    Args:
        tau_syn: time constant of the conductances in ms.
        others: as of ``Spiking``.
    """

    tau_syn: Positive = 3.0

    def __post_init__(self) -> None:
        if self.n_hidden < 2:
            raise Refusal("at least 2 (one of a kind)", self.n_hidden, what="n_hidden")
        super().__post_init__()

    def layer(self, below: int, tau: u.Quantity) -> Layer:
        tau_syn = self.tau_syn * u.ms
        return Layer(below, self.n_hidden, tau, tau_syn, self.gain, self.recurrent_gain)
