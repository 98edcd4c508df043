"""Spiking networks of brainpy.state parts, with units, and the same ones by hand without.

Numbers of the hand-written models are in mV, mA and ms. The surrogate gradient is the triangle
0.3 max(1 - |v|, 0) of `braintools.surrogate.ReluGrad`.
"""

from __future__ import annotations

from typing import Any

import brainpy.state
import brainstate
import braintools
import brainunit as u
import jax
import jax.numpy as jnp

from .cases import N_HIDDEN, N_IN, N_OUT, Case
from .rate_models import joined, linear, readout

__all__ = ["ADAPTIVE", "DELTA", "EXPONENTIAL", "HARD", "LEAKY_READOUT", "RESET_AT_ONCE", "spike"]

H = N_HIDDEN
TAU, TAU_A, TAU_SYN, TAU_OUT = 5.0, 20.0, 3.0, 4.0  # ms
BETA = 0.1  # mV


@jax.custom_jvp
def spike(v: Any) -> Any:
    """Heaviside step of the scaled voltage, with the triangle as its derivative."""
    return (v >= 0).astype(v.dtype)


@spike.defjvp
def _spike_jvp(primals: Any, tangents: Any) -> Any:
    (v,), (dv,) = primals, tangents
    return spike(v), 0.3 * jnp.maximum(1.0 - jnp.abs(v), 0.0) * dv


def keep(tau: float) -> Any:
    """The share that is left after a step of 1 ms."""
    return jnp.exp(-1.0 / tau)


class Spiking(brainstate.nn.Module):
    """A recurrent layer of neurons, driven through a projection, and a readout of its spikes."""

    def __init__(self, neuron: Any, unit: Any, out: Any = None) -> None:
        super().__init__()
        self.neuron = neuron
        comm = brainstate.nn.Linear(
            N_IN + H,
            H,
            w_init=braintools.init.KaimingNormal(unit=unit),
            b_init=braintools.init.Constant(0.4 * unit),
        )
        self.synapse = self.projection(comm)
        self.out = brainstate.nn.Linear(H, N_OUT) if out is None else out

    def projection(self, comm: Any) -> Any:
        return brainpy.state.DeltaProj(comm=comm, post=self.neuron)

    def update(self, x: Any) -> Any:
        self.synapse(u.math.concatenate([x, self.neuron.get_spike()], axis=-1))
        return self.out(self.neuron())


class Exponential(Spiking):
    """Synapses with an exponential current."""

    def projection(self, comm: Any) -> Any:
        return brainpy.state.AlignPostProj(
            comm=comm,
            post=self.neuron,
            out=brainpy.state.CUBA.desc(scale=1.0),
            syn=brainpy.state.Expon.desc(
                H, tau=TAU_SYN * u.ms, g_initializer=braintools.init.Constant(0.0 * u.mA)
            ),
        )


def voltage(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    s = spike(h["V"] - 1.0)
    y = linear(p, "synapse.comm.weight", below(joined(x, spike(rec(h["V"]) - 1.0))))
    return keep(TAU) * (h["V"] - s) + y


def delta_step(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    new = voltage(p, h, x, rec, below)
    return {"V": new}, readout(p, spike(new - 1.0))


def hard_step(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    s = spike(h["V"] - 1.0)
    y = linear(p, "synapse.comm.weight", below(joined(x, spike(rec(h["V"]) - 1.0))))
    new = keep(TAU) * (h["V"] - jax.lax.stop_gradient(h["V"]) * s) + y
    return {"V": new}, readout(p, spike(new - 1.0))


def adaptive_step(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    s = spike(h["V"] - 1.0 - BETA * h["a"])
    before = spike(rec(h["V"]) - 1.0 - BETA * rec(h["a"]))
    y = linear(p, "synapse.comm.weight", below(joined(x, before)))
    V = keep(TAU) * (h["V"] - s) + y
    a = keep(TAU_A) * (h["a"] + s)
    return {"V": V, "a": a}, readout(p, spike(V - 1.0 - BETA * a))


def exponential_step(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    s = spike(h["V"] - 1.0)
    y = linear(p, "synapse.comm.weight", below(joined(x, spike(rec(h["V"]) - 1.0))))
    g = keep(TAU_SYN) * h["g"] + y
    V = keep(TAU) * (h["V"] - s) + (1 - keep(TAU)) * 4.0 * g  # R = 4 ohm
    return {"V": V, "g": g}, readout(p, spike(V - 1.0))


def leaky_readout_step(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    new = voltage(p, h, x, rec, below)
    r = keep(TAU_OUT) * h["r"] + below(spike(new - 1.0)) @ p["out.weight"]
    return {"V": new, "r": r}, r


class ResetAtOnce(brainstate.nn.Module):
    """Integrate, spike, and reset within the same step; the readout reads the spikes before."""

    def __init__(self, recurrent: bool) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.W = brainstate.nn.Linear(N_IN + H if recurrent else N_IN, H)
        self.out = brainstate.nn.Linear(H, N_OUT)

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        shape = (H,) if batch_size is None else (batch_size, H)
        self.V = brainstate.HiddenState(jnp.zeros(shape))

    def update(self, x: Any) -> Any:
        spk = braintools.surrogate.ReluGrad()
        before = self.V.value
        y = self.W(joined(x, spk(before)) if self.recurrent else x)
        v = 0.8 * before + y
        s = spk(v - 1.0)
        self.V.value = v - s
        return self.out(s)


def reset_at_once_step(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    v = 0.8 * h["V"] + linear(p, "W.weight", below(x))
    s = spike(v - 1.0)
    return {"V": v - s}, readout(p, s)


def lif(**options: Any) -> Any:
    return brainpy.state.LIF(H, tau=TAU * u.ms, **options)


DELTA = Case("lif", lambda: Spiking(lif(), u.mV), delta_step, {"V": H})
HARD = Case("lif, hard reset", lambda: Spiking(lif(spk_reset="hard"), u.mV), hard_step, {"V": H})
ADAPTIVE = Case(
    "adaptive lif",
    lambda: Spiking(
        brainpy.state.ALIF(H, tau=TAU * u.ms, tau_a=TAU_A * u.ms, beta=BETA * u.mV), u.mV
    ),
    adaptive_step,
    {"V": H, "a": H},
)
EXPONENTIAL = Case(
    "exponential current",
    lambda: Exponential(lif(R=4.0 * u.ohm), u.mA),
    exponential_step,
    {"V": H, "g": H},
)
LEAKY_READOUT = Case(
    "lif, leaky readout",
    lambda: Spiking(lif(), u.mV, brainpy.state.LeakyRateReadout(H, N_OUT, tau=TAU_OUT * u.ms)),
    leaky_readout_step,
    {"V": H, "r": N_OUT},
)
RESET_AT_ONCE = Case(
    "spikes read before the reset",
    lambda: ResetAtOnce(recurrent=False),
    reset_at_once_step,
    {"V": H},
    element_wise=True,
)
