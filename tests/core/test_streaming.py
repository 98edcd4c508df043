"""`core.Stream` is `core.train` with an update at every step, one call a step."""

from __future__ import annotations

import pickle
from typing import Any

import brainstate
import braintools
import jax
import numpy as np
import pytest

import core

from . import rate_models as rate
from .cases import data_for, weights_of
from .references import assert_close, named, relative_error, squared_error

MAKE = {
    "d_rtrl": core.D_RTRL,
    "es_d_rtrl": lambda m: core.ES_D_RTRL(m, 0.9),
    "truncated": lambda m: core.TruncatedBPTT(m, window=1),
}


def learner(make: Any, xs: Any) -> Any:
    model = rate.GRU.model()
    optimizer = braintools.optim.Adam(0.05)
    optimizer.register_trainable_weights(model.states(brainstate.ParamState))
    algo = make(model)
    core.initialise(algo, xs[0], "manual" if xs.ndim == 3 else "single")
    return model, algo, optimizer


@pytest.mark.parametrize(("name", "samples"), [("es_d_rtrl", 2), ("truncated", 0)])
def test_it_learns_as_train_does(name: str, samples: int) -> None:
    xs, ys = (a if samples else a[:, 0] for a in data_for())
    model, algo, optimizer = learner(MAKE[name], xs)
    start = weights_of(model)

    def trained() -> Any:
        found = core.train(
            algo,
            squared_error,
            xs,
            ys,
            optimizer,
            update_every=1,
            per_step_targets=True,
            clip_norm=0.5,
        )
        return found.losses

    wanted = brainstate.transform.jit(trained)()
    other, algo, optimizer = learner(MAKE[name], xs)
    stream = core.Stream(algo, squared_error, optimizer, clip_norm=0.5)
    found = []
    for t, (x, y) in enumerate(zip(xs, ys, strict=True)):
        value, out = stream(x, y)
        assert relative_error(squared_error(out, y), value) < 1e-12
        found.append(value)
        if t == 3:  # in between as well, and goes on
            stream.store()
    for _ in range(2):  # a second time nothing is left to store
        stream.store()
    assert relative_error(np.stack(found), wanted) < 1e-11
    assert_close(weights_of(other), weights_of(model), 1e-11)
    assert max(np.abs(weights_of(other)[k] - start[k]).max() for k in start) > 1e-2
    for a, b in zip(
        *(jax.tree.leaves(named(m.states(brainstate.HiddenState))) for m in (model, other)),
        strict=True,
    ):
        assert relative_error(a, b) < 1e-11


@pytest.mark.parametrize(("name", "samples"), [("es_d_rtrl", 2), ("d_rtrl", 0)])
def test_it_starts_anew_as_train_does(name: str, samples: int) -> None:
    xs, ys = (a if samples else a[:, 0] for a in data_for())
    reset = np.zeros((len(xs), samples) if samples else len(xs), bool)
    reset[2] = True
    reset[4] = [True, False] if samples else True
    model, algo, optimizer = learner(MAKE[name], xs)
    options = {"update_every": 1, "per_step_targets": True}
    wanted = brainstate.transform.jit(
        lambda: core.train(algo, squared_error, xs, ys, optimizer, reset=reset, **options).losses
    )()
    other, algo, optimizer = learner(MAKE[name], xs)
    stream = core.Stream(algo, squared_error, optimizer)
    found = [  # said where there is one, and once where there is none
        stream(x, y, again if again.any() or t == 3 else None)[0]
        for t, (x, y, again) in enumerate(zip(xs, ys, reset, strict=True))
    ]
    stream.store()
    assert relative_error(np.stack(found), wanted) < 1e-11
    assert_close(weights_of(other), weights_of(model), 1e-11)
    _, algo, optimizer = learner(MAKE[name], xs)
    stream = core.Stream(algo, squared_error, optimizer)
    unbroken = [stream(x, y)[0] for x, y in zip(xs, ys, strict=True)]
    assert relative_error(np.stack(unbroken), wanted) > 1e-4


