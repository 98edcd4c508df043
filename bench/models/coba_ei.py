"""Excitatory and inhibitory neurons with conductances, whose weights keep their sign."""

import math
from dataclasses import dataclass

import brainpy.state
import brainstate
import braintools
import brainunit as u
import jax
from brainstate.nn import Module

from bench.bounds import Positive
from bench.models.base import Spiking, full_current
from core.errors import Refusal

EXCITATORY = 0.8  # share of the neurons
REVERSAL = 5.0 * u.mV, -2.0 * u.mV  # of the two conductances; rest is 0 mV, the threshold 1 mV


class Layer(Module):
    """Neurons, the first ``n_exc`` of them excitatory as inputs are, and their projections."""

    def __init__(self, neuron: Module, n_exc: int, exc: Module, inh: Module) -> None:
        super().__init__()
        self.neuron, self.n_exc, self.exc, self.inh = neuron, n_exc, exc, inh

    def update(self, x: jax.Array) -> jax.Array:
        spikes = self.neuron.get_spike()
        self.exc(u.math.concatenate([x, spikes[..., : self.n_exc]], axis=-1))
        self.inh(spikes[..., self.n_exc :])
        return self.neuron()


@dataclass(eq=False, repr=False)
class CobaEI(Spiking):
    """Recurrent layers of excitatory and inhibitory neurons, four to one."""

    tau_syn: Positive = 3.0  # ms, time constant of the conductances

    def __post_init__(self) -> None:
        if self.n_hidden < 2:
            raise Refusal("at least 2 (one of a kind)", self.n_hidden, what="n_hidden")
        super().__post_init__()

    def layer(self, below: int) -> Layer:
        n, tau = self.n_hidden, self.tau()
        n_exc = max(1, min(n - 1, round(EXCITATORY * n)))
        neuron = brainpy.state.LIF(n, tau=tau, R=full_current(tau))
        init = braintools.init.KaimingNormal(unit=u.siemens)
        recurrent = self.recurrent_gain * init((n, n))
        # Weights of one sign add up, to sqrt(n) times what those of both do, and a conductance
        # drives the neuron by its reversal potential times as much.
        inputs = self.gain * init((below, n)) / math.sqrt(below)
        exc = u.math.concatenate([inputs, recurrent[:n_exc] / math.sqrt(n)], axis=0) / 5
        inh = recurrent[n_exc:] / math.sqrt(n) * 2
        zero = braintools.init.Constant(0.0 * u.siemens)
        projections = (
            brainpy.state.AlignPostProj(
                comm=brainstate.nn.SignedWLinear(w.shape[0], n, w_init=w),
                syn=brainpy.state.Expon.desc(n, tau=self.tau_syn * u.ms, g_initializer=zero),
                out=brainpy.state.COBA.desc(E=reversal),
                post=neuron,
            )
            for w, reversal in zip((exc, inh), REVERSAL, strict=True)
        )
        return Layer(neuron, n_exc, *projections)
