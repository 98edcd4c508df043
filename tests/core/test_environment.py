"""What a model reads from brainstate.environ: time advances, and settings belong to the graph.

The reference is brainstate's own loop, which sets `i` and `t` for every step.
"""

from __future__ import annotations

import functools
from typing import Any

import brainstate
import braintools
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import core

from . import rate_models as rate
from .cases import Data, data_for, going_on, gradient_of, run
from .references import assert_close, named, own_loop, relative_error, squared_error

environ = brainstate.environ


class Clocked(rate.Leaky):
    """Its input swells with time, and every third step is left out."""

    def update(self, x: Any) -> Any:
        time = environ.get("t") / (2 * u.ms)
        return super().update(x * jnp.sin(1.0 + time) * (environ.get("i") % 3 != 1))


class Dropping(rate.Leaky):
    def __init__(self) -> None:
        super().__init__()
        self.drop = brainstate.nn.Dropout(0.5)

    def update(self, x: Any) -> Any:
        return self.out(self.drop(self.cell(x)))


def clocked() -> Any:
    brainstate.random.seed(0)
    return Clocked()


@functools.cache
def with_the_clock() -> Any:
    """Gradients and losses of the model's own loop."""
    return run(lambda: own_loop(clocked(), squared_error, data_for()))


@pytest.mark.parametrize(
    ("make", "batching"),
    [
        (lambda m: core.CheckpointedBPTT(m, segment=2), "manual"),
        (lambda m: core.RTRL(m, window=2), "manual"),
        (lambda m: core.D_RTRL(m, window=3), "vmap"),
        (core.BPTT, "vmap"),
    ],
    ids=["checkpointed", "rtrl", "d_rtrl", "bptt"],
)
def test_the_clock_advances_with_the_steps(make: Any, batching: str) -> None:
    model, data = clocked(), data_for()

    def everything() -> Any:
        whole = gradient_of(make(model), data, batching)
        algo = make(model)
        core.initialise(algo, data.xs[0], batching=batching)
        parts = [
            core.evaluate(algo, squared_error, data.xs[p], data.ys[p], per_step_targets=True).losses
            for p in (slice(0, 3), slice(3, 6))
        ]
        return whole, jnp.concatenate(parts)

    (grads, losses), evaluated = run(everything)
    wanted, wanted_losses = with_the_clock()
    assert relative_error(losses, wanted_losses) < 1e-12
    assert relative_error(evaluated, wanted_losses) < 1e-12
    assert_close(grads, wanted, 1e-11)


def test_streams_and_updates_go_on_in_time() -> None:
    """In pieces with `fresh=False`, in updates, and step by step: the time is that of the stream,
    also where the environment holds the beginning all the while."""
    model, data = clocked(), data_for()

    class Nothing:
        def update(self, grads: Any) -> None:
            pass

    def started() -> Any:
        algo = core.D_RTRL(model)
        core.initialise(algo, data.xs[0])
        return algo

    def driven() -> Any:
        algo, pieces = started(), []
        for part in (slice(0, 2), slice(2, 6)):
            pieces.append(going_on(algo, data.at(part)).losses)
        updates = core.train(
            started(), squared_error, *data, Nothing(), update_every=3, per_step_targets=True
        ).losses
        return jnp.concatenate(pieces), updates

    def step_by_step() -> Any:
        algo = started()
        return jnp.stack([algo(x) for x in data.xs])

    def told() -> Any:
        algo, given = started(), []
        for k, x in enumerate(data.xs):
            with environ.context(i=k, t=k * 1.0 * u.ms):
                given.append(algo(x))
        return jnp.stack(given)

    def everything() -> Any:
        plain, outs = driven(), step_by_step()
        with environ.context(i=0, t=0.0 * u.ms):
            return (plain, driven()), (outs, told())

    losses = with_the_clock()[1]
    outs = np.stack([np.asarray(o) for o in _outputs(model, data)])
    by_drivers, by_steps = run(everything)
    for pieces, updates in by_drivers:
        assert relative_error(pieces, losses) < 1e-12
        assert relative_error(updates, losses) < 1e-12
    for found in by_steps:
        assert relative_error(found, outs) < 1e-12


