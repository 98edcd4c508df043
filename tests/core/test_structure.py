"""Weights tied, masked, scaled, joined, frozen or on the left; operands with extra axes."""

from __future__ import annotations

from typing import Any

import brainstate
import jax.numpy as jnp
import numpy as np
import pytest

import core

from .cases import (
    N_HIDDEN,
    N_IN,
    N_OUT,
    Case,
    Data,
    by_formula,
    data_for,
    draw,
    gradient_of,
    run,
    weights_of,
)
from .rate_models import joined
from .references import assert_close, bptt, cut_bptt, relative_error

H = N_HIDDEN
MASK = np.tril(np.ones((N_IN + H, H)), 2)
WIDE = 3  # extra axis of an operand


def case(name: str, formula: Any, **weights: np.ndarray) -> Case:
    """h <- 0.8 h + tanh(y) with y = formula(p, x, h, below), out = h R."""

    def step(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
        new = 0.8 * h["h"] + jnp.tanh(formula(p, x, rec(h["h"]), below))
        return {"h": new}, new @ p["R"]

    return by_formula(name, step, {"h": H}, R=draw(H, N_OUT), **weights)


def frozen(p: Any, x: Any, h: Any, below: Any) -> Any:
    return below(x) @ p["W"] + below(h) @ FROZEN


FROZEN = draw(H, H)
W, U = draw(N_IN + H, H), draw(H, H)

CASES = [
    case(
        "tied", lambda p, x, h, below: below(joined(x, h)) @ p["W"] + below(h) @ p["W"][N_IN:], W=W
    ),
    case(
        "tied in one product after another",
        lambda p, x, h, below: (
            below(h) @ p["U"] + below(jnp.tanh(2 * h)) @ p["U"] + below(x) @ p["W"]
        ),
        U=U,
        W=W[:N_IN],
    ),
    case("masked", lambda p, x, h, below: below(joined(x, h)) @ (p["W"] * MASK), W=W),
    case(
        "concatenated and scaled",
        lambda p, x, h, below: (
            below(joined(x, h)) @ (jnp.exp(p["scale"]) * jnp.concatenate([p["W"], p["U"]]) / 2)
        ),
        W=W[:N_IN],
        U=U,
        scale=np.asarray(0.3),
    ),
    case("weight on the left", lambda p, x, h, below: (p["W"] @ below(joined(x, h)).T).T, W=W.T),
    case("frozen recurrent matrix", frozen, W=W[:N_IN]),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_gradient(case: Case) -> None:
    model, data = case.model(), data_for()

    def everything(p: Any) -> Any:
        return (
            cut_bptt(case.step, p, case.start(), *data),
            gradient_of(core.D_RTRL(model, window=3), data),
            gradient_of(core.ES_D_RTRL(model, N_IN + H, window=2), data),
        )

    (cut, _), (found, _), (full_rank, _) = run(everything, weights_of(model))
    assert_close(found, cut)
    assert_close(full_rank, cut, 1e-11)


def test_es_d_rtrl_of_a_derived_weight_is_that_of_the_plain_one() -> None:
    """Masked: the same trace, and the mask on the gradient; scaled: the chain rule."""
    plain = case("plain", lambda p, x, h, below: below(joined(x, h)) @ p["W"], W=W * MASK)
    masked = next(c for c in CASES if c.name == "masked")
    data = data_for()

    def everything() -> Any:
        return [
            gradient_of(core.ES_D_RTRL(c.model(), 0.7, window=3), data) for c in (plain, masked)
        ]

    (by_plain, _), (by_masked, _) = run(everything)
    assert relative_error(by_masked["W"], MASK * by_plain["W"]) < 1e-12
    assert relative_error(by_masked["R"], by_plain["R"]) < 1e-12


def test_the_graph_says_that_a_constant_matrix_is_cut() -> None:
    model = next(c for c in CASES if c.name.startswith("frozen")).model()
    algo = core.D_RTRL(model)

    def text() -> Any:
        core.initialise(algo, data_for().xs[0])

    run(text)
    assert "a constant matrix  [4 x 4]   constant: cut like a trained weight" in str(algo.graph)


def extra_axes_step(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    """Inputs [B, C, I] and a state [B, C, H]: one weight shared by C places of every sample."""
    new = 0.8 * h["h"] + jnp.tanh(below(x) @ p["W"])
    return {"h": new}, new @ p["R"]


def test_operands_with_extra_axes() -> None:
    shape = {"h": (WIDE, H)}
    model = by_formula("axes", extra_axes_step, shape, W=W[:N_IN], R=draw(H, N_OUT)).model()
    random = np.random.default_rng(0)
    data = Data(random.normal(size=(6, 2, WIDE, N_IN)), random.normal(size=(6, 2, WIDE, N_OUT)))
    start = {"h": np.zeros((2, WIDE, H))}

    def everything(p: Any) -> Any:
        algo = core.D_RTRL(model, window=3)
        return bptt(extra_axes_step, p, start, *data), [
            gradient_of(algo, data, batching) for batching in ("manual", "vmap")
        ]

    (exact, _), found = run(everything, weights_of(model))
    for grads, _ in found:
        assert_close(grads, exact)


def test_more_layers_than_an_integer_has_bits() -> None:
    """Each recurrent by itself: the gradient of one alone, 66 times."""
    draw = np.random.default_rng(0)
    weight, xs = draw.normal(size=(3, 2)), draw.normal(size=(2, 1, 1))

    class Layers(brainstate.nn.Module):
        def __init__(self, n: int) -> None:
            super().__init__()
            self.weights = [brainstate.ParamState(jnp.asarray(weight)) for _ in range(n)]

        def init_state(self, batch_size: int | None = None, **_: Any) -> None:
            zero = jnp.zeros((batch_size, 2))
            self.layers = [brainstate.HiddenState(zero) for _ in self.weights]

        def update(self, x: Any) -> Any:
            for h, w in zip(self.layers, self.weights, strict=True):
                read = jnp.concatenate([x, h.value], axis=-1)
                h.value = 0.6 * h.value + jnp.tanh(read @ w.value)
            return sum((h.value**2).sum() for h in self.layers)

    def gradients(n: int) -> Any:
        algo = core.D_RTRL(Layers(n))
        core.initialise(algo, xs[0])
        return list(core.gradient(algo, lambda out, _: out, xs).grads.values())

    (one,) = run(lambda: gradients(1))
    many = run(lambda: gradients(66))
    assert len(many) == 66
    assert max(relative_error(found, one) for found in many) < 1e-12


class Preprocessed(brainstate.nn.Module):
    """Reads its last two inputs, less a running mean over all of them: states that mix, of inputs
    alone."""

    def __init__(self) -> None:
        super().__init__()
        draw = np.random.default_rng(0)
        self.W = brainstate.ParamState(draw.normal(size=(2 * N_IN, N_HIDDEN)))
        self.R = brainstate.ParamState(draw.normal(size=(N_HIDDEN, N_OUT)))

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        lead = () if batch_size is None else (batch_size,)
        self.last = brainstate.HiddenState(jnp.zeros((*lead, 2 * N_IN)))
        self.mean = brainstate.HiddenState(jnp.zeros((*lead, N_IN)))
        self.h = brainstate.HiddenState(jnp.zeros((*lead, N_HIDDEN)))

    def update(self, x: Any) -> Any:
        self.mean.value = 0.9 * self.mean.value + 0.1 * x.mean(-1, keepdims=True)
        self.last.value = jnp.concatenate([self.last.value[..., N_IN:], x - self.mean.value], -1)
        y = jnp.tanh(self.last.value @ self.W.value)
        self.h.value = 0.7 * self.h.value + y * self.mean.value.sum(-1, keepdims=True)
        return self.h.value @ self.R.value


@pytest.mark.parametrize("batching", ["manual", "vmap"])
def test_states_of_inputs_alone_may_mix(batching: str) -> None:
    data, algo = data_for(), core.D_RTRL(Preprocessed(), window=3)
    bptt = core.BPTT(Preprocessed())
    (found, _), (wanted, _) = run(
        lambda: (gradient_of(algo, data, batching), gradient_of(bptt, data, batching))
    )
    assert_close(found, wanted)
    assert "no group: mean, last; no credit passes through it" in str(algo.graph)
