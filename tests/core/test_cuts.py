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

from .cases import N_HIDDEN, N_IN, N_OUT, Case, data_for, gradient_of, run, weights_of
from .rate_models import joined
from .references import assert_close, bptt, cut_bptt, errors, live

H = N_HIDDEN


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape) * 0.6


class States(brainstate.nn.Module):
    """Weights and hidden states by name, and a function of both: h, out = formula(p, h, x, rec)."""

    def __init__(self, formula: Any, weights: dict[str, Any], hidden: dict[str, int]) -> None:
        super().__init__()
        self.formula, self.hidden = formula, hidden
        for name, value in weights.items():
            setattr(self, name, brainstate.ParamState(value))

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        lead = () if batch_size is None else (batch_size,)
        for name, n in self.hidden.items():
            setattr(self, name, brainstate.HiddenState(jnp.zeros((*lead, n))))

    def update(self, x: Any) -> Any:
        weights = self.states(brainstate.ParamState)
        p = {path[-1]: state.value for path, state in weights.items()}
        h = {name: getattr(self, name).value for name in self.hidden}
        new, out = self.formula(p, h, x, live, live)
        for name, value in new.items():
            getattr(self, name).value = value
        return out


def case(name: str, formula: Any, hidden: dict[str, int], **weights: np.ndarray) -> Case:
    return Case(name, lambda: States(formula, weights, hidden), formula, hidden)


def check(case: Case) -> None:
    """D-RTRL of a model is that of the definition."""
    data = data_for()

    def everything(p: Any) -> Any:
        return {
            "wanted": cut_bptt(case.step, p, case.start(), *data),
            "exact": bptt(case.step, p, case.start(), *data),
            "got": gradient_of(core.D_RTRL(case.model(), window=3), data),
        }

    found = run(everything, weights_of(case.model()))
    wanted, _ = found["wanted"]
    assert_close(found["got"][0], wanted)
    assert max(errors(wanted, found["exact"][0]).values()) > 1e-3  # there is something to cut


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

PAIRS = {
    "concatenate and split": lambda a, b: jnp.split(jnp.tanh(joined(a, b)), 2, -1),
    "stack": by_stack(jnp.tanh),
    "vmap": by_stack(jax.vmap(jnp.tanh)),
    "transposed": by_stack(lambda s: jnp.tanh(s.transpose(1, 2, 0)).transpose(2, 0, 1)),
    "padded and added": lambda a, b: jnp.split(
        jnp.tanh(jnp.pad(a, ((0, 0), (0, H))) + jnp.pad(b, ((0, 0), (H, 0)))), 2, -1
    ),
    "interleaved": lambda a, b: (lambda s: (s[..., ::2], s[..., 1::2]))(
        jnp.tanh(jnp.stack([a, b], -1).reshape(*a.shape[:-1], -1))
    ),
    "summed over another axis": by_stack(lambda s: jnp.stack([jnp.tanh(s), 0 * s], 1).sum(axis=1)),
    "written into one array": lambda a, b: jnp.split(
        jnp.tanh(jnp.zeros((*a.shape[:-1], 2 * H)).at[..., :H].set(a).at[..., H:].add(b)), 2, -1
    ),
    "rolled and looked up": lambda a, b: (
        lambda s: (s[..., [5, 6, 7, 0]], jnp.take(s, np.array([1, 2, 3, 4]), axis=-1))
    )(jnp.roll(jnp.tanh(joined(a, b)), 5, -1)),
    "a spike function": by_stack(lambda s: relu(s - 0.1)),
    "one product": by_stack(lambda s: jnp.tanh(s) @ jnp.eye(H)),
}


@pytest.mark.parametrize("how", PAIRS)
def test_layers_that_are_computed_together_are_not_a_loop(how: str) -> None:
    def formula(*args: Any) -> Any:
        return late(*args, pair=PAIRS[how])

    check(case(how, formula, TWO, W1=W1, W2=W2, R=R))


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
    case("layers", fused_layers, TWO, W=draw(N_IN + H, 2 * H), U=draw(H, H), R=R),
    case(
        "readout",
        fused_readout,
        {"one": H},
        U=draw(H, H + N_OUT),
        W=W1[:N_IN],
        R=draw(N_OUT, N_OUT),
    ),
    case("reset gate", fused_gates, {"one": H}, W=draw(N_IN + H, 2 * H), W1=W1, R=R),
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


