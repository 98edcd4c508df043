"""Models at the edge: empty parameters, none at all, no state, no credit, numbers as outputs."""

from __future__ import annotations

from typing import Any

import brainstate
import braintools
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import core

from .cases import data_for, run
from .references import assert_close, named, relative_error

ALGORITHMS = {
    "bptt": core.BPTT,
    "checkpointed": lambda m: core.CheckpointedBPTT(m, segment=2),
    "immediate": core.Immediate,
    "rtrl": lambda m: core.RTRL(m, window=2),
    "d_rtrl": lambda m: core.D_RTRL(m, window=2),
    "d_rtrl, auto": lambda m: core.D_RTRL(m, window="auto"),
    "es_d_rtrl": lambda m: core.ES_D_RTRL(m, 0.9, window=2),
    "rank 2": lambda m: core.ES_D_RTRL(m, 2, window=2),
}
XS = data_for(n_steps=4).xs
W = np.random.default_rng(0).normal(size=(3, 4))


class Plain(brainstate.nn.Module):
    """h <- h / 2 + tanh(x W)."""

    def __init__(self) -> None:
        super().__init__()
        self.W = brainstate.ParamState(jnp.asarray(W))

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        self.h = brainstate.HiddenState(jnp.zeros((batch_size, 4)))

    def update(self, x: Any) -> Any:
        self.h.value = 0.5 * self.h.value + jnp.tanh(x @ self.W.value)
        return self.h.value


class Empty(Plain):
    """A layer of no inputs, a parameter of no arrays, a slice of no rows; numbers as outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = brainstate.ParamState(jnp.zeros((0, 4)))
        self.none = brainstate.ParamState({})

    def update(self, x: Any) -> Any:
        self.h.value = self.h.value + x[..., :0] @ self.layer.value + x[..., :0] @ self.W.value[:0]
        return super().update(x), 1.0, 2


class Fixed(Plain):
    """Without parameters."""

    def __init__(self) -> None:
        super().__init__()
        del self.W

    def update(self, x: Any) -> Any:
        self.h.value = 0.5 * self.h.value + jnp.tanh(x @ W)
        return self.h.value


class Stateless(Plain):
    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        pass

    def update(self, x: Any) -> Any:
        return jnp.tanh(x @ self.W.value)


class Silent(Plain):
    """No credit passes to its outputs."""

    def update(self, x: Any) -> Any:
        return jax.lax.stop_gradient(super().update(x))


def loss(out: Any, _: Any) -> Any:
    h, one, two = out if isinstance(out, tuple) else (out, 1.0, 2)
    return (one * (h - two) ** 2).sum()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_models_at_the_edge(name: str) -> None:
    """What is empty or a number changes nothing; what is missing has no gradient."""

    def everything() -> Any:
        found = {}
        for kind in (Plain, Empty, Fixed, Stateless, Silent):
            algo = ALGORITHMS[name](kind())
            core.initialise(algo, XS[0])
            result = core.gradient(algo, loss, XS, fresh=False)
            calls = (algo(XS[0]), algo(core.MultiStepData(XS[:2]))) if kind is Empty else None
            found[kind.__name__] = result.grads, result.losses, calls
        return found

    found = run(everything)
    grads, losses, _ = found["Plain"]
    empty, same, (out, outs) = found["Empty"]
    assert_close({"W": empty[("W",)]}, {"W": grads[("W",)]})
    assert relative_error(same, losses) < 1e-12
    assert empty[("layer",)].shape == (0, 4)
    assert empty[("none",)] == {}
    assert [np.shape(a) for a in out] == [(2, 4), (), ()]
    assert np.array_equal(outs[2], [2, 2])
    assert found["Fixed"][0] == {}
    assert relative_error(found["Fixed"][1], losses) < 1e-12
    assert not np.any(found["Silent"][0][("W",)])
    assert relative_error(found["Silent"][1], losses) < 1e-12
    h = np.tanh(XS @ W)
    by_hand = np.einsum("tbi,tbj->ij", XS, 2 * (h - 2) * (1 - h**2))
    assert_close(named(found["Stateless"][0]), {"W": by_hand})


def test_a_model_without_parameters_is_trained_in_vain() -> None:
    algo, optimizer = core.D_RTRL(Fixed()), braintools.optim.Adam(lr=0.1)

    def losses(every: Any) -> Any:
        core.initialise(algo, XS[0])
        return core.train(algo, loss, XS, None, optimizer, update_every=every, clip_norm=1.0).losses

    once, often = run(lambda: [losses("sequence"), losses(np.int64(2))])
    assert relative_error(once, often) < 1e-12
