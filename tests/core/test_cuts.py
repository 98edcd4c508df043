"""What an operand is cut from, element by element; and what is stored without being read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import core

from .cases import (
    N_HIDDEN,
    N_IN,
    N_OUT,
    Case,
    by_formula,
    data_for,
    draw,
    gradient_of,
    run,
    weights_of,
)
from .rate_models import joined
from .references import assert_close, bptt, cut_bptt, errors, live

H = N_HIDDEN


def definition(case: Case) -> Any:
    """D-RTRL's gradient by its definition, which has something to cut."""
    by_hand = (case.step, weights_of(case.model()), case.start(), *data_for())
    wanted, exact = (jax.jit(lambda f=f: f(*by_hand)[0])() for f in (cut_bptt, bptt))
    assert max(errors(wanted, exact).values()) > 1e-3
    return wanted


def check(case: Case, wanted: Any = None) -> None:
    """D-RTRL of a model is that of the definition."""
    found, _ = run(lambda: gradient_of(core.D_RTRL(case.model(), window=3), data_for()))
    assert_close(found, wanted or definition(case))


# -- several layers in one variable

TWO = {"one": H, "two": H}
W1, W2, R = draw(N_IN + H, H), draw(2 * H, H), draw(H, N_OUT)


def late(p: Any, h: Any, x: Any, rec: Any, below: Any, pair: Any) -> Any:
    """Layer two reads layer one and itself one step late; `pair` computes what is read of both."""
    if rec is live:
        a, b = pair(h["one"], h["two"])
        own = a
    else:  # each for itself, the other being a constant
        a = pair(h["one"], lax.stop_gradient(h["two"]))[0]
        own, b = rec(a), pair(rec(h["one"]), rec(h["two"]))[1]
    one = 0.8 * h["one"] + jnp.tanh(below(joined(x, own)) @ p["W1"])
    two = 0.7 * h["two"] + jnp.tanh(below(joined(a, b)) @ p["W2"])
    return {"one": one, "two": two}, two @ p["R"]