STORED: dict[str, tuple[dict[str, int], Any]] = {
    "its value": ({"s": H}, lambda h, a: ({"s": a}, a)),
    "its mean, in other units": ({"s": 1}, lambda h, a: ({"s": a.mean(-1, keepdims=True)}, a)),
    "a moving average": ({"s": H}, lambda h, a: ({"s": 0.9 * h["s"] + a}, a)),
    "a mixing average": ({"s": H}, lambda h, a: ({"s": jnp.tanh(h["s"] @ np.ones((H, H))) + a}, a)),
    "a chain": (
        {"s": H, "t": H, "u": 1},
        lambda h, a: ({"s": a, "t": h["s"], "u": (a * h["t"]).sum(-1, keepdims=True)}, a),
    ),
    "read as a constant": ({"s": H}, lambda h, a: ({"s": a}, a + 0 * lax.stop_gradient(h["s"]))),
    "beside what is not read": (
        {"s": 2 * H},
        lambda h, a: (
            {"s": joined(a, a)},
            jnp.split(jnp.tanh(joined(h["s"][..., :H], a)), 2, -1)[1] * 0 + a,
        ),
    ),
}


def gradients(c: Case) -> Any:
    """By every kind of trace."""
    algorithms = (
        lambda m: core.D_RTRL(m, window=3),
        lambda m: core.ES_D_RTRL(m, 0.7, window=3),
        lambda m: core.D_RTRL(m, window=3, credit="window"),
    )
    return run(lambda: [gradient_of(make(c.model()), data_for()) for make in algorithms])


@functools.cache
def of_nothing_stored() -> Any:
    return gradients(case("nowhere", loop, {"two": H}, **LOOP))


@pytest.mark.parametrize("how", STORED)
def test_storing_is_not_reading(how: str) -> None:
    hidden, keep = STORED[how]
    stored = case(how, lambda *args: loop(*args, keep=keep), {"two": H, **hidden}, **LOOP)
    got, wanted = gradients(stored), of_nothing_stored()
    assert len(got) == len(wanted) == 3
    for (g, _), (w, _) in zip(got, wanted, strict=True):
        assert_close(g, w)


def read_by_the_next_output(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    """What the output reads one step late is a state of its own, and in the loop."""
    one = jnp.tanh(below(joined(x, rec(h["two"]))) @ p["W1"])
    two = 0.8 * h["two"] + jnp.tanh(below(one) @ p["W2"])
    return {"one": one, "two": two}, two @ p["R"] + h["one"] @ p["V"]


def test_what_the_next_output_reads_is_a_state() -> None:
    model = case("late", read_by_the_next_output, TWO, V=draw(H, N_OUT), **LOOP)
    check(model)


def test_the_graph_names_what_is_stored() -> None:
    stored = case(
        "stored",
        lambda *a: loop(*a, keep=STORED["a chain"][1]),
        {"two": H, "s": H, "t": H, "u": 1},
        **LOOP,
    )
    algo = core.D_RTRL(stored.model())
    run(lambda: core.initialise(algo, data_for().xs[0]))
    assert "  no group: s, t, u; no credit passes through it" in str(algo.graph)
    assert "  [0] two   lead [2] x 4 neurons\n" in str(algo.graph)


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
    return case(
        "populations", formula, {f"h{k}": H for k in range(n)}, R=draw(n * H, N_OUT), **weights
    )


SHAPES = {
    "parallel": lambda n: lambda k: [("previous", k)],
    "stacked": lambda n: lambda k: [("previous", k), *([("new", k - 1)] if k else [])],
    "ring": lambda n: lambda k: [("previous", k), ("previous", (k - 1) % n)],
    "all": lambda n: lambda k: [("previous", j) for j in range(n)],
    "from below": lambda n: lambda k: [("previous", j) for j in range(k + 1)],
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


@pytest.mark.parametrize("make", [core.D_RTRL, lambda m: core.ES_D_RTRL(m, 0.9)], ids=["d", "es"])
@pytest.mark.parametrize("how", ["pack", "reshaped", "read again"])
def test_a_new_state_is_live_however_it_is_held(how: str, make: Any) -> None:
    data = data_for()
    (found, losses), (want, same) = (
        run(lambda how=how: gradient_of(make(Packed(how)), data)) for how in (how, "apart")
    )
    np.testing.assert_allclose(losses, same, rtol=1e-12)
    assert_close(found, want, 1e-12)
