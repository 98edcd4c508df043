"""The sequence driver: sums, means, masks, windows, resets, updates."""

from __future__ import annotations

from typing import Any

import brainstate
import braintools
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import core

from . import rate_models as rate
from . import spiking_models as spiking
from .cases import Data, data_for, going_on, gradient_of, run
from .references import assert_close, named, relative_error, squared_error

ALGORITHMS = {
    "d_rtrl": lambda m: core.D_RTRL(m, window=3),
    "es_d_rtrl": lambda m: core.ES_D_RTRL(m, 0.9, window=3),
    "rank 2": lambda m: core.ES_D_RTRL(m, 2, window=1),
}


def test_sum_mean_mask_and_outputs() -> None:
    """6 steps in windows of 4: the last window is shorter."""
    model, data = rate.GRU.model(), data_for()
    mask = np.asarray([0.0, 1, 1, 0, 2, 1])
    with_mask = Data(data.xs, (data.ys, mask))

    def weighted(out: Any, target: Any) -> Any:
        y, weight = target
        return weight * squared_error(out, y), (out.max(), {"y": y})

    def everything() -> Any:
        algo = core.D_RTRL(model, window=4)
        ways = ({}, {"reduce": "mean"}, {"reduce": "mean", "mask": mask})
        found = [gradient_of(algo, data, **options) for options in ways]
        by_hand = gradient_of(algo, with_mask, loss=weighted, has_aux=True, outputs=True)
        core.initialise(algo, data.xs[0])
        forward = core.evaluate(algo, weighted, *with_mask, per_step_targets=True, has_aux=True)
        rest = [(r.outputs, r.aux, r.losses) for r in (by_hand, forward)]
        return found, by_hand, rest, forward.grads

    found, (by_hand, weighted_losses), (given, forward), none = run(everything)
    (total, losses), (mean, same), (masked, also) = found
    assert_close(mean, {n: g / 6 for n, g in total.items()})
    assert_close(masked, {n: g / mask.sum() for n, g in by_hand.items()})
    for other in (same, also):  # losses are as the loss gave them
        assert relative_error(other, losses) < 1e-12
    assert relative_error(weighted_losses, mask * losses) < 1e-12
    outputs, aux, _ = given
    assert outputs.shape == (*data.xs.shape[:2], 2)
    assert relative_error(aux[0], outputs.max(axis=(1, 2))) < 1e-12
    assert np.array_equal(aux[1]["y"], data.ys)
    for a, b in zip(jax.tree.leaves(forward), jax.tree.leaves(given), strict=True):
        assert relative_error(a, b) < 1e-12
    assert none == {}


def test_targets_are_constant_unless_said_otherwise() -> None:
    model, data = rate.LEAKY.model(), data_for()
    constant = np.broadcast_to(data.ys[0], data.ys.shape)

    def everything() -> Any:
        algo = core.D_RTRL(model)
        core.initialise(algo, data.xs[0])
        once = core.gradient(algo, squared_error, data.xs, data.ys[0])
        core.initialise(algo, data.xs[0])
        each = core.gradient(algo, squared_error, data.xs, constant, per_step_targets=True)
        return once, each

    once, each = run(everything)
    assert_close(once[0], each[0])


@pytest.mark.parametrize(
    ("name", "batching"), [("d_rtrl", "vmap"), ("es_d_rtrl", "manual"), ("rank 2", "manual")]
)
def test_a_sample_may_start_anew(name: str, batching: str) -> None:
    """A reset of one sample, in a window that others follow, cuts its stream in two; the other
    sample goes on."""
    model, data = rate.RECURRENT.model(), data_for()
    reset = np.zeros((6, 2), bool)
    reset[1, 0] = True
    make = ALGORITHMS[name]

    def everything() -> Any:
        parts = [
            Data(data.xs[:1, :1], data.ys[:1, :1]),
            Data(data.xs[1:, :1], data.ys[1:, :1]),
            Data(data.xs[:, 1:], data.ys[:, 1:]),
        ]
        return (
            gradient_of(make(model), data, batching=batching, reset=reset),
            [gradient_of(make(model), part, batching=batching) for part in parts],
        )

    (streamed, losses), parts = run(everything)
    assert len(parts) == 3
    assert_close(streamed, jax.tree.map(lambda *g: sum(g), *(g for g, _ in parts)), 1e-11)
    wanted = np.concatenate([parts[0][1], parts[1][1]]) + parts[2][1]
    assert relative_error(losses, wanted) < 1e-12


