"""The public library braintrace, on the weights that it trains."""

from __future__ import annotations

from typing import Any

import brainstate
import braintrace
import jax.numpy as jnp
import numpy as np
import pytest

import core

from . import rate_models as rate
from . import spiking_models as spiking
from .cases import N_HIDDEN, N_IN, Case, data_for, run
from .references import assert_close, named, relative_error, squared_error

pytestmark = [
    # It warns of every weight that it leaves out.
    pytest.mark.filterwarnings("ignore:ETP primitive:UserWarning"),
    # Its 0.2.8 makes jaxprs in a way that jax 0.12 warns of.
    pytest.mark.filterwarnings("ignore:core.Jaxpr is missing a DebugInfo:DeprecationWarning"),
]

H = N_HIDDEN
DECAY = 0.9


class Gated(brainstate.nn.Module):
    """A GRU whose gates have matrices of their own, as braintrace needs them."""

    def __init__(self) -> None:
        super().__init__()
        self.z, self.r, self.c = (brainstate.nn.Linear(N_IN + H, H) for _ in range(3))
        self.out = brainstate.nn.Linear(H, 2)

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        shape = (H,) if batch_size is None else (batch_size, H)
        self.h = brainstate.HiddenState(jnp.zeros(shape))

    def update(self, x: Any) -> Any:
        h = self.h.value
        z = brainstate.nn.sigmoid(self.z(rate.joined(x, h)))
        r = brainstate.nn.sigmoid(self.r(rate.joined(x, h)))
        candidate = jnp.tanh(self.c(rate.joined(x, r * h)))
        self.h.value = (1 - z) * h + z * candidate
        return self.out(self.h.value)


GATED = Case("gru", Gated, lambda *_: None, {})
# Weights of the network with a trace; the others get zero from braintrace by default.
CASES = [(GATED, ("z.weight", "c.weight")), (spiking.ADAPTIVE, ("synapse.comm.weight",))]


def traced_operations(model: Any) -> Any:
    """The same model with braintrace's way to multiply, which is how it finds weights."""
    for node in model.nodes().values():
        if type(node) is brainstate.nn.Linear:
            node.__class__ = braintrace.nn.Linear
    return model


@pytest.mark.parametrize(("case", "weights"), CASES, ids=[c.name for c, _ in CASES])
def test_same_gradients(case: Case, weights: tuple[str, ...]) -> None:
    data = data_for()
    own, other = case.model(), traced_operations(case.model())

    def ours(make: Any) -> Any:
        algo = make(own)
        core.initialise(algo, data.xs[0])
        return core.gradient(algo, squared_error, data.xs, data.ys[0])

    def theirs(kind: Any, vmap: bool, **options: Any) -> Any:
        learner = braintrace.compile(
            other, kind, data.xs[0], batch_size=data.xs.shape[1], vmap=vmap, **options
        )
        return learner.etrace_grad(
            jnp.asarray(data.xs),
            step_fn=lambda x: squared_error(learner(x), data.ys[0]),
            weights=other.states(brainstate.ParamState),
            reduction="sum",
        )

    def everything() -> Any:
        return {
            "d_rtrl": (
                ours(lambda m: core.D_RTRL(m, window=3)),
                [theirs(braintrace.D_RTRL, vmap) for vmap in (False, True)],
            ),
            "es_d_rtrl": (
                ours(lambda m: core.ES_D_RTRL(m, DECAY)),
                [theirs(braintrace.pp_prop, False, decay_or_rank=DECAY)],
            ),
            # It does not low-pass the constant input of a bias, as a decay of zero would not.
            "es_d_rtrl, bias": (
                ours(lambda m: core.ES_D_RTRL(m, (0.0, DECAY))),
                [theirs(braintrace.pp_prop, False, decay_or_rank=DECAY)],
            ),
        }

    found = run(everything)
    compared = 0
    for algorithm, ((grads, _), peers) in found.items():
        kinds = {"d_rtrl": ("weight", "bias"), "es_d_rtrl": ("weight",)}.get(algorithm, ("bias",))
        names = [f"{weight}.{kind}" for weight in weights for kind in kinds]
        for peer in map(named, peers):
            assert_close({n: grads[n] for n in names}, {n: peer[n] for n in names})
            compared += len(names)
            # Its 0.2.6 leaves at zero what its later versions and the core train.
            readout = {"out.weight.weight": grads["out.weight.weight"]}
            assert np.any(readout["out.weight.weight"])
            if np.any(peer["out.weight.weight"]):
                assert_close(readout, {"out.weight.weight": peer["out.weight.weight"]})
    assert compared == 6 * len(weights)
    bias = f"{weights[0]}.bias"
    filtered, plain = (found[a][0][0][bias] for a in ("es_d_rtrl", "es_d_rtrl, bias"))
    assert relative_error(filtered, plain) > 1e-3
