"""Units scale gradients and change nothing else."""

from __future__ import annotations

from typing import Any

import brainpy.state
import brainstate
import braintools
import brainunit as u
import numpy as np

import core

from . import spiking_models as spiking
from .cases import N_HIDDEN, N_IN, Case, data_for, gradient_of, run
from .references import assert_close

H = N_HIDDEN
WEIGHT = np.random.default_rng(0).normal(size=(N_IN + H, H)) * 0.6


def network(unit: Any, scale: float, current: bool) -> Any:
    """The same network with its weights in `unit`; `scale` of them is one mV (or mA)."""

    def make() -> Any:
        comm = brainstate.nn.Linear(
            N_IN + H,
            H,
            w_init=scale * WEIGHT * unit,
            b_init=braintools.init.Constant(scale * 0.4 * unit),
        )
        neuron = brainpy.state.LIF(H, tau=5.0 * u.ms, R=3.0 * u.ohm)
        net = spiking.Spiking(neuron, u.mV)
        if current:
            net.synapse = brainpy.state.CurrentProj(
                comm=comm, out=brainpy.state.CUBA(scale=1.0), post=neuron
            )
        else:
            net.synapse = brainpy.state.DeltaProj(comm=comm, post=neuron)
        return net

    return Case("units", make, lambda *_: None, {})


def gradients(cases: list[Case], make: Any) -> list[Any]:
    data, models = data_for(), [case.model() for case in cases]
    found = run(lambda: [gradient_of(make(model), data) for model in models])
    return [grads for grads, _ in found]


def test_gradients_scale_with_the_unit() -> None:
    """A weight counted in volts has a number 1000 times smaller than in mV, and a gradient so much
    larger; the same of currents.
    """
    names = ("synapse.comm.weight.weight", "synapse.comm.weight.bias")
    compared = 0
    for units, current in (((u.mV, u.volt), False), ((u.mA, u.amp), True)):
        cases = [network(units[0], 1.0, current), network(units[1], 1e-3, current)]
        for make in (lambda m: core.D_RTRL(m, window=3), lambda m: core.ES_D_RTRL(m, 0.9)):
            small, large = gradients(cases, make)
            assert_close({n: large[n] for n in names}, {n: 1e3 * small[n] for n in names})
            assert_close({"out": large["out.weight.weight"]}, {"out": small["out.weight.weight"]})
            compared += 1
    assert compared == 4


def test_gradients_carry_their_unit() -> None:
    """So that an optimiser takes them as they are."""
    model, data = spiking.DELTA.model(), data_for()

    def units() -> Any:
        return gradient_of(core.D_RTRL(model), data).grads

    grads = brainstate.transform.jit(units)()
    weight = grads["synapse", "comm", "weight"]["weight"]
    assert u.get_unit(weight) == u.get_unit(model.synapse.comm.weight.value["weight"])
