"""Steps that are held back from a trace change no gradient: for any room, batching and update."""

from __future__ import annotations

from typing import Any

import brainstate
import braintools
import jax
import numpy as np
import pytest

import core
from core.traces import dense
from core.traces.pending import Pending

from . import rate_models as rate
from . import spiking_models as spiking
from .cases import N_STEPS, Case, Data, data_for, going_on, gradient_of, run, weights_of
from .references import assert_close, cut_bptt, named, relative_error, squared_error


def d_rtrl(model: Any, room: int, window: int = 1, **options: Any) -> Any:
    return core.D_RTRL(model, window=window, pending=room, **options)


@pytest.mark.parametrize(
    ("case", "ways"),
    [
        (rate.GRU, [(2, 1, "manual"), (5, 1, "vmap")]),
        (rate.LATE, [(5, 1, "manual")]),
        (spiking.ADAPTIVE, [(5, 1, "manual"), (6, 3, "manual")]),
        (spiking.RESET_AT_ONCE, [(6, 1, "manual")]),
    ],
    ids=lambda v: getattr(v, "name", ""),
)
def test_the_gradient_is_that_of_bptt_with_two_cuts(case: Case, ways: list[Any]) -> None:
    """Several states a neuron, columns that feed no state, layers read late."""
    model, data = case.model(), data_for()

    def everything(p: Any) -> Any:
        return cut_bptt(case.step, p, case.start(), *data), [
            gradient_of(d_rtrl(model, room, window), data, batching)
            for room, window, batching in ways
        ]

    (wanted, losses), found = run(everything, weights_of(model))
    for grads, own in found:
        assert_close(grads, wanted)
        assert relative_error(own, losses) < 1e-12


def test_single_samples() -> None:
    model, data = spiking.ADAPTIVE.model(), data_for()

    @brainstate.transform.jit
    def alone(sample: Data) -> Any:
        return named(gradient_of(d_rtrl(model, 5), sample, "single").grads)

    whole, _ = run(lambda: gradient_of(core.D_RTRL(model, window="sequence"), data))
    one, two = (alone(Data(data.xs[:, b], data.ys[:, b])) for b in range(2))
    assert_close({k: one[k] + two[k] for k in one}, whole)


@pytest.mark.parametrize(("room", "batching"), [(2, "manual"), (5, "vmap")])
def test_restarts_and_masks(room: int, batching: str) -> None:
    """Against one window, which holds no trace; a sample is NaN before it starts anew."""
    model, data = spiking.ADAPTIVE.model(), data_for()
    reset, mask = np.zeros((N_STEPS, 2), bool), np.ones((N_STEPS, 2))
    reset[3, 1], reset[5] = True, True
    mask[:3, 1], mask[4, 0] = 0, 0.5
    bad = Data(data.xs.copy(), data.ys)
    bad.xs[1, 1] = np.nan

    def everything() -> Any:
        options = {"batching": batching, "reset": reset, "mask": mask}
        whole = gradient_of(core.D_RTRL(model, window="sequence"), data, **options)
        return whole, gradient_of(d_rtrl(model, room), bad, **options)

    (wanted, _), (found, _) = run(everything)
    assert_close(found, wanted, 1e-11)