def by_stack(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, b: tuple(f(jnp.stack([a, b])))


relu = jax.custom_vjp(jax.nn.relu)
relu.defvjp(lambda v: (jax.nn.relu(v), v), lambda v, d: (d / (1 + v**2),))


def laid_out_anew(a: Any, b: Any) -> Any:
    """Stacked, transposed, interleaved, rolled, split and looked up."""
    s = jnp.tanh(jnp.stack([a, b]).transpose(1, 2, 0)).reshape(*a.shape[:-1], -1)
    one, two = jnp.split(jnp.roll(s, 3, -1), 2, -1)
    s = joined(one, two)
    return s[..., [3, 5, 7, 1]], jnp.take(s[..., ::2], np.array([2, 3, 0, 1]), axis=-1)


def put_together(a: Any, b: Any) -> Any:
    """Padded and added; written into one array; summed over an axis of two."""
    s = jnp.pad(a, ((0, 0), (0, H))) + jnp.pad(b, ((0, 0), (H, 0)))
    s = jnp.zeros(s.shape).at[..., :H].set(s[..., :H]).at[..., H:].add(s[..., H:])
    return jnp.split(jnp.stack([jnp.tanh(s), 0 * s], 1).sum(axis=1), 2, -1)


PAIRS = {
    "laid out anew": laid_out_anew,
    "put together": put_together,
    "one product": by_stack(lambda s: jax.vmap(jnp.tanh)(s) @ jnp.eye(H)),
    "a spike function": by_stack(lambda s: relu(s - 0.1)),
}


def two_layers(name: str, pair: Any) -> Case:
    return by_formula(name, lambda *args: late(*args, pair=pair), TWO, W1=W1, W2=W2, R=R)


@functools.cache
def of_two_layers() -> Any:
    return definition(two_layers("apart", lambda a, b: (jnp.tanh(a), jnp.tanh(b))))


@pytest.mark.parametrize("how", PAIRS)
def test_layers_that_are_computed_together_are_not_a_loop(how: str) -> None:
    together = two_layers(how, PAIRS[how])
    check(together, None if how == "a spike function" else of_two_layers())


def fused_layers(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    """One product for both layers: its first half feeds layer one, its second layer two."""
    a, b, n = jnp.tanh(h["one"]), jnp.tanh(h["two"]), slice(0, H)
    if rec is live:
        y = joined(x, a) @ p["W"]
        y1, y2 = y[..., n], y[..., H:]
    else:
        y1 = below(joined(x, rec(a))) @ p["W"][:, n]
        y2 = below(joined(x, a)) @ p["W"][:, H:]
    one = 0.8 * h["one"] + jnp.tanh(y1)
    two = 0.7 * h["two"] + jnp.tanh(y2 + below(rec(b)) @ p["U"])
    return {"one": one, "two": two}, two @ p["R"]


def fused_readout(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    """The readout of the previous state shares a product with the recurrence."""
    if rec is live:
        y = h["one"] @ p["U"]
        y1, y2 = y[..., :H], y[..., H:]
    else:
        y1, y2 = below(rec(h["one"])) @ p["U"][:, :H], h["one"] @ p["U"][:, H:]
    one = 0.8 * h["one"] + jnp.tanh(below(x) @ p["W"] + y1)
    return {"one": one}, jnp.tanh(y2) @ p["R"] + y2


def fused_gates(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    """A GRU whose reset gate is also an output: there it is a readout of the previous state."""
    if rec is live:
        gates = jax.nn.sigmoid(joined(x, h["one"]) @ p["W"])
        r = r_out = gates[..., :H]
        z = gates[..., H:]
    else:
        r, z = (jax.nn.sigmoid(below(joined(x, rec(h["one"]))) @ p["W"][:, k]) for k in HALVES)
        r_out = jax.nn.sigmoid(joined(x, h["one"]) @ p["W"][:, :H])
    candidate = jnp.tanh(below(joined(x, r * rec(h["one"]))) @ p["W1"])
    one = (1 - z) * h["one"] + z * candidate
    return {"one": one}, (one + r_out) @ p["R"]


HALVES = slice(0, H), slice(H, None)
FUSED = [
    by_formula("layers", fused_layers, TWO, W=draw(N_IN + H, 2 * H), U=draw(H, H), R=R),
    by_formula(
        "readout",
        fused_readout,
        {"one": H},
        U=draw(H, H + N_OUT),
        W=W1[:N_IN],
        R=draw(N_OUT, N_OUT),
    ),
    by_formula("reset gate", fused_gates, {"one": H}, W=draw(N_IN + H, 2 * H), W1=W1, R=R),
]


@pytest.mark.parametrize("model", FUSED, ids=lambda c: c.name)
def test_outputs_of_one_product_are_cut_apart(model: Case) -> None:
    check(model)


# -- storing is not reading

LOOP = {"W1": draw(N_IN + H, H), "W2": draw(H, H), "R": R}


def loop(p: Any, h: Any, x: Any, rec: Any, below: Any, keep: Any = lambda h, a: ({}, a)) -> Any:
    """A layer without memory in a feedback loop; `keep` stores its activation."""
    kept, a = keep(h, jnp.tanh(joined(x, h["two"]) @ p["W1"]))
    two = 0.8 * h["two"] + jnp.tanh(a @ p["W2"])
    return {"two": two, **kept}, two @ p["R"] + a[..., :N_OUT]


STORED = {
    "s": H,
    "mean": 1,
    "moving": H,
    "mixing": H,
    "t": H,
    "u": 1,
    "constant": H,
    "beside": 2 * H,
}


def store(h: Any, a: Any) -> Any:
    """In every way that no output reads; also what is read as a constant or beside what is read."""
    kept = {
        "s": a,
        "mean": a.mean(-1, keepdims=True),  # as in other units
        "moving": 0.9 * h["moving"] + a,
        "mixing": jnp.tanh(h["mixing"] @ np.ones((H, H))) + a,
        "t": h["s"],  # a chain
        "u": (a * h["t"]).sum(-1, keepdims=True),
        "constant": a,
        "beside": joined(a, a),
    }
    beside = jnp.split(jnp.tanh(joined(h["beside"][..., :H], a)), 2, -1)[1]
    return kept, a + 0 * lax.stop_gradient(h["constant"]) + 0 * beside


def test_storing_is_not_reading() -> None:
    """By every kind of trace; and the graph says so."""
    stored = by_formula("s", lambda *a: loop(*a, keep=store), {"two": H, **STORED}, **LOOP)
    nowhere = by_formula("nowhere", loop, {"two": H}, **LOOP)
    for make in (
        lambda m: core.D_RTRL(m, window=3),
        lambda m: core.ES_D_RTRL(m, 0.7, window=3),
        lambda m: core.D_RTRL(m, window=3, credit="window"),
    ):
        algo, plain = make(stored.model()), make(nowhere.model())
        (found, _), (wanted, _) = run(
            lambda a=algo, b=plain: [gradient_of(x, data_for()) for x in (a, b)]
        )
        assert_close(found, wanted)
    assert f"  no group: {', '.join(STORED)}; no credit passes through it" in str(algo.graph)
    assert "  [0] two   lead [2] x 4 neurons\n" in str(algo.graph)


def read_by_the_next_output(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    """What the output reads one step late is a state of its own, and in the loop."""
    one = jnp.tanh(below(joined(x, rec(h["two"]))) @ p["W1"])
    two = 0.8 * h["two"] + jnp.tanh(below(one) @ p["W2"])
    return {"one": one, "two": two}, two @ p["R"] + h["one"] @ p["V"]


def test_what_the_next_output_reads_is_a_state() -> None:
    model = by_formula("late", read_by_the_next_output, TWO, V=draw(H, N_OUT), **LOOP)
    check(model)


# -- many populations


def populations(n: int, reads: Any) -> Case:
    """`n` of them, of which each reads `reads(k)`: ("new" or "previous", of which)."""

    def formula(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
        new: dict[str, Any] = {}
        for k in range(n):
            parts = [(new if when == "new" else h)[f"h{j}"] for when, j in reads(k)]
            y = joined(x, jnp.concatenate(parts, -1)) @ p[f"W{k}"]
            new[f"h{k}"] = 0.8 * h[f"h{k}"] + jnp.tanh(y)
        return new, jnp.concatenate(list(new.values()), -1) @ p["R"]

    weights = {f"W{k}": draw(N_IN + H * len(reads(k)), H) for k in range(n)}
    return by_formula(
        "populations", formula, {f"h{k}": H for k in range(n)}, R=draw(n * H, N_OUT), **weights
    )


SHAPES = {
    "stacked": lambda n: lambda k: [("previous", k), *([("new", k - 1)] if k else [])],
    "all": lambda n: lambda k: [("previous", j) for j in range(n)],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_work_grows_with_the_number_of_populations(shape: str) -> None:
    """Of the step as its outputs see it; it was exponential in the number of cuts."""
    counts = []
    for n in (4, 8, 16):
        algo = core.D_RTRL(populations(n, SHAPES[shape](n)).model())

        def start(algo: Any = algo) -> None:
            core.initialise(algo, data_for().xs[0])

        run(start)
        counts.append(len(algo.graph.credit.equations))
        assert counts[-1] <= 2 * len(algo.graph.body)
    assert counts[2] - counts[1] <= 2 * (counts[1] - counts[0]) + 8


class Packed(brainstate.nn.Module):
    """Two layers that read each other, u what v stores; `how` says in what the states are held."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.W, self.U, self.R = (
            brainstate.ParamState(draw(*shape)) for shape in [(N_IN + H, H), (H, H), (H, N_OUT)]
        )

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        zeros = jnp.zeros((batch_size, H))
        self.h = brainstate.HiddenState(zeros)
        if self.how == "pack":
            self.uv = brainstate.HiddenTreeState({"u": zeros, "v": zeros})
        elif self.how == "reshaped":
            self.v = brainstate.HiddenState(zeros.reshape(batch_size, 1, H))
        else:
            self.v = brainstate.HiddenState(zeros)

    def update(self, x: Any) -> Any:
        v = self.uv.get_value("v") if self.how == "pack" else self.v.value
        v = v.reshape(x.shape[0], H)
        v = jnp.tanh(0.9 * v + jnp.concatenate([x, self.h.value], -1) @ self.W.value)
        if self.how == "pack":
            self.uv.set_value({"u": v, "v": v})
            h = v @ self.U.value
        else:
            self.v.value = v.reshape(self.v.value.shape)
            h = (self.v.value.reshape(v.shape) if self.how == "read again" else v) @ self.U.value
        self.h.value = h
        return h @ self.R.value


@functools.cache
def held_apart() -> Any:
    return run(lambda: gradient_of(core.D_RTRL(Packed("apart")), data_for()))


@pytest.mark.parametrize("how", ["pack", "reshaped", "read again"])
def test_a_new_state_is_live_however_it_is_held(how: str) -> None:
    found, losses = run(lambda: gradient_of(core.D_RTRL(Packed(how)), data_for()))
    assert_close(found, held_apart()[0], 1e-12)
    np.testing.assert_allclose(losses, held_apart()[1], rtol=1e-12)
