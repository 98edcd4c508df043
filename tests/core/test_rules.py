"""Functions with a derivative rule of their own: what passes through is what the rule says.

No weight is recurrent, so that D-RTRL and full RTRL equal BPTT, which asks the rules of nobody but
jax: the model's own loop under `brainstate.transform.grad` is the reference.
"""

from __future__ import annotations

import itertools
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import core

from .cases import N_HIDDEN, N_IN, Case, data_for, draw, gradient_of, run
from .references import assert_close, own_loop, squared_error

H = N_HIDDEN


@jax.custom_jvp
def jvp_spike(v: Any) -> Any:
    return (v >= 0).astype(v.dtype)


jvp_spike.defjvp(lambda p, t: (jvp_spike(p[0]), t[0] / (1 + 2 * p[0] ** 2)))


@jax.custom_vjp
def vjp_spike(v: Any) -> Any:
    return (v >= 0).astype(v.dtype)


vjp_spike.defvjp(lambda v: (vjp_spike(v), v), lambda v, d: (d / (1 + 2 * v**2),))


@jax.custom_jvp
def rule_in_a_rule(v: Any) -> Any:
    return 2 * vjp_spike(v)


rule_in_a_rule.defjvp(
    lambda p, t: (rule_in_a_rule(p[0]), vjp_spike(p[0]) * t[0] + jvp_spike(p[0] - 1) * t[0])
)


@jax.custom_vjp
def several(v: Any) -> Any:
    """Real, integer and boolean outputs."""
    return (v > 0).astype(v.dtype), (v > 0).astype(int), v > 1


several.defvjp(lambda v: (several(v), v), lambda v, d: (d[0] / (1 + v**2),))


@jax.custom_jvp
def silent(v: Any) -> Any:
    """Its value moves, its rule says that nothing passes."""
    return jnp.tanh(v)


silent.defjvp(lambda p, t: (silent(p[0]), jnp.zeros_like(t[0])))


@jax.custom_jvp
def steep(v: Any, steepness: Any) -> Any:
    return (v >= 0).astype(v.dtype)


steep.defjvp(lambda p, t: (steep(*p), p[1] * t[0] / (1 + 2 * p[0] ** 2)))


@jax.jit
def jitted(v: Any, steepness: Any) -> Any:
    """Traced once, however often it is called."""
    return steep(v, steepness)


def called_again(v: Any) -> Any:
    """With constants, and with a number that depends on data."""
    half = 0.5 + 0 * lax.stop_gradient(v).sum()
    return jitted(v, np.float64(2)) + jitted(v, half) + jitted(v, np.float64(3))


FUNCTIONS = {
    "called again": called_again,
    "nested": lambda v: jax.jit(rule_in_a_rule)(v) + jax.vmap(vjp_spike)(v),
    "several outputs, a silent one": lambda v: (
        several(v)[0] * (1 + several(v)[1]) * (2 - several(v)[2])
        + silent(v)
        + v
        + lax.stop_gradient(jnp.round(v) - v)
    ),
    "in a branch": lambda v: lax.cond(v[..., 0].sum() * 0 > -1, vjp_spike, jvp_spike, v),
    "in a loop": lambda v: lax.fori_loop(0, 3, lambda _, u: 0.3 * vjp_spike(u) + 0.2 * v, v),
}


class Net(brainstate.nn.Module):
    """Two coupled states; `position` says where f stands."""

    def __init__(self, f: Any, position: str) -> None:
        super().__init__()
        self.W, self.b = brainstate.ParamState(draw(N_IN, H)), brainstate.ParamState(draw(H))
        self.R = brainstate.ParamState(draw(H, 2))
        self.f, self.position = f, position

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        shape = (H,) if batch_size is None else (batch_size, H)
        self.v, self.a = (brainstate.HiddenState(jnp.zeros(shape)) for _ in range(2))

    def update(self, x: Any) -> Any:
        v, a, f, W = self.v.value, self.a.value, self.f, self.W.value
        if self.position == "weight":
            v, a = 0.8 * v + jnp.tanh(x @ f(W) + self.b.value), 0.9 * a + v
        elif self.position == "drive":
            v, a = 0.8 * v + f(2 * x @ W + self.b.value), 0.9 * a + v
        elif self.position == "coupling":
            s = f(v - 0.2 - 0.3 * a)
            v, a = 0.8 * (v - s) + 2 * x @ W + self.b.value, 0.9 * a + s
        elif self.position == "gain":
            v, a = 0.8 * v + jnp.tanh(x @ W) * f(self.b.value), 0.9 * a + v
        self.v.value, self.a.value = v, a
        return f(v + a) @ self.R.value


