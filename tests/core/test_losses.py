"""Losses that read the model, and masks: brainstate's own loop is the reference."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import core

from . import rate_models as rate
from .cases import Data, data_for, going_on, gradient_of, run, weights_of
from .references import assert_close, own_loop, relative_error, squared_error

ALGORITHMS = {
    "bptt": core.BPTT,
    "checkpointed": lambda m: core.CheckpointedBPTT(m, segment=2),
    "rtrl": lambda m: core.RTRL(m, window=2),
    "d_rtrl, 3": lambda m: core.D_RTRL(m, window=3),
    "credit in windows": lambda m: core.D_RTRL(m, window="sequence", credit="window"),
    "rank 9": lambda m: core.ES_D_RTRL(m, 9, window=2),
}


def of_weight(model: Any) -> Any:
    return (model.out.weight.value["weight"] ** 2).sum() + model.cell.W.weight.value["bias"].sum()


def of_state(model: Any) -> Any:
    return (model.cell.h.value**3).sum()


def both(model: Any) -> Any:
    return of_state(model) * of_weight(model)


WEIGHT = np.asarray([1.0, 1, 0, 2, 1, 0])


def penalised(model: Any, penalty: Any) -> Callable[..., Any]:
    return lambda out, y: squared_error(out, y) + penalty(model)


@functools.cache
def with_and_without(penalty: Any) -> Any:
    """Gradients and losses of the model's own loop, with a penalty and without: for every way."""
    model, data = rate.LEAKY.model(), data_for()
    losses = penalised(model, penalty), squared_error
    return run(lambda: [own_loop(model, loss, data, WEIGHT) for loss in losses])


@pytest.mark.parametrize(
    ("name", "penalty", "batching"),
    [
        ("bptt", both, "vmap"),
        ("checkpointed", both, "manual"),
        ("rtrl", both, "manual"),
        ("d_rtrl, 3", of_weight, "vmap"),
        ("d_rtrl, 3", both, "vmap"),
        ("credit in windows", both, "manual"),
        ("rank 9", both, "manual"),
    ],
)
def test_a_loss_may_read_the_model(name: str, penalty: Any, batching: str) -> None:
    model, data = rate.LEAKY.model(), data_for()
    loss = penalised(model, penalty)

    def ours() -> Any:
        algo = ALGORITHMS[name](model)
        found = gradient_of(algo, data, batching, loss=loss, mask=WEIGHT)
        core.initialise(algo, data.xs[0], batching=batching)
        return found, core.evaluate(algo, loss, *data, per_step_targets=True).losses

    (wanted, wanted_losses), (plain, _) = with_and_without(penalty)
    (grads, losses), evaluated = run(ours)
    assert relative_error(losses, wanted_losses) < 1e-12
    assert relative_error(evaluated, wanted_losses) < 1e-12
    assert_close(grads, wanted, 1e-10)
    assert relative_error(plain["out.weight.weight"], wanted["out.weight.weight"]) > 1e-2


def test_a_state_whose_past_carries_no_other_credit_gets_a_trace() -> None:
    """What the output does not read, the loss may: the graph is compiled for it, and back."""

    class Aside(rate.Leaky):
        def init_state(self, batch_size: int | None = None, **_: Any) -> None:
            self.aside = brainstate.HiddenState(jnp.zeros((batch_size, 4)))

        def update(self, x: Any) -> Any:
            out = super().update(x)
            self.aside.value = 0.5 * self.aside.value + jnp.tanh(self.cell.h.value)
            return out

    model, data = Aside(), data_for()

    def loss(out: Any, y: Any) -> Any:
        return squared_error(out, y) + (model.aside.value**2).sum()

    def everything() -> Any:
        algo = core.D_RTRL(model, window=2)
        first = gradient_of(algo, data)
        read = gradient_of(algo, data, loss=loss)
        brainstate.nn.init_all_states(model, batch_size=2)
        return first, read, gradient_of(algo, data), own_loop(model, loss, data)

    first, (read, losses), again, (wanted, wanted_losses) = run(everything)
    assert_close(read, wanted, 1e-11)
    assert relative_error(losses, wanted_losses) < 1e-12
    assert_close(again[0], first[0])

    def in_flight() -> Any:
        algo = core.D_RTRL(model, window=2)
        gradient_of(algo, data, fresh=False)
        return core.gradient(algo, loss, *data, per_step_targets=True, fresh=False)

    with pytest.raises(core.InvalidArgument, match=r"while traces go on; .* fresh=True"):
        run(in_flight)


def test_a_loss_that_writes_the_model_is_refused() -> None:
    model, data = rate.LEAKY.model(), data_for()

    def loss(out: Any, y: Any) -> Any:
        model.cell.h.value = out @ jnp.ones((2, 4))
        return squared_error(out, y)

    def everything() -> Any:
        algo = core.D_RTRL(model)
        return gradient_of(algo, data, loss=loss)

    with pytest.raises(core.InvalidArgument, match="got one that writes cell"):
        run(everything)


@pytest.mark.parametrize("name", ["checkpointed", "rtrl", "d_rtrl, 3", "es_d_rtrl"])
def test_padding_has_no_influence(name: str) -> None:
    """Masked steps at the end hold NaN and infinity; what is left ends in a shorter window."""
    model, data = rate.LEAKY.model(), data_for()
    make = {**ALGORITHMS, "es_d_rtrl": lambda m: core.ES_D_RTRL(m, 0.9, window=3)}[name]
    mask = np.asarray([1.0, 1, 0, 1, 1, 0])
    padded = Data(data.xs.copy(), data.ys.copy())
    padded.ys[2], padded.ys[5] = np.inf, np.nan
    padded.xs[5, 0], padded.xs[5, 1] = np.inf, np.nan

    def everything() -> Any:
        return (
            gradient_of(make(model), padded, mask=mask),
            gradient_of(make(model), Data(data.xs[:5], data.ys[:5]), mask=mask[:5]),
        )

    (found, _), (wanted, _) = run(everything)
    assert_close(found, wanted, 1e-11)


