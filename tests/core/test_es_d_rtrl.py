"""ES-D-RTRL against its recursion in NumPy, and what counts as a step."""

from __future__ import annotations

from typing import Any

import brainstate
import jax
import numpy as np
import pytest
from scipy.signal import lfilter

import core

from . import rate_models as rate
from . import spiking_models as spiking
from .cases import N_HIDDEN, Case, Data, data_for, gradient_of, run, weights_of
from .recursions import BY_HAND, error, es_d_rtrl, leaky_local, locals_by_name
from .references import assert_close, bptt, named, relative_error, squared_error, within_step

DECAYS = [0.0, 0.9, (0.3, 0.8)]
WINDOWS: dict[str, list[Any]] = {
    rate.RECURRENT.name: [], spiking.ADAPTIVE.name: [1, "sequence"], rate.GRU.name: [1]
}  # fmt: skip


@BY_HAND
def test_equals_the_recursion(case: Case, local: Any) -> None:
    model, data = case.model(), data_for()
    p = weights_of(model)

    def everything(p: Any) -> Any:
        by_hand = (case.step, p, case.start(), *data)
        return {
            "decays": [gradient_of(core.ES_D_RTRL(model, a, window=3), data) for a in DECAYS],
            "windows": [
                gradient_of(core.ES_D_RTRL(model, 0.9, window=k), data) for k in WINDOWS[case.name]
            ],
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
        exact |= {n: g for n, g in found["d_rtrl"][0].items() if n in ("cell.gain", "cell.time")}
        assert len(exact) >= 2
        assert_close({name: grads[name] for name in exact}, exact)
    for grads, _ in found["windows"]:
        assert_close(grads, found["decays"][DECAYS.index(0.9)][0])


def test_credit_in_windows() -> None:
    """BPTT inside windows; what a window owes to the steps before is ex (x) ef where it begins."""
    case, a, k = rate.RECURRENT, 0.9, 3
    model, data = case.model(), data_for()
    p = weights_of(model)
    rows = locals_by_name(leaky_local(p, *data), "cell.W.weight")

    def of_window(p: Any, h: Any, xs: Any, ys: Any) -> Any:
        total = 0.0
        for x, y in zip(xs, ys, strict=True):
            h, out = case.step(p, h, x, lambda v: v, lambda v: v)
            total += squared_error(out, y)
        return total, h

    gradient, h = jax.jit(jax.grad(of_window, (0, 1), has_aux=True)), case.start()
    wanted = {name: np.zeros_like(value) for name, value in p.items() if name in rows}
    traces = {name: (np.zeros_like(row.x[0]), np.zeros_like(h["h"])) for name, row in rows.items()}
    for first in range(0, len(data.xs), k):
        window = slice(first, first + k)
        (of_p, of_h), h = gradient(p, h, data.xs[window], data.ys[window])
        for name, (ex, ef) in traces.items():
            wanted[name] += np.asarray(of_p[name])
            if first:
                credit = np.einsum("bi,bh->ih", ex, of_h["h"] * ef) / (1 - a**first)
                wanted[name] += credit.reshape(wanted[name].shape)
            for x, D, f in zip(*(part[window] for part in rows[name][:3]), strict=True):
                ex, ef = a * ex + x, a * D[:, 0, 0] * ef + (1 - a) * f[:, 0]
            traces[name] = ex, ef

    def everything() -> Any:
        whole = core.ES_D_RTRL(model, a, credit="window", window="sequence")
        found = core.ES_D_RTRL(model, a, credit="window", window=k)
        return (
            gradient_of(found, data),
            gradient_of(whole, data),
            gradient_of(core.BPTT(model), data),
        )

    (found, _), (whole, _), (exact, _) = run(everything)
    for name, value in wanted.items():
        assert relative_error(found[name], value) < 1e-12
        assert relative_error(found[name], exact[name]) > 1e-3
    assert_close(whole, exact)


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

        return brainstate.transform.grad(loss, weights)()

    one, other = run(
        lambda: (last_gradient(list(data.xs[:3])), last_gradient([core.MultiStepData(data.xs[:3])]))
    )
    assert_close(named(one), named(other))
    # The last loss alone, by the recursion: its correction is 1 - 0.9^4.
    local = locals_by_name(leaky_local(weights_of(model), *data), "cell.W.weight")
    wanted = {}
    for name, row in local.items():
        credit = row.L.copy()
        credit[:3] = 0
        wanted[name] = es_d_rtrl(row._replace(L=credit), 0.9, 0.9)
    assert_close({n: np.reshape(named(one)[n], wanted[n].shape) for n in wanted}, wanted)


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_the_correction_at_step_100_000(decay: float) -> None:
    """The traces of a layer without recurrence are linear filters of its input."""
    model, n_steps = rate.LEAKY.model(), 100_000
    data = data_for(n_steps=n_steps, batch=1)
    p = weights_of(model)

    def last_gradient(xs: Any, ys: Any) -> Any:
        mask = np.zeros(n_steps)
        mask[-2:] = 1
        algo = core.ES_D_RTRL(model, decay, window=500)
        return gradient_of(algo, Data(xs, ys), mask=mask)

    grads, losses = run(last_gradient, *data)
    d = 1 / (1 + np.exp(-p["cell.time"]))
    through = np.tanh(
        p["cell.gain"] * (data.xs @ p["cell.W.weight.weight"] + p["cell.W.weight.bias"])
    )
    f = (1 - d) * p["cell.gain"] * (1 - through**2)
    h = lfilter([1 - d], [1, -d], through, axis=0)
    ex = lfilter([1], [1, -decay], data.xs, axis=0)
    ef = lfilter([1 - decay], [1, -decay * d], f, axis=0)
    L = error(p, h[-2:], data.ys[-2:])
    wanted = np.einsum("tbi,tbh->ih", ex[-2:], L * ef[-2:])  # 1 - decay^100000 is one
    assert np.isfinite(np.asarray(losses)).all()
    assert relative_error(grads["cell.W.weight.weight"], wanted) < 1e-10


def test_the_correction_is_finite_in_float32() -> None:
    with jax.enable_x64(False), brainstate.environ.context(precision=32):
        model = rate.LEAKY.model()
        xs = np.tile(data_for(n_steps=10).xs.astype(np.float32), (10_000, 1, 1))

        def everything(xs: Any) -> Any:
            algo = core.ES_D_RTRL(model, 0.9, window=500)
            core.initialise(algo, xs[0])
            return core.gradient(algo, lambda out, _: (out**2).sum(), xs)

        grads, losses = run(everything, xs)
    assert losses.shape == (100_000,)
    assert np.isfinite(np.asarray(losses)).all()
    assert all(np.isfinite(np.asarray(g)).all() and np.any(g) for g in grads.values())


def test_the_trace_is_linear_in_inputs_and_outputs() -> None:
    """B (I + S H) numbers and the steps since a reset, where D-RTRL has B I S H."""
    model, data = spiking.ADAPTIVE.model(), data_for()

    def sizes() -> Any:
        algo = core.ES_D_RTRL(model, 0.9)
        core.initialise(algo, data.xs[0])
        return algo.trace_bytes

    found = run(sizes)
    batch, n_in = data.xs.shape[1], data.xs.shape[2] + N_HIDDEN
    with_bias = n_in + 1
    assert found["synapse.comm.weight.weight"] == batch * (8 * (with_bias + 2 * N_HIDDEN) + 4)


@pytest.mark.parametrize("decay", [1, 1.0, -0.1, 1.5, (0.5, 1.0), (0.1, 0.2, 0.3), "0.9", True])
def test_a_decay_out_of_range_is_refused(decay: Any) -> None:
    model = rate.LEAKY.model()
    if decay == 1 and isinstance(decay, int) and not isinstance(decay, bool):
        assert core.ES_D_RTRL(model, decay).past.rank == 1
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


@pytest.mark.parametrize("value", [(0.5, 0.9), 2])
def test_it_is_a_class(value: Any) -> None:
    """Of both kinds of trace, and to derive from."""

    class Mine(core.ES_D_RTRL):
        def __init__(self, model: Any) -> None:
            super().__init__(model, value, window=np.int64(3))

    model, data = rate.LEAKY.model(), data_for()
    assert isinstance(Mine(model), core.ES_D_RTRL)
    assert type(core.pp_prop(model, value)) is core.ES_D_RTRL

    def both() -> Any:
        return (
            gradient_of(Mine(model), data),
            gradient_of(core.ES_D_RTRL(model, value, window=3), data),
        )

    (mine, _), (wanted, _) = run(both)
    assert_close(mine, wanted)
