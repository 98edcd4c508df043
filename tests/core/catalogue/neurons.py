"""Neurons of brainpy.state, driven through recurrent weights; and with its synapses."""

from __future__ import annotations

from functools import partial
from typing import Any

import brainpy.state as bp
import brainstate
import braintools
import brainunit as u
import jax.numpy as jnp

from .entries import Entry, H, I, Net, spiking, weight
from .reference import product, recurrent

ms, mV, mA, mS = u.ms, u.mV, u.mA, u.mS
NEAR = braintools.init.Constant(-52.0 * mV)
zero = braintools.init.Constant


def neuron(kind: str, **options: Any) -> Any:
    """With a surrogate that is nowhere flat."""
    return getattr(bp, kind)(H, spk_fun=braintools.surrogate.Sigmoid(), **options)


DRIVEN: dict[str, Any] = {
    "IF": {"offset": 3.0},
    "LIF": {"offset": 3.0},
    "LIF, hard reset": {"offset": 3.0, "spk_reset": "hard"},
    "LIFRef": {"offset": 3.0, "tau_ref": 1.5 * ms},
    "ALIF": {"offset": 3.0},
    "ExpIF": {"offset": 4.0, "V_initializer": NEAR, "V_th": -50 * mV},
    "ExpIFRef": {"offset": 4.0, "V_initializer": NEAR, "V_th": -50 * mV},
    "AdExIF": {"offset": 4.0, "V_initializer": zero(-60.0 * mV)},
    "AdExIFRef": {"offset": 4.0, "V_initializer": zero(-60.0 * mV)},
    "QuaIF": {"offset": 4.0, "V_initializer": NEAR, "V_th": -50 * mV},
    "AdQuaIF": {"offset": 4.0, "V_initializer": NEAR, "V_th": -50 * mV},
    "AdQuaIFRef": {"offset": 4.0, "V_initializer": NEAR, "V_th": -50 * mV},
    "Gif": {"V_initializer": NEAR},
    "GifRef": {"V_initializer": NEAR},
    "Izhikevich": {"unit": mV / ms, "offset": 4.0, "V_initializer": NEAR},
    "IzhikevichRef": {"unit": mV / ms, "offset": 4.0, "V_initializer": NEAR},
    "HH": {"unit": u.uA, "V_initializer": NEAR},
    "MorrisLecar": {"unit": u.uA, "V_initializer": NEAR},
    "WangBuzsakiHH": {"unit": u.uA, "V_initializer": NEAR},
    "FitzHughNagumo": {"unit": u.UNITLESS, "scale": 0.5},
    "HindmarshRose": {"unit": u.UNITLESS, "scale": 0.5},
    "CubaLIF": {"offset": 3.0},
    "CobaLIF": {"offset": 3.0, "E": 5 * mV},
}


def driven(name: str, **options: Any) -> Any:
    drive = {k: options.pop(k) for k in ("unit", "scale", "offset") if k in options}
    return spiking(neuron(name.split(",")[0], **options), **drive)


@recurrent
class Projected(brainstate.nn.Module):
    """LIF neurons behind a synapse; its weight stands before it (align post) or behind (pre)."""

    def __init__(self, projection: Any) -> None:
        super().__init__()
        self.neuron = neuron("LIF")
        self.synapse = projection(self.neuron)

    def update(self, x: Any) -> Any:
        self.synapse(jnp.concatenate([x, self.neuron.get_spike()], axis=-1))
        self.neuron(1.0 * mA)
        V = u.get_magnitude(self.neuron.V.value)
        return jnp.concatenate([self.neuron.get_spike(), jnp.tanh(V / 30)], axis=-1)


def comm(unit: Any) -> Any:
    return brainstate.nn.Linear(
        I + H, H, w_init=braintools.init.Normal(0.0 * unit, 2.0 * unit), b_init=None
    )


def post(syn: str, out: Any, unit: Any, post: Any, **options: Any) -> Any:
    return bp.AlignPostProj(
        comm=comm(unit),
        post=post,
        out=out,
        syn=getattr(bp, syn).desc(H, g_initializer=zero(0.0 * unit), **options),
    )


def cuba() -> Any:
    return bp.CUBA.desc(scale=1.0)


def coba() -> Any:
    return bp.COBA.desc(E=5.0 * mV)


class AlignPre(brainstate.nn.Module):
    """Input and spikes through synapses of their own, then weights, into the neurons."""

    def __init__(self, post: Any, synapse: Any) -> None:
        super().__init__()
        self.of_x, self.of_spikes, self.post = synapse(I), synapse(H), post
        self.V, self.U = (weight(n, H, seed=n) for n in (I, H))

    def update(self, pre: Any) -> Any:
        x, s = (
            u.get_magnitude(syn(z))
            for syn, z in ((self.of_x, jnp.abs(pre[..., :I])), (self.of_spikes, pre[..., I:]))
        )
        y = 5 * (product(x, self.V.value) + product(s, self.U.value))
        self.post.add_current_input("g", y * mA)


def delta(post: Any) -> Any:
    return bp.DeltaProj(comm=comm(mV), post=post)


def current(post: Any) -> Any:
    return bp.CurrentProj(comm=comm(mA), out=bp.CUBA(scale=1.0), post=post)


def pre(synapse: str, post: Any, **options: Any) -> Any:
    return AlignPre(post, lambda n: getattr(bp, synapse)(n, **options))


SYNAPSES: dict[str, Any] = {
    "delta": delta,
    "Expon, current": partial(post, "Expon", cuba(), mA),
    "Expon, conductance": partial(post, "Expon", coba(), u.siemens),
    "DualExpon, current": partial(post, "DualExpon", cuba(), mA),
    "Alpha, before the weight": partial(pre, "Alpha", g_initializer=zero(0.0)),
    "Expon, before the weight": partial(pre, "Expon", g_initializer=zero(0.0)),
    "DualExpon, before the weight": partial(pre, "DualExpon", g_initializer=zero(0.0)),
    "AMPA, before the weight": partial(pre, "AMPA"),
    "GABAa, before the weight": partial(pre, "GABAa"),
    "BioNMDA, before the weight": partial(pre, "BioNMDA"),
    "STP, before the weight": partial(pre, "STP"),
    "STD, before the weight": partial(pre, "STD"),
}

ENTRIES = [
    *(Entry("neurons", name, partial(driven, name, **o)) for name, o in DRIVEN.items()),
    *(Entry("synapses", n, lambda p=p: Net(Projected(p), 2 * H)) for n, p in SYNAPSES.items()),
]