@pytest.mark.parametrize("stored", [False, True])
def test_an_algorithm_that_has_been_initialised_anew_wants_a_stream_of_its_own(
    stored: bool,
) -> None:
    """Its states are others: the stream would go on from the old ones."""
    xs, ys = data_for()
    _, algo, optimizer = learner(core.D_RTRL, xs)
    stream = core.Stream(algo, squared_error, optimizer)
    stream(xs[0], ys[0])
    if stored:
        stream.store()
    core.initialise(algo, xs[0])
    with pytest.raises(core.InvalidArgument, match="initialised or compiled anew"):
        stream(xs[1], ys[1])
    stream.store()
    core.Stream(algo, squared_error, optimizer)(xs[1], ys[1])


def test_a_step_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    xs, ys = data_for()
    _, algo, optimizer = learner(core.D_RTRL, xs)
    stream = core.Stream(algo, squared_error, optimizer)
    stream(xs[0], ys[0])
    with monkeypatch.context() as patch:
        patch.setattr(core.D_RTRL, "window", None)  # whoever traced again would call it
        stream(xs[1], ys[1])


def test_an_optimizer_of_another_kind_is_refused() -> None:
    with pytest.raises(core.InvalidArgument, match=r"an optimizer of braintools\.optim"):
        core.Stream(core.D_RTRL(rate.GRU.model()), squared_error, braintools.optim.Adam)


@pytest.mark.parametrize("kind", ["d_rtrl", "truncated", "uoro"])
def test_a_saved_learner_goes_on_as_if_it_had_not_stopped(kind: str) -> None:
    """All that changes is among the states of algorithm and optimizer, under one name each."""
    make = MAKE.get(kind, lambda m: core.UORO(m, seed=1))
    xs, ys = data_for()
    first, rest = slice(0, 4), slice(4, None)

    def learn(stream: Any, part: slice) -> np.ndarray:
        return np.array([stream(x, y)[0] for x, y in zip(xs[part], ys[part], strict=True)])

    _, algo, optimizer = learner(make, xs)
    stream = core.Stream(algo, squared_error, optimizer)
    learn(stream, first)
    stream.store()
    states = brainstate.graph.states((algo, optimizer))
    saved = pickle.dumps({path: jax.tree.map(np.asarray, s.value) for path, s in states.items()})
    assert (0, "model", "cell", "h") in states
    wanted = learn(stream, rest)
    _, algo, optimizer = learner(make, xs)
    found = pickle.loads(saved)
    for path, state in brainstate.graph.states((algo, optimizer)).items():
        state.value = found[path]
    again = learn(core.Stream(algo, squared_error, optimizer), rest)
    np.testing.assert_array_equal(again, wanted)


@pytest.mark.parametrize(
    ("kind", "every"), [("d_rtrl", 1), ("es_d_rtrl", 3), ("d_rtrl", "sequence")]
)
def test_a_stream_may_come_in_pieces(kind: str, every: int | str) -> None:
    """Two calls of `train` are one where `fresh=False`; alone, the second has no past."""
    xs, ys = data_for(n_steps=6)

    def losses(*parts: slice, **options: Any) -> np.ndarray:
        _, algo, optimizer = learner(MAKE[kind], xs)

        def learn(xs: Any, ys: Any) -> Any:
            options_ = {"update_every": every, "per_step_targets": True} | options
            return core.train(algo, squared_error, xs, ys, optimizer, **options_).losses

        run = brainstate.transform.jit(learn)
        return np.concatenate([run(xs[part], ys[part]) for part in parts])

    pieces = slice(0, 3), slice(3, 6)
    whole = losses(slice(0, 6), update_every=3 if every == "sequence" else every)
    np.testing.assert_allclose(losses(*pieces, fresh=False), whole, rtol=1e-12)
    if every == 1:
        assert not np.allclose(losses(*pieces), whole, rtol=1e-6)