@pytest.mark.parametrize(
    ("name", "batching", "reduce"),
    [("bptt", "manual", "mean"), ("d_rtrl, 3", "vmap", "mean"), ("rtrl", "manual", "sum")],
)
def test_a_mask_may_weigh_samples(name: str, batching: str, reduce: str) -> None:
    """As a loss that weighs its samples itself; masked samples may hold NaN."""
    model, data = rate.LEAKY.model(), data_for()
    mask = np.asarray([[1.0, 1], [0, 1], [1, 0], [2, 1], [0, 0], [1, 0]])
    padded = Data(data.xs.copy(), data.ys.copy())
    padded.ys[1, 0] = padded.ys[2, 1] = np.nan
    padded.xs[5, 1] = np.nan

    def weighing(out: Any, target: Any) -> Any:
        y, weight = target
        return (weight * ((out - y) ** 2).sum(axis=-1)).sum()

    def everything() -> Any:
        algo = ALGORITHMS[name](model)
        by_hand = gradient_of(algo, Data(data.xs, (data.ys, mask)), batching, weighing)
        half = lambda out, y: squared_error(out, y) / 2  # noqa: E731
        halved = gradient_of(algo, padded, batching, half, mask=mask, reduce=reduce)
        return by_hand, halved

    (wanted, _), (found, _) = run(everything)
    scale = 0.5 / (mask.mean(axis=1).sum() if reduce == "mean" else 1)
    assert_close(found, {k: scale * v for k, v in wanted.items()}, 1e-11)


def test_a_mask_leaves_infinite_outputs_as_they_are() -> None:
    """A class that cannot be has a logit of minus infinity."""

    class Excluding(rate.Leaky):
        def update(self, x: Any) -> Any:
            y = super().update(x)
            return jnp.concatenate([y, jnp.full((*y.shape[:-1], 1), -jnp.inf)], axis=-1)

    def loss(out: Any, label: Any) -> Any:
        return -jnp.log(jnp.take_along_axis(jax.nn.softmax(out), label[:, None], axis=1)).sum()

    model, data = Excluding(), data_for()
    labels = data.ys.argmax(axis=-1)

    def gradient(mask: Any) -> Any:
        algo = core.D_RTRL(model)
        core.initialise(algo, data.xs[0])
        return core.gradient(algo, loss, data.xs, labels, per_step_targets=True, mask=mask)

    def everything() -> Any:
        return [gradient(m) for m in (None, np.ones(6), np.ones((6, 2)))]

    wanted, *found = run(everything)
    for grads, losses in found:
        assert_close(grads, wanted[0])
        assert relative_error(losses, wanted[1]) < 1e-12


@pytest.mark.parametrize("meets", [False, True])
def test_a_mask_of_samples_and_a_parameter_in_the_loss(meets: bool) -> None:
    """A decoder in the loss has no derivative sample by sample; a decay needs none."""
    model, data = rate.Leaky(), data_for()
    weight = next(iter(model.states(brainstate.ParamState).values()))

    def loss(out: Any, y: Any) -> Any:
        size = sum((leaf**2).sum() for leaf in jax.tree.leaves(weight.value))
        return squared_error(out * size, y) if meets else squared_error(out, y) + size

    def everything() -> Any:
        algo = core.D_RTRL(model)
        core.initialise(algo, data.xs[0])
        mask = np.ones((len(data.xs), 2))
        return core.gradient(algo, loss, *data, per_step_targets=True, mask=mask)

    if not meets:
        found, losses = run(everything)
        wanted, wanted_losses = own_loop(model, loss, data)
        assert_close(found, wanted)
        assert relative_error(losses, wanted_losses) < 1e-12
        return
    with pytest.raises(core.InvalidArgument, match="in which a parameter meets the samples"):
        run(everything)


def test_updates_see_the_model_as_it_is() -> None:
    """With an update every second step the penalty follows the weights."""
    import braintools

    data = data_for()

    def trained(every: int, chunks: bool) -> Any:
        model = rate.LEAKY.model()
        weights = model.states(brainstate.ParamState)
        optimizer = braintools.optim.SGD(lr=0.05)
        optimizer.register_trainable_weights(weights)
        algo = core.D_RTRL(model)

        def loss(out: Any, y: Any) -> Any:
            return squared_error(out, y) + both(model)

        def once() -> Any:
            core.initialise(algo, data.xs[0])
            options = {"per_step_targets": True}
            if not chunks:
                losses = core.train(
                    algo, loss, *data, optimizer, update_every=every, **options
                ).losses
            else:
                pieces = []
                for start in range(0, 6, every):
                    part = data.at(np.s_[start : start + every])
                    result = going_on(algo, part, loss)
                    optimizer.update(result.grads)
                    pieces.append(result.losses)
                losses = jnp.concatenate(pieces)
            return losses

        losses = run(once)
        return losses, weights_of(model)

    losses, weights = trained(2, chunks=False)
    wanted, wanted_weights = trained(2, chunks=True)
    assert relative_error(losses, wanted) < 1e-12
    assert_close(weights, wanted_weights)
