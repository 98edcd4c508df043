"""Learned initial states: the gradient of what `init_state` reads, also in restarted samples."""

from __future__ import annotations

import functools
from typing import Any

import brainstate
import braintools
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import core

from . import rate_models as rate
from .cases import N_HIDDEN, Data, data_for, going_on, gradient_of, run
from .references import assert_close, named, own_loop, relative_error, squared_error

ALGORITHMS = {
    "bptt": core.BPTT,
    "d_rtrl, 3": lambda m: core.D_RTRL(m, window=3),
    "checkpointed": lambda m: core.CheckpointedBPTT(m, segment=2),
    "rtrl": lambda m: core.RTRL(m, window=2),
    "rank 9": lambda m: core.ES_D_RTRL(m, 9, window=2),
}


class Begins(rate.LeakyTanh):
    """h_0 = tanh(h0 + bias of W), and a state that begins at zero."""

    def __init__(self, n_in: int) -> None:
        super().__init__(n_in)
        self.h0 = brainstate.ParamState(np.linspace(-0.5, 0.7, N_HIDDEN))

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        shape = (N_HIDDEN,) if batch_size is None else (batch_size, N_HIDDEN)
        start = jnp.tanh(self.h0.value + self.W.weight.value["bias"])
        self.h = brainstate.HiddenState(jnp.broadcast_to(start, shape))
        self.a = brainstate.HiddenState(jnp.zeros(shape))

    def update(self, x: Any) -> Any:
        h = super().update(x)
        self.a.value = 0.5 * self.a.value + h
        return h + self.a.value


class Net(rate.Leaky):
    def __init__(self) -> None:
        brainstate.random.seed(0)
        super().__init__()
        self.cell = Begins(3)


@functools.cache
def own_loops() -> Any:
    """Gradients and losses of the three sequences that a restart makes."""
    model, data = Net(), data_for()
    parts = [np.s_[:4, 1:], np.s_[4:, 1:], np.s_[:, :1]]
    return run(
        lambda: [own_loop(model, squared_error, Data(*(a[part] for a in data))) for part in parts]
    )


@pytest.mark.parametrize(
    ("name", "batching"), list(zip(ALGORITHMS, ["vmap"] * 2 + ["manual"] * 3, strict=True))
)
def test_the_gradient_reaches_the_beginning(name: str, batching: str) -> None:
    """Of a stream in which one sample starts anew."""
    model, data = Net(), data_for()
    reset = np.zeros((6, 2), bool)
    reset[4, 1] = True
    algo = ALGORITHMS[name](model)
    streamed, losses = run(lambda: gradient_of(algo, data, batching, reset=reset))
    (first, l1), (second, l2), (other, l3) = own_loops()
    assert relative_error(losses, np.concatenate([l1, l2]) + l3) < 1e-12
    assert_close(streamed, {k: first[k] + second[k] + other[k] for k in first}, 1e-10)


@pytest.mark.parametrize("batching", ["manual", "vmap"])
def test_all_samples_begin_anew_at_a_step(batching: str) -> None:
    """As many steps as samples: a reset of steps is not taken for one of samples."""
    model, xs = Net(), data_for(n_steps=3).xs
    data = Data(np.concatenate([xs, xs[:, :1] + 1], axis=1), np.ones((3, 3, 2)))
    steps = np.array([False, True, False])

    def everything() -> Any:
        both = (steps, np.stack([steps] * 3, axis=1))
        return [gradient_of(core.D_RTRL(model), data, batching, reset=reset)[0] for reset in both]

    assert_close(*map(named, run(everything)))


def test_only_what_begins_has_it() -> None:
    """The second half of a stream does not; a loss of single calls does, at the first."""
    model, data = Net(), data_for(n_steps=4)
    weights = model.states(brainstate.ParamState)

    def everything() -> Any:
        algo = core.D_RTRL(model)
        first = gradient_of(algo, Data(data.xs[:2], data.ys[:2]), fresh=False)
        rest = going_on(algo, data.at(np.s_[2:]))
        core.initialise(algo, data.xs[0])
        calls = [
            brainstate.transform.grad(lambda x=x, y=y: squared_error(algo(x), y), weights)()
            for x, y in zip(data.xs, data.ys, strict=True)
        ]
        return (
            first,
            rest,
            jax.tree.map(lambda *g: sum(g), *calls),
            own_loop(model, squared_error, data)[0],
        )

    (first, _), (rest, _), calls, wanted = run(everything)
    assert_close({k: first[k] + rest[k] for k in wanted}, wanted, 1e-10)
    assert_close(named(calls), wanted, 1e-10)