def test_a_sequence_may_begin_at_another_time() -> None:
    model, data = clocked(), data_for()

    def everything() -> Any:
        algo = core.D_RTRL(model)
        core.initialise(algo, data.xs[0])
        core.evaluate(algo, squared_error, data.xs[:4], data.ys[:4], per_step_targets=True)
        brainstate.nn.init_all_states(model, batch_size=2)
        core.initialise(algo, data.xs[0])
        with environ.context(i=4, t=4.0 * u.ms):
            return core.evaluate(
                algo, squared_error, data.xs[4:], data.ys[4:], per_step_targets=True
            ).outputs

    assert relative_error(run(everything), np.stack(_outputs(model, data, first=4))) < 1e-12


def _outputs(model: Any, data: Data, first: int = 0) -> list[Any]:
    brainstate.nn.init_all_states(model, batch_size=2)
    found = []
    for k in range(first, len(data.xs)):
        with environ.context(i=k, t=k * 1.0 * u.ms):
            found.append(np.asarray(model(jnp.asarray(data.xs[k]))))
    return found


def test_noise_that_samples_share_is_refused_when_they_are_mapped() -> None:
    """Dropout draws from the one stream of brainstate.random."""
    model, data = Dropping(), data_for()
    with (
        environ.context(fit=True),
        pytest.raises(
            core.InvalidArgument, match=r'got RandomState, .* Batch manually: .*batching="manual"'
        ),
    ):
        run(lambda: gradient_of(core.BPTT(model), data, "vmap"))


@pytest.mark.parametrize("make", [core.BPTT, core.D_RTRL])
def test_another_setting_is_another_graph(make: Any) -> None:
    """Compiled under fit=True; used without dropout, then with it again."""
    brainstate.random.seed(0)
    model, data = Dropping(), data_for()
    plain = rate.Leaky()
    for path, state in plain.states(brainstate.ParamState).items():
        state.value = model.states()[path].value

    def everything() -> Any:
        algo = make(model)
        with environ.context(fit=True):
            core.initialise(algo, data.xs[0])
        with environ.context(fit=False):
            still = core.gradient(algo, squared_error, *data, per_step_targets=True)
            core.initialise(algo, data.xs[0])
        with environ.context(fit=True):
            fitting = core.gradient(algo, squared_error, *data, per_step_targets=True)
            core.initialise(algo, data.xs[0])
        with environ.context(fit=False):
            stepwise = algo(data.xs[0])
        return still, fitting, stepwise, gradient_of(make(plain), data)

    (still, _), (fitting, _), stepwise, (wanted, _) = run(everything)
    assert_close(still, wanted)
    assert relative_error(fitting["out.weight.weight"], wanted["out.weight.weight"]) > 1e-2
    brainstate.nn.init_all_states(plain, batch_size=2)
    assert relative_error(stepwise, plain(jnp.asarray(data.xs[0]))) < 1e-12


def test_a_loss_may_read_the_clock() -> None:
    model, data = rate.LEAKY.model(), data_for()

    def loss(out: Any, y: Any) -> Any:
        return squared_error(out, y) * (1 + environ.get("i")) * (environ.get("t") / u.ms)

    def everything() -> Any:
        algo = core.D_RTRL(model, window=2)
        core.initialise(algo, data.xs[0], batching="vmap")
        return (
            core.gradient(algo, loss, *data, per_step_targets=True),
            own_loop(model, loss, data),
        )

    (grads, losses), (wanted, wanted_losses) = run(everything)
    assert relative_error(losses, wanted_losses) < 1e-12
    assert_close(grads, wanted, 1e-11)


@pytest.mark.parametrize("what", ["time", "input"])
def test_a_step_that_needs_values_beforehand_is_refused(what: str) -> None:
    class Branching(rate.Leaky):
        def update(self, x: Any) -> Any:
            large = environ.get("i") > 2 if what == "time" else x.sum() > 0
            return super().update(x if large else 2 * x)

    with pytest.raises(core.NotRepresentable, match="i and t, which change with the steps"):
        run(lambda: core.initialise(core.D_RTRL(Branching()), data_for().xs[0]))