DATA = data_for()
POSITIONS = ("drive", "coupling", "weight", "gain")


class Everywhere(brainstate.nn.Module):
    """f in each position, in nets of their own whose outputs add up."""

    def __init__(self, f: Any) -> None:
        super().__init__()
        self.nets = [Net(f, position) for position in POSITIONS]

    def update(self, x: Any) -> Any:
        return sum(net(x) for net in self.nets)


@pytest.mark.parametrize(
    ("name", "batching"), list(zip(FUNCTIONS, itertools.cycle(["manual", "vmap"])))
)
def test_credit_passes_as_the_rule_says(name: str, batching: str) -> None:
    """Through every position at once; full RTRL where rules are nested."""
    model = Case(name, lambda: Everywhere(FUNCTIONS[name]), None, {}).model()
    algorithms = [core.D_RTRL(model, window=3 if batching == "manual" else 1)]
    if name == "nested":
        algorithms.append(core.RTRL(model, window=3))
    exact, found = run(
        lambda: (
            own_loop(model, squared_error, DATA)[0],
            [gradient_of(a, DATA, batching) for a in algorithms],
        )
    )
    assert len(exact) == 3 * len(POSITIONS)
    for gradients, _ in found:
        assert_close(gradients, exact)


@jax.custom_vjp
def clipping(v: Any) -> Any:
    return v


clipping.defvjp(lambda v: (v, None), lambda _, d: (jnp.clip(d, -0.1, 0.1),))


def test_a_rule_that_is_not_linear_is_refused() -> None:
    """By all that do not hand it the whole cotangent, as BPTT does but on a weight."""
    refusing = [core.D_RTRL, core.ES_D_RTRL, core.RTRL]
    for position, algorithms in {"drive": refusing, "weight": [*refusing, core.BPTT]}.items():
        model = Net(clipping, position)
        brainstate.nn.init_all_states(model, batch_size=2)
        for make in algorithms:
            with pytest.raises(core.NotRepresentable) as refused:
                make(model).compile_graph(DATA.xs[0])
            assert "derivative rules that are linear in the cotangent" in str(refused.value)
            assert "clipping" in str(refused.value)
    model = Case("clipping", lambda: Net(clipping, "drive"), None, {}).model()
    exact, (found, _) = run(
        lambda: (own_loop(model, squared_error, DATA)[0], gradient_of(core.BPTT(model), DATA))
    )
    assert_close(found, exact)


@jax.custom_jvp
def above(v: Any, threshold: Any) -> Any:
    return (v >= threshold).astype(v.dtype)


above.defjvp(lambda p, t: (above(*p), (t[0] - t[1]) / (1 + (p[0] - p[1]) ** 2)))
jitted_above = jax.jit(above)


def test_a_parameter_inside_a_rule_wants_the_shape_of_the_state() -> None:
    """The refusal says so, and it works; also of a function that was called with a constant."""

    class Threshold(Net):
        broadcast = False

        def update(self, x: Any) -> Any:
            v, b = self.v.value, self.b.value[0]
            fixed = jitted_above(v, np.float64(0.5))
            b = jnp.broadcast_to(b, v.shape) if self.broadcast else b
            self.v.value = 0.8 * v - 0.3 * fixed - 0.3 * jitted_above(v, b) + x @ self.W.value
            return self.v.value @ self.R.value

    model = Case("threshold", lambda: Threshold(None, ""), None, {}).model()
    brainstate.nn.init_all_states(model, batch_size=2)
    with pytest.raises(core.NotRepresentable, match="give a parameter the shape of the state"):
        core.D_RTRL(model).compile_graph(DATA.xs[0])
    model.broadcast = True
    exact, (found, _) = run(
        lambda: (own_loop(model, squared_error, DATA)[0], gradient_of(core.D_RTRL(model), DATA))
    )
    assert_close(found, exact)