def test_the_next_sequence_begins_as_well() -> None:
    """Its states are put back to the beginning, and the traces to zero."""
    model, data = Net(), data_for(n_steps=4)
    weights = model.states(brainstate.ParamState)
    optimizer = braintools.optim.SGD(0.0)
    optimizer.register_trainable_weights(weights)

    def everything() -> Any:
        algo = core.D_RTRL(model)
        core.initialise(algo, data.xs[0])
        states = model.states(brainstate.HiddenState).values()
        start = [s.value for s in states]

        def sequence() -> Any:
            for state, value in zip(states, start, strict=True):
                state.value = value
            core.train(
                algo,
                squared_error,
                data.xs[:2],
                data.ys[:2],
                optimizer,
                update_every=2,
                per_step_targets=True,
            )
            rest = going_on(algo, data.at(np.s_[2:]))
            return named(rest.grads)

        return sequence(), sequence()

    first, second = run(everything)
    assert np.abs(first["cell.h0"]).max() > 0
    assert_close(second, first)


def test_a_beginning_by_parameters_and_chance_is_refused() -> None:
    class Chance(Begins):
        def init_state(self, batch_size: int | None = None, **_: Any) -> None:
            super().init_state(batch_size)
            self.h.value = self.h.value + brainstate.random.normal(size=self.h.value.shape)

    model = Net()
    model.cell = Chance(3)
    with pytest.raises(core.NotRepresentable, match=r"on parameters alone; got cell.h, which"):
        core.initialise(core.D_RTRL(model), data_for().xs[0])


def test_decays_keep_the_exact_trace_of_a_beginning() -> None:
    """ES-D-RTRL low-passes weights and biases alone; without a beginning they have the same."""

    class Fixed(Begins):
        def init_state(self, batch_size: int | None = None, **options: Any) -> None:
            super().init_state(batch_size, **options)
            self.h.value = jax.lax.stop_gradient(self.h.value)

    data, reset = data_for(), np.zeros((6, 2), bool)
    reset[4, 1] = True
    models = [Net(), Net()]
    models[1].cell = Fixed(3)
    for path, state in models[0].states(brainstate.ParamState).items():
        models[1].states(brainstate.ParamState)[path].value = state.value

    def everything() -> Any:
        made = [core.ES_D_RTRL(m, (0.8, 0.9), window=3) for m in models]
        algorithms = [*made, core.BPTT(models[0])]
        return [gradient_of(algo, data, "vmap", reset=reset) for algo in algorithms]

    (found, _), (fixed, _), (exact, _) = run(everything)
    assert relative_error(found["cell.h0"], exact["cell.h0"]) < 1e-11
    same = ["cell.W.weight.weight", "out.weight.weight", "cell.gain"]
    assert_close({k: found[k] for k in same}, {k: fixed[k] for k in same}, 1e-11)
    assert not np.any(fixed["cell.h0"])


class Gained(Net):
    """An input that all samples share comes first."""

    def update(self, x: Any) -> Any:
        return super().update(x["x"] * x["gain"].sum())


@pytest.mark.parametrize("batch_size", [2, 4])
def test_states_begin_whatever_stands_beside_the_batch(batch_size: int) -> None:
    """Or it is said that they are not those of `init_state`: their gradient would be zero."""
    data, (model, plain) = data_for(), (Gained(), Net())
    algo = core.D_RTRL(model)
    xs = {"gain": np.full((6, 3), 1 / 3), "x": data.xs}

    def everything() -> Any:
        brainstate.nn.init_all_states(model, batch_size=2)
        if batch_size != 2:
            model.cell.a.value = jnp.zeros((batch_size, N_HIDDEN))
        algo.compile_graph({"gain": xs["gain"][0], "x": xs["x"][0]})
        found = core.gradient(algo, squared_error, xs, data.ys, per_step_targets=True)
        return found, gradient_of(core.D_RTRL(plain), data)

    if batch_size == 2:
        found, wanted = run(everything)
        assert_close(found[0], wanted[0])
    else:
        with pytest.raises(core.NotRepresentable, match="as init_state makes them, which begin"):
            run(everything)