@pytest.mark.parametrize(("clip_norm", "batching"), [(None, "manual"), (0.1, "vmap")])
def test_updates_every_few_steps(clip_norm: float | None, batching: str) -> None:
    """`train(update_every=2)` over 5 steps is three updates, with states and traces going on."""
    data = data_for(n_steps=5)

    def trained() -> Any:
        model = rate.GRU.model()
        weights = model.states(brainstate.ParamState)
        optimizer = braintools.optim.SGD(lr=0.05)
        optimizer.register_trainable_weights(weights)
        return model, weights, optimizer

    model, weights, optimizer = trained()
    other, other_weights, _ = trained()

    def by_driver() -> Any:
        algo = core.D_RTRL(model)
        core.initialise(algo, data.xs[0], batching=batching)
        result = core.train(
            algo,
            squared_error,
            *data,
            optimizer,
            update_every=2,
            clip_norm=clip_norm,
            per_step_targets=True,
        )
        return result.losses, result.grads

    def by_hand() -> Any:
        algo, losses = core.D_RTRL(other), []
        core.initialise(algo, data.xs[0])
        for start in range(0, 5, 2):
            result = going_on(algo, data.at(np.s_[start : start + 2]))
            scale = 1.0
            if clip_norm is not None:
                squares = sum((g**2).sum() for g in jax.tree.leaves(result.grads))
                scale = jnp.minimum(1.0, clip_norm / jnp.sqrt(squares))
            for path, state in other_weights.items():
                state.value = jax.tree.map(
                    lambda w, g, scale=scale: w - 0.05 * scale * g, state.value, result.grads[path]
                )
            losses.append(result.losses)
        return losses, result.grads

    losses, last = brainstate.transform.jit(by_driver)()
    pieces, last_by_hand = brainstate.transform.jit(by_hand)()
    assert len(pieces) == 3
    tolerance = 1e-6 if clip_norm else 1e-12  # brainstate divides by the norm plus 1e-6
    assert relative_error(losses, np.concatenate(pieces)) < tolerance
    assert_close(named(last), named(last_by_hand), tolerance)
    assert_close(named(weights), named(other_weights), tolerance)


def test_one_update_a_sequence() -> None:
    model, data = rate.LEAKY.model(), data_for()
    before = {n: np.array(w) for n, w in named(model.states(brainstate.ParamState)).items()}
    optimizer = braintools.optim.SGD(lr=0.5)
    optimizer.register_trainable_weights(model.states(brainstate.ParamState))

    def everything() -> Any:
        plain = gradient_of(core.D_RTRL(model), data)
        algo = core.D_RTRL(model)
        core.initialise(algo, data.xs[0])
        return plain, core.train(
            algo, squared_error, *data, optimizer, clip_norm=None, per_step_targets=True
        )

    (grads, losses), (same, same_losses) = run(everything)
    assert_close(same, grads)
    assert relative_error(same_losses, losses) < 1e-12
    after = named(model.states(brainstate.ParamState))
    assert_close(after, {n: before[n] - 0.5 * grads[n] for n in before})


