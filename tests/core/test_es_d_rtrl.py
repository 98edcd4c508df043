"""ES-D-RTRL against its recursion in NumPy, and what counts as a step."""

from __future__ import annotations

from typing import Any

import brainstate
import jax
import numpy as np
import pytest

import core

from . import rate_models as rate
from . import spiking_models as spiking
from .cases import N_HIDDEN, Case, data_for, gradient_of, run, weights_of
from .recursions import adaptive_local, es_d_rtrl, gru_locals, leaky_local, locals_by_name
from .references import assert_close, bptt, named, relative_error, squared_error, within_step

DECAYS = [0.0, 0.5, 0.9, 0.99, (0.3, 0.8)]


def gru_local(*inputs: Any) -> dict[str, Any]:
    gate, candidate = gru_locals(*inputs)
    found = locals_by_name(gate, "cell.Wrz.weight")
    return {**found, **locals_by_name(candidate, "cell.Wh.weight")}


@pytest.mark.parametrize(
    ("case", "local"),
    [
        (rate.RECURRENT, lambda *a: locals_by_name(leaky_local(*a), "cell.W.weight")),
        (spiking.ADAPTIVE, lambda *a: locals_by_name(adaptive_local(*a), "synapse.comm.weight")),
        (rate.GRU, gru_local),
    ],
    ids=["leaky and recurrent", "adaptive lif", "gru"],
)
def test_equals_the_recursion(case: Case, local: Any) -> None:
    model, data = case.model(), data_for()
    p = weights_of(model)

    def everything(p: Any) -> Any:
        by_hand = (case.step, p, case.start(), *data)
        return {
            "decays": [gradient_of(core.ES_D_RTRL(model, a, window=3), data) for a in DECAYS],
            "one window": gradient_of(core.ES_D_RTRL(model, 0.9, window="sequence"), data),
            "each step": gradient_of(core.ES_D_RTRL(model, 0.9, window=1), data),
            "d_rtrl": gradient_of(core.D_RTRL(model), data),
            "bptt": bptt(*by_hand),
            "within": within_step(*by_hand),
        }

    found = run(everything, p)
    rows = local(p, *data)
    assert len(found["decays"]) == len(DECAYS)
    for decay, (grads, _) in zip(DECAYS, found["decays"], strict=True):
        a_x, a_f = decay if isinstance(decay, tuple) else (decay, decay)
        for name, row in rows.items():
            wanted = es_d_rtrl(row, a_x, a_f)
            got = np.asarray(grads[name]).reshape(-1, grads[name].shape[-1])
            # Of a GRU's fused gates the second half feeds the state.
            got = got[:, -wanted.shape[1] :]
            assert np.abs(wanted).max() > 0
            assert relative_error(got, wanted) < 1e-12
            if got.shape[1] < grads[name].shape[-1]:
                reset = grads[name][..., :N_HIDDEN], found["within"][name][..., :N_HIDDEN]
                assert relative_error(*reset) < 1e-12
        # The readout is BPTT's; gain and time constant keep D-RTRL's exact trace.
        exact = {n: g for n, g in found["bptt"][0].items() if n.startswith("out.")}
        exact |= {
            n: g for n, g in found["d_rtrl"][0].items() if n in ("cell.gain", "cell.time")
        }
        assert len(exact) >= 2
        assert_close({name: grads[name] for name in exact}, exact)
    for other in ("one window", "each step"):
        assert_close(found[other][0], found["decays"][DECAYS.index(0.9)][0])


def test_the_correction_counts_steps_not_calls() -> None:
    """A window of three and a single step are four steps, and the last gradient says so."""
    model, data = rate.RECURRENT.model(), data_for(n_steps=4)
    weights = model.states(brainstate.ParamState)

    def last_gradient(calls: list[Any]) -> Any:
        algo = core.ES_D_RTRL(model, 0.9)
        core.initialise(algo, data.xs[0])
        for call in calls:
            algo(call)

        def loss() -> Any:
            return squared_error(algo(data.xs[3]), data.ys[3])

        return brainstate.transform.grad(loss, weights)(), algo.trace.value

    single = list(data.xs[:3])
    window = [core.MultiStepData(data.xs[:3])]
    (one, traces), (other, traces_other) = run(
        lambda: (last_gradient(single), last_gradient(window))
    )
    assert_close(named(one), named(other))
    for trace in (traces, traces_other):
        assert (np.asarray(trace["cell.W.weight.weight"]["steps"]) == 4).all()


def test_the_correction_is_finite_after_100_000_steps() -> None:
    """In float32, where 1 - a^t is soon one, and with a decay whose powers underflow."""
    with jax.enable_x64(False), brainstate.environ.context(precision=32):
        model = rate.LEAKY.model()
        xs = np.tile(data_for(n_steps=10).xs.astype(np.float32), (10_000, 1, 1))

        def everything(xs: Any) -> Any:
            found = {}
            for decay in (0.5, 0.999):
                algo = core.ES_D_RTRL(model, decay, window=500)
                core.initialise(algo, xs[0])
                result = core.gradient(algo, lambda out, _: (out**2).sum(), xs, fresh=False)
                found[str(decay)] = result, algo.trace.value["cell.W.weight.weight"]["steps"]
            return found

        found = run(everything, xs)
    assert len(found) == 2
    for (grads, losses), steps in found.values():
        assert (np.asarray(steps) == 100_000).all()
        assert np.isfinite(np.asarray(losses)).all()
        assert all(np.isfinite(np.asarray(g)).all() and np.any(g) for g in grads.values())


@pytest.mark.parametrize("decay", [1, 1.0, -0.1, 1.5, (0.5, 1.0), (0.1, 0.2, 0.3), "0.9", True])
def test_a_decay_out_of_range_is_refused(decay: Any) -> None:
    model = rate.LEAKY.model()
    if decay == 1 and isinstance(decay, int) and not isinstance(decay, bool):
        assert type(core.ES_D_RTRL(model, decay)).__name__ == "LowRankRTRL"  # a rank of one
        return
    with pytest.raises(core.InvalidArgument) as refused:
        core.ES_D_RTRL(model, decay)
    assert str(refused.value) == (
        "expected decay_or_rank to be a decay in [0, 1), a pair of them, or an integer rank >= 1; "
        f"got {decay!r}. Use for example 0.99; a decay of 1 has no bias correction."
    )


def test_the_tutorials_names_are_the_same_algorithm() -> None:
    assert core.pp_prop is core.ES_D_RTRL is core.IODimVjpAlgorithm
    assert core.ParamDimVjpAlgorithm is core.D_RTRL
