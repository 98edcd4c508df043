"""D-RTRL is BPTT with two cuts, on every kind of network and for every window."""

from __future__ import annotations

from typing import Any

import brainstate
import jax
import numpy as np
import pytest

import core

from . import rate_models as rate
from . import spiking_models as spiking
from .cases import N_HIDDEN, Case, Data, data_for, gradient_of, run, weights_of
from .recursions import adaptive_local, dense_d_rtrl, gru_locals, leaky_local, locals_by_name
from .references import (
    assert_close,
    bptt,
    credit_in_windows,
    cut_bptt,
    errors,
    relative_error,
    within_step,
)

CASES = [
    rate.RNN,
    rate.GRU,
    rate.MGU,
    rate.LSTM,
    rate.LEAKY,
    rate.STACKED,
    rate.LATE,
    rate.FEEDBACK,
    spiking.DELTA,
    spiking.HARD,
    spiking.ADAPTIVE,
    spiking.EXPONENTIAL,
    spiking.LEAKY_READOUT,
    spiking.RESET_AT_ONCE,
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_equals_bptt_with_two_cuts(case: Case) -> None:
    model, data = case.model(), data_for()
    p = weights_of(model)

    def everything(p: Any) -> Any:
        by_hand = (case.step, p, case.start(), *data)
        return {
            "cut": cut_bptt(*by_hand),
            "bptt": bptt(*by_hand),
            "within": within_step(*by_hand),
            "core, one window": gradient_of(core.D_RTRL(model, window="sequence"), data),
            "core, windows of 3": gradient_of(core.D_RTRL(model, window=3), data),
            "core, bptt": gradient_of(core.BPTT(model), data),
        }

    found = run(everything, p)
    (cut, losses), (exact, _) = found["cut"], found["bptt"]
    for name in ("core, one window", "core, windows of 3"):
        assert_close(found[name][0], cut)
        assert relative_error(found[name][1], losses) < 1e-12
    assert_close(found["core, bptt"][0], exact)
    # The cuts matter exactly where the recurrence is more than element-wise.
    furthest = max(errors(cut, exact).values())
    assert furthest < 1e-12 if case.element_wise else furthest > 1e-3
    # A readout loses nothing to them, a leaky one neither.
    outs = {name for name in cut if name.startswith("out.")}
    assert outs
    for name in outs:
        assert relative_error(found["core, windows of 3"][0][name], exact[name]) < 1e-12
        instantaneous = case is not spiking.LEAKY_READOUT
        assert (relative_error(cut[name], found["within"][name]) < 1e-12) == instantaneous
    if case is rate.GRU:  # the reset gate reaches h through Wh alone
        for name in ("cell.Wrz.weight.weight", "cell.Wrz.weight.bias"):
            reset = found["core, windows of 3"][0][name][..., :N_HIDDEN]
            assert relative_error(reset, found["within"][name][..., :N_HIDDEN]) < 1e-12


@pytest.mark.parametrize(
    ("case", "local"),
    [
        (rate.RECURRENT, lambda *a: locals_by_name(leaky_local(*a), "cell.W.weight")),
        (spiking.ADAPTIVE, lambda *a: locals_by_name(adaptive_local(*a), "synapse.comm.weight")),
        (rate.GRU, lambda *a: locals_by_name(gru_locals(*a)[1], "cell.Wh.weight")),
    ],
    ids=["leaky and recurrent", "adaptive lif", "gru"],
)
def test_equals_the_dense_recursion(case: Case, local: Any) -> None:
    model, data = case.model(seed=1), data_for(seed=1)
    algo = core.D_RTRL(model, window=2)

    def everything() -> Any:
        result = gradient_of(algo, data, fresh=False)
        return result, algo.trace.value

    (grads, _), traces = run(everything)
    wanted = {name: dense_d_rtrl(row) for name, row in local(weights_of(model), *data).items()}
    assert_close({name: grads[name] for name in wanted}, {n: g for n, (g, _) in wanted.items()})
    for name, (_, eps) in wanted.items():
        # A bias is the last row of its operation.
        (block,) = traces[name.replace(".bias", ".weight")]
        rows = slice(-1, None) if name.endswith(".bias") else slice(-1)
        for s, trace in block.items():
            own = trace[:, rows]
            assert relative_error(own, eps[:, :, s].reshape(own.shape)) < 1e-12
        assert len(block) == eps.shape[2]


@pytest.mark.parametrize("case", [rate.GRU, rate.STACKED, spiking.ADAPTIVE], ids=lambda c: c.name)
def test_the_gradient_does_not_depend_on_the_window(case: Case) -> None:
    model, data = case.model(), data_for()

    def everything() -> Any:
        windows = (1, 2, 4, "auto")
        return [gradient_of(core.D_RTRL(model, window=k), data) for k in windows]

    one, *others = run(everything)
    assert len(others) == 3
    for grads, losses in others:
        assert_close(grads, one[0])
        assert relative_error(losses, one[1]) < 1e-12


def test_spikes_before_a_reset_credit_the_past_for_every_window() -> None:
    """The readout, live as it is, reads the previous voltage through the spikes of this step."""
    case, data = spiking.RESET_AT_ONCE, data_for(n_steps=12)
    model = case.model()

    def everything(p: Any) -> Any:
        return {
            "bptt": bptt(case.step, p, case.start(), *data),
            "windows": [gradient_of(core.D_RTRL(model, window=k), data) for k in (1, 4, 12)],
        }

    found = run(everything, weights_of(model))
    assert len(found["windows"]) == 3
    for grads, _ in found["windows"]:
        assert_close(grads, found["bptt"][0])


def test_a_layer_read_one_step_late_has_its_credit() -> None:
    """Layer one reaches the loss of step t through its state of step t - 1: not zero."""
    case, data = rate.LATE, data_for()
    model = case.model()
    found = run(lambda: gradient_of(core.D_RTRL(model, window=1), data))[0]
    p = weights_of(model)
    # The last loss alone, with layer two read within the step: L eps by automatic differentiation.
    h = case.start()
    g = np.zeros_like(p["one.W.weight.bias"])
    eps = np.zeros((data.xs.shape[1], N_HIDDEN))
    step = jax.jit(lambda h, x: case.step(p, h, x, lambda v: v, lambda v: v)[0])
    d = 1 / (1 + np.exp(-p["one.time"]))

    def loss(one: Any, h: Any, x: Any, y: Any) -> Any:
        _, out = case.step(p, {**h, "one": one}, x, lambda v: v, lambda v: v)
        return ((out - y) ** 2).sum()

    credit = jax.jit(jax.grad(loss))
    for x, y in zip(*data, strict=True):
        g += (np.asarray(credit(h["one"], h, x, y)) * eps).sum(axis=0)
        operand = np.concatenate([x, h["one"]], axis=-1)
        value = operand @ p["one.W.weight.weight"] + p["one.W.weight.bias"]
        eps = d * eps + (1 - d) * p["one.gain"] * (1 - np.tanh(p["one.gain"] * value) ** 2)
        h = step(h, x)
    assert_close({"one.W.weight.bias": found["one.W.weight.bias"]}, {"one.W.weight.bias": g})


def test_credit_inside_a_window() -> None:
    """Over the whole sequence it is BPTT; over a part of it, something in between."""
    case, data = rate.RECURRENT, data_for()
    model = case.model()

    def everything(p: Any) -> Any:
        inside = {"credit": "window"}
        return {
            "bptt": bptt(case.step, p, case.start(), *data),
            "trace": gradient_of(core.D_RTRL(model), data),
            "all": gradient_of(core.D_RTRL(model, window="sequence", **inside), data),
            "part": gradient_of(core.D_RTRL(model, window=3, **inside), data),
            "none": gradient_of(core.D_RTRL(model, window=1, **inside), data),
        }

    found = {name: grads for name, (grads, _) in run(everything, weights_of(model)).items()}
    weight = "cell.W.weight.weight"
    assert_close(found["all"], found["bptt"])
    assert relative_error(found["part"][weight], found["bptt"][weight]) > 1e-3
    assert relative_error(found["part"][weight], found["trace"][weight]) > 1e-3


@pytest.mark.parametrize(
    "case", [rate.RNN, rate.LSTM, rate.GRU, rate.LATE, rate.FEEDBACK], ids=lambda c: c.name
)
def test_what_enters_a_window_has_its_trace(case: Case) -> None:
    """Also through a state that only its own operation reads: the h of a plain RNN and an LSTM."""
    model, data = case.model(), data_for()

    def everything(p: Any) -> Any:
        return {
            "wanted": credit_in_windows(case.step, p, case.start(), *data, k=3),
            "cut off": gradient_of(core.TruncatedBPTT(model, window=3), data),
            "core": gradient_of(core.D_RTRL(model, window=3, credit="window"), data),
        }

    found = run(everything, weights_of(model))
    assert_close(found["core"][0], found["wanted"])
    assert max(errors(found["cut off"][0], found["wanted"]).values()) > 1e-3


def test_float32() -> None:
    case, data = rate.GRU, data_for()
    with jax.enable_x64(False), brainstate.environ.context(precision=32):
        model = case.model()
        data32 = Data(*(a.astype(np.float32) for a in data))
        start = {k: v.astype(np.float32) for k, v in case.start().items()}

        def everything(p: Any) -> Any:
            return {
                "cut": cut_bptt(case.step, p, start, *data32),
                "core": gradient_of(core.D_RTRL(model, window=3), data32),
            }

        found = run(everything, weights_of(model))
    assert all(g.dtype == np.float32 for g in found["core"][0].values())
    assert_close(found["core"][0], found["cut"][0], 1e-5)