@pytest.mark.parametrize(
    ("update_every", "batching", "room"), [(1, "vmap", 5), (1, "manual", 2), (3, "manual", 5)]
)
def test_updates_on_the_way(update_every: int, batching: str, room: int) -> None:
    """The weights move under the steps that are held back. Reference: every step written at once,
    by calls of the algorithm one after another."""
    case, data = rate.GRU, data_for()
    model = case.model()
    start = weights_of(model)

    def restored() -> Any:
        for path, state in model.states(brainstate.ParamState).items():
            state.value = kept[path]
        optimizer = braintools.optim.Adam(0.05)
        optimizer.register_trainable_weights(model.states(brainstate.ParamState))
        return optimizer

    kept = {path: s.value for path, s in model.states(brainstate.ParamState).items()}

    def by_calls() -> Any:
        optimizer = restored()
        algo = core.D_RTRL(model)
        core.initialise(algo, data.xs[0])
        weights = model.states(brainstate.ParamState)
        update = brainstate.transform.jit(optimizer.update)

        @brainstate.transform.jit
        def gradient(x: Any, y: Any) -> Any:
            return brainstate.transform.grad(lambda: squared_error(algo(x), y), weights)()

        for first in range(0, N_STEPS, update_every):
            steps = range(first, min(first + update_every, N_STEPS))
            parts = [gradient(data.xs[t], data.ys[t]) for t in steps]
            update(jax.tree.map(lambda *g: sum(g), *parts))
        return named(weights)

    def trained() -> Any:
        optimizer = restored()
        algo = d_rtrl(model, room)
        core.initialise(algo, data.xs[0], batching)
        core.train(
            algo, squared_error, *data, optimizer, per_step_targets=True, update_every=update_every
        )
        held = [a for a in jax.tree.leaves(algo.trace.value, is_leaf=_pending) if _pending(a)]
        assert not held
        return named(model.states(brainstate.ParamState))

    wanted = by_calls()
    assert_close(run(trained), wanted, 1e-11)
    assert max(np.abs(wanted[k] - start[k]).max() for k in start) > 1e-2


def _pending(a: Any) -> bool:
    return isinstance(a, Pending)


def test_traces_go_on_between_sequences() -> None:
    """Also of another length, and by calls."""
    model, data = spiking.ADAPTIVE.model(), data_for()

    def everything() -> Any:
        found = []
        for room in (1, 3):
            algo = d_rtrl(model, room)
            gradient_of(algo, data, fresh=False)
            again = [going_on(algo, data.at(part)) for part in (slice(0, 4), slice(2, 6))]
            found.append((named(again[0].grads), named(again[1].grads), algo.trace.value))
        return found

    one, other = run(everything)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert relative_error(a, b) < 1e-11


def test_room_follows_from_sizes() -> None:
    """A trace that a cache holds is written at once; `pending` says otherwise."""
    model = brainstate.nn.Sequential(brainstate.nn.GRUCell(8, 8), brainstate.nn.Linear(8, 2))

    def rooms(algo: Any, batch: int, steps: int) -> set[int]:
        core.initialise(algo, np.zeros((batch, 8), np.float32))
        opened = jax.eval_shape(lambda t: algo.hold_traces(t, steps), algo.trace.value)
        leaves = jax.tree.leaves(opened, is_leaf=_pending)
        return {a.room for a in leaves if _pending(a)}

    assert rooms(core.D_RTRL(model), 2, 1) == set()
    assert len(rooms(core.D_RTRL(model), 2**15, 1)) == 1
    assert rooms(core.D_RTRL(model), 2**15, 16) == set()
    assert rooms(core.D_RTRL(model, pending=7), 2, 1) == {7}
    assert rooms(core.D_RTRL(model, pending=7), 2, 3) == {6}
    assert rooms(core.D_RTRL(model, pending=7), 2, 4) == set()
    assert rooms(core.ES_D_RTRL(model, 0.9), 2**15, 1) == set()
    with pytest.raises(core.InvalidArgument, match="pending to be"):
        core.D_RTRL(model, pending=0)


@pytest.mark.parametrize("batch", [1, 4, 7, 12, 40])
def test_a_trace_is_contracted_with_the_credit_of_every_sample(batch: int) -> None:
    draw = np.random.default_rng(0)
    eps, credit = draw.normal(size=(batch, 5, 3)), draw.normal(size=(batch, 3))
    pull = jax.jit(lambda eps, ct: jax.vjp(lambda dw: dense._by_samples(eps, dw), eps[0])[1](ct))
    (found,) = pull(eps, credit)
    np.testing.assert_allclose(found, np.einsum("bih,bh->ih", eps, credit), rtol=1e-12)
