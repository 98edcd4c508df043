"""Samples that start anew: states of every dtype do, and nothing of the past is left, NaN included.

Reference: the parts of the stream on their own.
"""

from __future__ import annotations

from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import core

from .cases import N_HIDDEN, N_IN, Data, data_for, going_on, gradient_of, run
from .references import assert_close, named, relative_error, squared_error

ALGORITHMS = {
    "bptt, checkpointed": lambda m: core.CheckpointedBPTT(m, segment=2),
    "rtrl": lambda m: core.RTRL(m, window=2),
    "d_rtrl, 3": lambda m: core.D_RTRL(m, window=3),
    "d_rtrl, credit in windows": lambda m: core.D_RTRL(m, window=3, credit="window"),
    "es_d_rtrl": lambda m: core.ES_D_RTRL(m, 0.9, window=3),
    "rank 2": lambda m: core.ES_D_RTRL(m, 2, window=2),
}


class Refractory(brainstate.nn.Module):
    """A neuron that rests for some steps after v > 1; the countdown is a state of `dtype`."""

    def __init__(self, dtype: Any, kind: Any = brainstate.HiddenState) -> None:
        super().__init__()
        self.dtype, self.kind = dtype, kind
        draw = np.random.default_rng(1)
        self.W = brainstate.ParamState(jnp.asarray(draw.normal(size=(N_IN, N_HIDDEN))))
        self.R = brainstate.ParamState(jnp.asarray(draw.normal(size=(N_HIDDEN, 2))))

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        shape = (N_HIDDEN,) if batch_size is None else (batch_size, N_HIDDEN)
        self.v = brainstate.HiddenState(jnp.zeros(shape))
        self.wait = self.kind(jnp.zeros(shape, self.dtype))

    def update(self, x: Any) -> Any:
        v, wait = self.v.value, self.wait.value
        v = jnp.where(wait <= 0, 0.8 * v + 2 * x @ self.W.value, 0.8 * v)
        if self.dtype == bool:
            self.wait.value = v > 1.0
        else:
            self.wait.value = jnp.where(v > 1.0, 3, jnp.maximum(wait - 1, 0)).astype(self.dtype)
        self.v.value = v
        return jnp.tanh(v) @ self.R.value


HIDDEN, SHORT = brainstate.HiddenState, brainstate.ShortTermState


@pytest.mark.parametrize(
    ("name", "dtype", "batching", "kind"),
    [
        ("bptt, checkpointed", bool, "vmap", HIDDEN),
        ("rtrl", bool, "manual", HIDDEN),
        ("d_rtrl, 3", int, "manual", HIDDEN),
        ("d_rtrl, 3", int, "vmap", SHORT),
        ("es_d_rtrl", bool, "manual", SHORT),
    ],
)
def test_states_of_every_kind_and_dtype_start_anew(
    name: str, dtype: Any, batching: str, kind: Any
) -> None:
    model, data = Refractory(dtype, kind), data_for()
    reset = np.zeros((6, 2), bool)
    reset[4] = True
    make = ALGORITHMS[name]

    def everything() -> Any:
        return [
            gradient_of(make(model), data, batching=batching, reset=reset),
            *(
                gradient_of(make(model), Data(*(a[part] for a in data)), batching=batching)
                for part in (slice(0, 4), slice(4, 6))
            ),
        ]

    (streamed, losses), (first, l1), (second, l2) = run(everything)
    assert relative_error(losses, np.concatenate([l1, l2])) < 1e-12
    assert_close(streamed, {k: first[k] + second[k] for k in first}, 1e-11)