@pytest.mark.parametrize(
    ("make", "batching"),
    [
        (lambda m: core.RTRL(m, window=2), "manual"),
        (lambda m: core.D_RTRL(m, window=1), "vmap"),
        (lambda m: core.D_RTRL(m, window=2, credit="window"), "manual"),
        (lambda m: core.ES_D_RTRL(m, 0.9, window=2), "manual"),
        (lambda m: core.ES_D_RTRL(m, 2, window=1), "manual"),
    ],
    ids=["rtrl", "d_rtrl vmap", "credit in windows", "es_d_rtrl", "rank 2"],
)
def test_two_calls_are_one(make: Any, batching: str) -> None:
    """Of a stream that goes on: clock, states, traces, masks and what the loss reads."""
    model, data = clocked(), data_for()
    mask = np.asarray([[1.0, 0], [0, 1], [2, 1], [1, 1], [0, 0], [0, 1]])

    def loss(out: Any, y: Any) -> Any:
        swell = 1 + jnp.cos(environ.get("t") / u.ms) + environ.get("i")
        return squared_error(out, y) + swell * (model.cell.h.value**2).sum()

    def calls(*parts: slice) -> Any:
        algo = make(model)
        core.initialise(algo, data.xs[0], batching=batching)
        found = [
            core.gradient(
                algo, loss, data.xs[p], data.ys[p], per_step_targets=True, mask=mask[p], fresh=False
            )
            for p in parts
        ]
        grads = jax.tree.map(lambda *g: sum(g), *(named(r.grads) for r in found))
        return grads, jnp.concatenate([r.losses for r in found]), algo.clock.value

    def everything() -> Any:
        return calls(slice(0, 6)), calls(slice(0, 2), slice(2, 6))

    (grads, losses, clock), (both, pieces, later) = run(everything)
    assert relative_error(pieces, losses) < 1e-12
    assert np.all(clock["i"] == 6)  # of every sample
    assert np.all(later["i"] == 6)
    assert_close(both, grads, 1e-11)


class Told(rate.Leaky):
    """Which step it is."""

    def update(self, x: Any) -> Any:
        return 0 * super().update(x) + environ.get("i")


@pytest.mark.parametrize("every", ["sequence", 1, 4])
def test_a_beginning_that_is_said_late_is_that_of_the_first_step_alone(every: int | str) -> None:
    """The environment holds it for all calls; `fresh` begins there again."""
    brainstate.random.seed(0)
    model, data = Told(), data_for()
    optimizer = braintools.optim.SGD(0.0)
    optimizer.register_trainable_weights(model.states(brainstate.ParamState))

    def told() -> Any:
        algo = core.D_RTRL(model)
        core.initialise(algo, data.xs[0])
        with environ.context(i=100):
            return [
                core.train(
                    algo,
                    lambda out, y: (squared_error(out, y), out[0, 0]),
                    data.xs,
                    data.ys,
                    optimizer,
                    update_every=every,
                    per_step_targets=True,
                    fresh=fresh,
                    has_aux=True,
                ).aux
                for fresh in (False, False, True)
            ]

    # Also in calls of their own, nothing compiled around them.
    found = told() if every == "sequence" else run(told)
    wanted = 100 + np.arange(6)
    np.testing.assert_array_equal(found, [wanted, wanted + 6, wanted])


def test_compiled_calls_go_on_in_time_where_the_environment_holds_the_beginning() -> None:
    brainstate.random.seed(0)
    model, data = Told(), data_for()
    optimizer = braintools.optim.SGD(0.0)
    optimizer.register_trainable_weights(model.states(brainstate.ParamState))

    def started() -> Any:
        algo = core.D_RTRL(model)
        core.initialise(algo, data.xs[0])
        return algo

    stream = core.Stream(started(), squared_error, optimizer)
    with environ.context(i=100):
        told = [stream(x, y)[1][0, 0] for x, y in zip(data.xs, data.ys, strict=True)]
    np.testing.assert_array_equal(told, 100 + np.arange(6))
    algo = started()
    options: dict[str, Any] = {"per_step_targets": True, "fresh": False, "outputs": True}

    def outputs() -> Any:
        return core.gradient(algo, squared_error, data.xs[:2], data.ys[:2], **options).outputs

    compiled = brainstate.transform.jit(outputs)
    with environ.context(i=100):
        found = np.concatenate([compiled()[:, 0, 0] for _ in range(3)])
    np.testing.assert_array_equal(found, 100 + np.arange(6))


def test_a_step_that_would_do_without_the_clock_is_told_it_as_well() -> None:
    class Optional(rate.Leaky):
        def update(self, x: Any) -> Any:
            return 0 * super().update(x) + environ.get("i", 100)

    data, algo = data_for(), core.D_RTRL(Optional())
    core.initialise(algo, data.xs[0])
    found = core.evaluate(algo, squared_error, *data, per_step_targets=True).outputs
    np.testing.assert_array_equal(found[:, 0, 0], np.arange(6))
