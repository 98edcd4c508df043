"""Recurrences in time, as a loop and composed: the same, and that of NumPy."""

from __future__ import annotations

from functools import partial
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import core
from core.analysis.schedule import is_affine
from core.execution import recurrence, rollout

from . import spiking_models as spiking
from .cases import data_for, gradient_of, run
from .references import assert_close

K, B, N = 7, 3, 4
# A chain of three states: the product of two steps has a pair that no step has.
PAIRS = [(0, 0), (1, 1), (2, 2), (1, 0), (2, 1)]


@pytest.fixture(params=[False, True], ids=["loop", "composed"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(recurrence, "composes", lambda: request.param)
    return bool(request.param)


def drawn() -> tuple[Any, Any, Any, Any]:
    """Matrices [K, B, N, 3, 3], start, inflow; before a sample starts anew it is NaN."""
    draw = np.random.default_rng(0)
    d, keep = np.zeros((K, B, N, 3, 3)), np.ones((K, B))
    for s, p in PAIRS:
        d[..., s, p] = draw.normal(size=(K, B, N))
    start, inflow = draw.normal(size=(B, N, 3)), draw.normal(size=(K, B, N, 3))
    keep[0, 2] = keep[4, 1] = keep[5, 1] = 0
    inflow[2, 1] = start[2] = np.nan
    return d, start, inflow, keep


def parts(a: Any) -> dict[int, Any]:
    return {s: jnp.asarray(a[..., s]) for s in range(3)}


@pytest.mark.parametrize("backwards", [False, True])
def test_a_loop_reads_in_the_order_of_its_pairs(backwards: bool) -> None:
    """In the order of addresses it would be another program whenever it is traced."""
    order: list[float] = []

    def last(x: Any) -> Any:
        made = [(float(k), x * float(k)) for k in range(2, 10)]
        made.sort(key=lambda pair: id(pair[1]), reverse=backwards)
        order[:] = [k for k, _ in made]
        zero = {p: jnp.zeros((N,)) for p in range(len(made))}
        inflow = {p: jnp.zeros((K, N)) for p in zero}
        transition = {(0, p): d for p, (_, d) in enumerate(made)}
        return recurrence.accumulate(transition, zero, inflow)[1]

    equations = jax.make_jaxpr(last)(np.ones((K, N))).eqns
    factors = {e.outvars[0]: e.invars[1].val for e in equations if e.primitive.name == "mul"}
    (loop,) = (e for e in equations if e.primitive.name == "scan")
    assert [float(factors[v]) for v in loop.invars if v in factors] == order


@pytest.mark.parametrize("restarts", [False, True])
def test_the_recurrence(way: bool, restarts: bool) -> None:
    d, start, inflow, keep = drawn()
    if not restarts:
        keep, start, inflow = np.ones((K, B)), np.nan_to_num(start), np.nan_to_num(inflow)
    z, before = start, []
    for t in range(K):
        z = np.where(keep[t][:, None, None] > 0, z, 0)
        before.append(z)
        z = np.einsum("bnsp,bnp->bns", d[t], z) + inflow[t]
    pairs = {(s, p): jnp.asarray(d[..., s, p]) for s, p in PAIRS}
    given = jnp.asarray(keep) if restarts else None
    found, last = jax.jit(recurrence.accumulate)(pairs, parts(start), parts(inflow), given)
    for s in range(3):
        np.testing.assert_allclose(found[s], np.stack(before)[..., s], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(last[s], z[..., s], rtol=1e-12, atol=1e-12)


def test_its_transpose(way: bool) -> None:
    d, _, inflow, keep = drawn()
    pairs = {(s, p): jnp.asarray(d[..., s, p]) for s, p in PAIRS}

    def last(inflow: Any) -> Any:
        start = parts(np.zeros((B, N, 3)))
        return recurrence.accumulate(pairs, start, parts(inflow), jnp.asarray(keep))[1]

    pull = jax.jit(lambda u, ct: jax.vjp(last, u)[1](ct))
    (found,) = pull(jnp.asarray(inflow), parts(np.ones((B, N, 3))))
    ct, wanted = np.ones((B, N, 3)), np.zeros((K, B, N, 3))
    for t in reversed(range(K)):
        wanted[t] = ct
        ct = np.einsum("bnsp,bns->bnp", d[t], ct)
        ct = np.where(keep[t][:, None, None] > 0, ct, 0)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_products_of_all_later_steps(way: bool) -> None:
    d, *_, keep = drawn()
    pairs = {(s, p): jnp.asarray(d[..., s, p]) for s, p in PAIRS}
    zero = parts(np.zeros((K, B, N, 3)))
    after, first = jax.jit(recurrence.products)(pairs, zero, jnp.asarray(keep))
    a, wanted = np.broadcast_to(np.eye(3), (B, N, 3, 3)), []
    for t in reversed(range(K)):
        wanted.insert(0, a)
        a = np.where(keep[t][:, None, None, None] > 0, a @ d[t], 0)
    for (s, p), found in after.items():
        np.testing.assert_allclose(found, np.stack(wanted)[..., s, p], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(first[s, p], a[..., s, p], rtol=1e-12, atol=1e-12)


def test_low_pass(way: bool) -> None:
    _, start, inflow, keep = drawn()
    z, last, wanted = np.zeros((B, N, 3)), start, []
    for t in range(K):
        z, last = (0.9 * np.where(keep[t][:, None, None] > 0, a, 0) + inflow[t] for a in (z, last))
        wanted.append(z)
    flow, keep = parts(inflow), jnp.asarray(keep)
    found = jax.jit(partial(recurrence.low_pass, 0.9))(flow, keep)
    for s, from_zero in found.items():
        end = recurrence.faded_sum(0.9, start[..., s], flow[s], keep)
        np.testing.assert_allclose(from_zero, np.stack(wanted)[..., s], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(end, last[..., s], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n_steps", [1, 2, K])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_faded_sum(n_steps: int, restarts: bool) -> None:
    _, start, inflow, keep = drawn()
    if not restarts:
        keep, start, inflow = np.ones((K, B)), np.nan_to_num(start), np.nan_to_num(inflow)
    z = start
    for t in range(K - n_steps, K):
        z = 0.9 * np.where(keep[t][:, None, None] > 0, z, 0) + inflow[t]
    given = jnp.asarray(keep)[-n_steps:] if restarts else None
    found = jax.jit(partial(recurrence.faded_sum, 0.9))(start, inflow[-n_steps:], given)
    np.testing.assert_allclose(found, z, rtol=1e-12, atol=1e-12)


def test_no_state_no_recurrence(way: bool) -> None:
    assert recurrence.low_pass(0.9, {}) == {}
    assert recurrence.accumulate({}, {}, {}) == ({}, {})
    assert recurrence.products({}, {}) == ({}, {})


def test_gradients_are_the_same_composed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two states a neuron, a sample that starts anew, windows that hand on a trace."""
    model, data = spiking.ADAPTIVE.model(), data_for(n_steps=6)
    leaky = spiking.LEAKY_READOUT.model()
    reset = np.zeros((6, 2), bool)
    reset[3, 1] = True

    def everything() -> Any:
        algos: list[Any] = [core.D_RTRL(model, window=3), core.ES_D_RTRL(model, 0.9, window=3)]
        found = [gradient_of(algo, data, reset=reset) for algo in algos]
        return [*found, gradient_of(core.BPTT(leaky), data)]

    looped = run(everything)
    for module in (recurrence, rollout):
        monkeypatch.setattr(module, "composes", lambda: True)
    for (one, _), (other, _) in zip(run(everything), looped, strict=True):
        assert_close(one, other)


class OneState(brainstate.nn.Module):
    """h_t = step(h_tm1, x_t, w), read by nothing else."""

    def __init__(self, step: Any) -> None:
        super().__init__()
        self.step, self.w = step, brainstate.ParamState(jnp.ones(N))

    def init_state(self, batch_size: int, **_: Any) -> None:
        self.h = brainstate.HiddenState(jnp.ones((batch_size, N)))

    def update(self, x: Any) -> Any:
        self.h.value = self.step(self.h.value, x, self.w.value)
        return self.h.value


AFFINE: tuple[Any, ...] = (
    lambda h, x, w: w * h + x,
    lambda h, x, w: x - h / w - 2 * h,
    lambda h, x, w: (h + jnp.tanh(x * w)) * x - h,
)
OTHERS: tuple[Any, ...] = (
    lambda h, x, w: w * h * h + x,
    lambda h, x, w: x / (w + h),
    lambda h, x, w: jnp.tanh(h) + x,
    lambda h, x, w: jnp.where(h > 0, w * h, h) + x,
    lambda h, x, w: h[:, ::-1] * w + x,
    lambda h, x, w: h.sum(axis=-1, keepdims=True) * w + x,
    lambda h, x, w: (h * w).astype(jnp.float32).astype(h.dtype) + x,
)


@pytest.mark.parametrize("wanted", [True, False])
def test_what_is_affine(wanted: bool) -> None:
    for step in AFFINE if wanted else OTHERS:
        algo = core.BPTT(OneState(step))
        core.initialise(algo, jnp.ones((B, N)))
        (loop,) = [stage for stage in algo.graph.stages if stage.loop]
        assert is_affine(loop, algo.graph.program.avals) == wanted
