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
from .cases import N_HIDDEN, N_STEPS, Case, Data, data_for, gradient_of, run, weights_of
from .recursions import BY_HAND, dense_d_rtrl
from .references import assert_close, bptt, credit_in_windows, cut_bptt, errors, relative_error

# What each adds: a state that only its own operation reads, gates, two states of which one is read,
# no recurrence, layers read late and in a loop, and what neurons and synapses do. Windows of one
# step, of four, which leave a shorter one at the end, and of all.
CASES = [
    (rate.RNN, [3]),
    (rate.GRU, [1, 4, "auto"]),
    (rate.LSTM, [3]),
    (rate.LEAKY, [3]),
    (rate.LATE, ["sequence"]),
    (rate.FEEDBACK, [3]),
    (spiking.HARD, [3]),
    (spiking.ADAPTIVE, [1, 4]),
    (spiking.EXPONENTIAL, [3]),
    (spiking.LEAKY_READOUT, [3]),
    # The readout, live as it is, reads the previous voltage through the spikes of this step.
    (spiking.RESET_AT_ONCE, [1, "sequence"]),
]


@pytest.mark.parametrize(("case", "windows"), CASES, ids=lambda v: getattr(v, "name", ""))
def test_equals_bptt_with_two_cuts(case: Case, windows: list[Any]) -> None:
    model, data = case.model(), data_for()

    def everything(p: Any) -> Any:
        by_hand = (case.step, p, case.start(), *data)
        found = [gradient_of(core.D_RTRL(model, window=k), data) for k in windows]
        return cut_bptt(*by_hand), bptt(*by_hand), found

    (cut, losses), (exact, _), found = run(everything, weights_of(model))
    for grads, own in found:
        assert_close(grads, cut)
        assert relative_error(own, losses) < 1e-12
    # The cuts matter exactly where the recurrence is more than element-wise, and to no readout.
    furthest = errors(cut, exact)
    worst = max(furthest.values())
    assert worst < 1e-12 if case.element_wise else worst > 1e-3
    assert max(error for name, error in furthest.items() if name.startswith("out.")) < 1e-12


@BY_HAND
def test_equals_the_dense_recursion(case: Case, local: Any) -> None:
    model, data = case.model(seed=1), data_for(seed=1)
    algo = core.D_RTRL(model, window=2)

    def everything() -> Any:
        result = gradient_of(algo, data, fresh=False)
        return result, algo.trace.value

    (grads, _), traces = run(everything)
    wanted = {name: dense_d_rtrl(row) for name, row in local(weights_of(model), *data).items()}
    of_states = {n: grads[n][..., -N_HIDDEN:] for n in wanted}  # of a GRU's gates the second half
    assert_close(of_states, {n: g for n, (g, _) in wanted.items()})
    for name, (_, eps) in wanted.items():
        # A bias is the last row of its operation.
        (block,) = traces[name.replace(".bias", ".weight")]
        rows = slice(-1, None) if name.endswith(".bias") else slice(-1)
        for s, trace in block.items():
            own = trace[:, rows]
            assert relative_error(own, eps[:, :, s].reshape(own.shape)) < 1e-12
        assert len(block) == eps.shape[2]


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


@pytest.mark.parametrize(
    ("case", "k"),
    [(rate.RNN, 3), (rate.LSTM, 3), (rate.FEEDBACK, 3), (rate.RECURRENT, N_STEPS)],
    ids=lambda v: getattr(v, "name", v),
)
def test_what_enters_a_window_has_its_trace(case: Case, k: int) -> None:
    """Also through a state that only its own operation reads: the h of a plain RNN and an LSTM."""
    model, data = case.model(), data_for()
    algo = core.D_RTRL(model, window=k, credit="window")
    found, _ = run(lambda: gradient_of(algo, data))
    wanted, cut_off = credit_in_windows(case.step, weights_of(model), case.start(), *data, k=k)
    assert_close(found, wanted)
    # Over the whole sequence it is BPTT.
    assert (max(errors(cut_off, wanted).values()) > 1e-3) == (k < N_STEPS)


def test_float32() -> None:
    case, data = rate.GRU, Data(*(a.astype(np.float32) for a in data_for()))
    with jax.enable_x64(False), brainstate.environ.context(precision=32):
        model = case.model()
        start = {k: v.astype(np.float32) for k, v in case.start().items()}
        wanted, _ = cut_bptt(case.step, weights_of(model), start, *data)
        found, _ = run(lambda: gradient_of(core.D_RTRL(model, window=3), data))
    assert all(g.dtype == np.float32 for g in found.values())
    assert_close(found, wanted, 1e-5)