@pytest.mark.parametrize(("name", "at"), [(n, k // 3) for k, n in enumerate(ALGORITHMS)])
def test_a_sample_that_was_nan_starts_anew(name: str, at: int) -> None:
    """Its states and traces are NaN when the reset comes, at a window's first step or inside it;
    the gradient from there on, of the sequences after it too, is as if they never were."""
    model, data = Refractory(float), data_for()
    bad = data.xs.copy()
    bad[2, 1] = np.nan
    reset = np.zeros((6, 2), bool)
    reset[4 + at, 1] = True
    first, second = slice(0, 4), slice(4, 6)

    def gradients(xs: Any) -> Any:
        algo, whole = ALGORITHMS[name](model), Data(xs, data.ys)
        gradient_of(algo, whole.at(first), fresh=False)
        found = named(going_on(algo, whole.at(second), reset=reset[second]).grads)
        after = named(going_on(algo, whole.at(second)).grads)
        return (after, found)[: 2 - at]

    compiled = brainstate.transform.jit(gradients)
    for found, wanted in zip(compiled(bad), compiled(data.xs), strict=True):
        assert_close(found, wanted, 1e-11)


@pytest.mark.parametrize(
    ("name", "per_sample"), [*((n, True) for n in [*ALGORITHMS][1::2]), ("d_rtrl, 3", False)]
)
def test_masked_steps_before_a_reset_count_for_nothing(name: str, per_sample: bool) -> None:
    """A sample is NaN when the sequence begins, and inputs are, until it starts anew inside it."""
    model, data = Refractory(float), data_for()
    mask, reset = np.ones((6, 2)), np.zeros((6, 2), bool)
    mask[:4, 1], reset[4, 1] = 0, True
    if not per_sample:  # both samples
        mask, reset = mask[:, 1], reset | reset[:, 1:]
    bad = data.xs.copy()
    bad[1, 1] = np.inf

    def gradients(xs: Any, value: float) -> Any:
        algo = ALGORITHMS[name](model)
        whole = Data(xs, data.ys)
        gradient_of(algo, whole.at(np.s_[:1]), fresh=False)
        model.v.value = model.v.value.at[1].add(value)
        algo.trace.value = jax.tree.map(
            lambda a: a.at[1].add(value) if jnp.issubdtype(a.dtype, jnp.inexact) else a,
            algo.trace.value,
        )
        return named(going_on(algo, whole, mask=mask, reset=reset).grads)

    compiled = brainstate.transform.jit(gradients)
    assert_close(compiled(bad, np.nan), compiled(data.xs, 0.0), 1e-11)


class Shared(brainstate.nn.Module):
    """What samples share (an input line, a count, a random key) goes on when one starts anew."""

    def __init__(self) -> None:
        super().__init__()
        draw = np.random.default_rng(2)
        self.W = brainstate.ParamState(jnp.asarray(draw.normal(size=(N_IN, N_HIDDEN))))

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        self.h = brainstate.HiddenState(jnp.zeros((batch_size, N_HIDDEN)))
        self.line = brainstate.DelayState(jnp.zeros((batch_size, batch_size, N_IN)))
        self.count = brainstate.ShortTermState(jnp.zeros((), int))
        self.key = brainstate.ShortTermState(jax.random.PRNGKey(0))

    def update(self, x: Any) -> Any:
        self.key.value = jax.random.split(self.key.value)[0]
        self.count.value += 1
        self.line.value = jnp.concatenate([x[None], self.line.value[:-1]])
        self.h.value = 0.5 * self.h.value + self.line.value[-1] @ self.W.value
        return jnp.tanh(self.h.value)[:, :2]


def test_what_samples_share_goes_on() -> None:
    data = data_for()  # two samples: a delay of two steps and a key have this length as well
    reset = np.zeros((6, 2), bool)
    reset[4] = True

    def everything() -> Any:
        model = Shared()
        algo = core.D_RTRL(model)
        core.initialise(algo, data.xs[0])
        core.gradient(algo, squared_error, *data, per_step_targets=True, reset=reset)
        return model.count.value, model.key.value, model.line.value

    count, key, line = run(everything)
    want = jax.random.PRNGKey(0)
    for _ in range(6):
        want = jax.random.split(want)[0]
    assert count == 6
    np.testing.assert_array_equal(key, want)
    np.testing.assert_array_equal(line, data.xs[:-3:-1])


@pytest.mark.parametrize("dtype", [bool, np.float64])
def test_no_type_is_promoted_by_masks_and_restarts(dtype: Any) -> None:
    """Where jax is told to refuse `float64 * bool`, as a model's author may have done."""
    with jax.numpy_dtype_promotion("strict"):
        model = brainstate.nn.GRUCell(N_IN, N_HIDDEN)
        algo = core.D_RTRL(model, window=2)
        xs = jnp.ones((4, 3, N_IN))
        core.initialise(algo, xs[0], batching="vmap")
        grads, _ = run(
            lambda: core.gradient(
                algo,
                lambda out, target: ((out - target) ** 2).mean(),
                xs,
                jnp.zeros((3, N_HIDDEN)),
                mask=np.ones((4, 3), dtype),
                reset=np.asarray([False, False, True, False]),
                reduce="mean",
            )
        )
    assert all(np.isfinite(g).all() for g in grads.values())


def test_samples_start_anew_beside_a_product_that_has_none() -> None:
    """What the clock alone makes has no axis of samples."""

    class WithClock(Refractory):
        def update(self, x: Any) -> Any:
            at = jnp.cos(1.0 + brainstate.environ.get("i") * jnp.arange(N_HIDDEN))
            return super().update(x) + at @ self.R.value

    model, data = WithClock(float), data_for()
    reset = jnp.zeros((len(data.xs), 2), bool).at[3, 1].set(True)

    def found(algo: Any) -> Any:
        return gradient_of(algo, data, reset=reset, fresh=False)

    wanted, grads = run(lambda: [found(core.BPTT(model)), found(core.D_RTRL(model, window=2))])
    assert_close(grads[0], wanted[0])