@pytest.mark.parametrize("name", ["d_rtrl", "rank 2"])
def test_streams_go_on_and_reset_traces_forgets(name: str) -> None:
    """Two calls with fresh=False are one sequence; `reset_traces` starts the traces anew."""
    model, data = spiking.DELTA.model(), data_for()
    first, second = (Data(*(a[part] for a in data)) for part in (slice(0, 3), slice(3, 6)))

    def everything() -> Any:
        algo = ALGORITHMS[name](model)
        whole = gradient_of(algo, data)
        total = gradient_of(algo, first, fresh=False)
        states = model.states(brainstate.HiddenState)
        kept = {path: state.value for path, state in states.items()}

        def rest(fresh: bool) -> Any:
            for path, state in states.items():
                state.value = kept[path]
            return core.gradient(algo, squared_error, *second, per_step_targets=True, fresh=fresh)

        gone_on, traces = rest(fresh=False), algo.trace.value
        algo.reset_traces()
        zero, after_reset = algo.trace.value, rest(fresh=False)
        joined = jax.tree.map(jnp.add, total.grads, gone_on.grads)
        return whole, rest(fresh=True), after_reset, joined, traces, zero

    (whole, _), (alone, _), (after_reset, _), joined, traces, zero = run(everything)
    weight = "synapse.comm.weight.weight"
    assert relative_error(named(joined)[weight], whole[weight]) < (
        1e-3 if name == "rank 2" else 1e-12
    )
    assert_close(after_reset, alone)
    assert any(np.any(leaf) for leaf in jax.tree.leaves(traces))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(zero))


@pytest.mark.parametrize("window", [1, "sequence"])
def test_a_sequence_that_stands_alone_keeps_no_trace(window: Any) -> None:
    """Whatever its windows are, what goes on from there has the same gradient."""
    model, data = spiking.DELTA.model(), data_for(n_steps=3)
    algo = core.D_RTRL(model, window=window)
    traces = run(lambda: (gradient_of(algo, data), algo.trace.value)[1])
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(traces))


def test_windows_are_chosen_from_a_budget() -> None:
    """`auto`: as many steps as max(a quarter of the traces, 8 MiB) holds, preferring divisors."""
    model, data = rate.GRU.model(), data_for()

    def chosen() -> Any:
        algo = core.D_RTRL(model)
        core.initialise(algo, data.xs[0])
        most = 8 * 2**20 // algo.graph.step_bytes()
        found = [algo.steps_per_window(7), algo.steps_per_window(10 * most)]
        found.append(core.D_RTRL(model, window="sequence").steps_per_window(10 * most))
        core.initialise(algo, data.xs[0], batching="vmap")
        mapped = algo.over_samples(2)  # as many bytes a step as the batch of two
        return most, [*found, mapped.steps_per_window(10 * most)]

    most, (short, long, whole, mapped) = run(chosen)
    assert short == 7
    assert long == mapped == most  # it divides
    assert whole == 10 * most


def test_an_update_that_is_masked_out_changes_nothing() -> None:
    """With the loss on the last step only, the mean over the steps before it is of none."""
    data = data_for()

    def trained(mask: Any) -> Any:
        model = rate.GRU.model()
        weights = model.states(brainstate.ParamState)
        optimizer = braintools.optim.SGD(lr=0.05)
        optimizer.register_trainable_weights(weights)
        algo = core.D_RTRL(model)

        def once() -> Any:
            core.initialise(algo, data.xs[0])
            before = {path: state.value for path, state in weights.items()}
            core.train(
                algo,
                squared_error,
                *data,
                optimizer,
                update_every=2,
                per_step_targets=True,
                reduce="mean",
                mask=mask,
            )
            return before, {path: state.value for path, state in weights.items()}

        return run(once)

    nothing = np.zeros(6)
    before, after = trained(nothing)
    assert all(map(np.array_equal, jax.tree.leaves(before), jax.tree.leaves(after)))
    before, after = trained(nothing + np.eye(6)[-1])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
    assert not all(map(np.array_equal, jax.tree.leaves(before), jax.tree.leaves(after)))
    with pytest.raises(core.InvalidArgument, match=r"a mask of shape \(6,\)"):
        trained(np.ones(9))
