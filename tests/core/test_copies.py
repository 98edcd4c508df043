"""A deep copy of an algorithm goes on from where it is, and shares nothing with it."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import brainstate
import braintools
import jax
import numpy as np
import pytest

import core
import core.braintrace

from .cases import data_for, run
from .references import assert_close, squared_error
from .test_beginning import Net

STEPS: dict[str, Any] = {"per_step_targets": True, "fresh": False}


@pytest.mark.parametrize(
    ("make", "batching"),
    [(core.D_RTRL, "vmap"), (lambda m: core.ES_D_RTRL(m, 0.9, window=2), "manual")],
    ids=["d_rtrl", "es_d_rtrl"],
)
def test_a_copy_goes_on_by_itself(make: Any, batching: str) -> None:
    """Of a model that begins with its parameters, where one sample begins anew."""
    data, reset = data_for(), np.zeros((6, 2), bool)
    reset[5, 1] = True
    algo = make(Net())
    core.initialise(algo, data.xs[0], batching=batching)
    run(lambda: core.gradient(algo, squared_error, data.xs[:2], data.ys[:2], **STEPS))
    other = copy.deepcopy(algo)

    weights = other.model.states(brainstate.ParamState)
    optimizer = braintools.optim.SGD(0.1)
    optimizer.register_trainable_weights(weights)
    before = {path: jax.tree.map(np.asarray, s.value) for path, s in algo.states().items()}
    rest = data.xs[2:], data.ys[2:]
    options = {"reset": reset[2:], **STEPS}
    found, _ = run(lambda: core.train(other, squared_error, *rest, optimizer, **options))
    for path, state in algo.states().items():
        jax.tree.map(np.testing.assert_array_equal, state.value, before[path])
    wanted, _ = run(lambda: core.gradient(algo, squared_error, *rest, **options))
    assert_close(found, wanted, 1e-14)
    assert not np.allclose(
        weights["out", "weight"].value["weight"], before["model", "out", "weight"]["weight"]
    )


def test_a_copy_of_what_is_not_compiled_is_compiled_by_itself() -> None:
    data, algo = data_for(), core.D_RTRL(Net())
    other = copy.deepcopy(algo)
    core.initialise(other, data.xs[0])
    assert other.trace_bytes
    with pytest.raises(core.NotCompiled):
        algo(data.xs[0])


def test_a_copy_of_a_learner_of_the_old_names() -> None:
    data = data_for()
    learner = core.braintrace.compile(Net(), "d_rtrl", data.xs[0], batch_size=2, vmap=True)
    run(learner, data.xs[0])
    other = copy.deepcopy(learner)
    found, wanted = run(other, data.xs[1]), run(learner, data.xs[1])
    np.testing.assert_array_equal(found, wanted)
    jax.tree.map(np.testing.assert_array_equal, other.trace.value, learner.trace.value)
    assert other.module.model is not learner.module.model


def test_to_pickle_a_learner_is_refused() -> None:
    advice = r"a D_RTRL itself, to be pickled\. Save \{path.*graph\.states\(\(algo, optimizer\)\)"
    with pytest.raises(core.InvalidArgument, match=advice):
        pickle.dumps(core.D_RTRL(Net()))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_stream_is_one(copied: Any) -> None:
    """Two would give away the same arrays."""
    model = Net()
    optimizer = braintools.optim.SGD(0.1)
    optimizer.register_trainable_weights(model.states(brainstate.ParamState))
    stream = core.Stream(core.D_RTRL(model), squared_error, optimizer)
    with pytest.raises(core.InvalidArgument, match=r"Call store, copy the algorithm"):
        copied(stream)
