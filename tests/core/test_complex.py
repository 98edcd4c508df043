"""Complex states: a linear recurrent unit is exact; what has no one derivative is refused."""

from __future__ import annotations

from functools import partial
from typing import Any

import brainstate
import jax.numpy as jnp
import numpy as np
import pytest

import core

from .cases import N_HIDDEN, N_IN, N_OUT, data_for, gradient_of, run

H = N_HIDDEN


def draw(*shape: int) -> np.ndarray:
    random = np.random.default_rng(sum(shape))
    return (random.normal(size=shape) + 1j * random.normal(size=shape)) * 0.5


class Unit(brainstate.nn.Module):
    """h <- lambda h + x B, out = Re(h C), with |lambda| < 1; subclasses break the path."""

    def __init__(self) -> None:
        super().__init__()
        self.nu, self.theta = (brainstate.ParamState(draw(H, k).real[:, 0]) for k in (1, 2))
        self.B = brainstate.ParamState(draw(N_IN, H))
        self.C = brainstate.ParamState(draw(H, N_OUT))

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        shape = (H,) if batch_size is None else (batch_size, H)
        self.h = brainstate.HiddenState(jnp.zeros(shape, complex))

    def through(self, h: Any) -> Any:
        return h

    def update(self, x: Any) -> Any:
        decay = jnp.exp(-jnp.exp(self.nu.value) + 1j * self.theta.value)
        self.h.value = decay * self.through(self.h.value) + x @ self.B.value
        return (self.h.value @ self.C.value).real


class ByAbsoluteValue(Unit):
    def through(self, h: Any) -> Any:
        return h * jnp.tanh(jnp.abs(h))


class ByRealPart(Unit):
    def through(self, h: Any) -> Any:
        return h + jnp.tanh(h.real)


def test_d_rtrl_is_bptt() -> None:
    model, data = Unit(), data_for()
    algorithms = [core.BPTT, *(partial(core.D_RTRL, window=k) for k in (1, 4, 6))]
    found = run(lambda: [gradient_of(make(model), data) for make in algorithms])
    (exact, _), *others = found
    assert len(exact) == 4
    for grads, _ in others:
        for name, wanted in exact.items():
            assert np.abs(wanted).max() > 0
            apart = np.linalg.norm(np.asarray(grads[name]) - wanted) / np.linalg.norm(wanted)
            assert apart < 1e-12


def test_es_d_rtrl_is_its_recursion() -> None:
    """ex_t = a ex + x, ef_t = a lambda ef + 1 - a; of B, the sum of ex (x) L ef / (1 - a^(t+1))."""
    model, data, a = Unit(), data_for(), 0.7
    grads, _ = run(lambda: gradient_of(core.ES_D_RTRL(model, a, window=3), data))
    decay = np.exp(-np.exp(model.nu.value) + 1j * model.theta.value)
    B, C = np.asarray(model.B.value), np.asarray(model.C.value)
    h = ef = np.zeros((data.xs.shape[1], H), complex)
    ex, wanted = np.zeros(data.xs.shape[1:]), np.zeros(B.shape, complex)
    for t, (x, y) in enumerate(zip(*data, strict=True)):
        h, ex, ef = decay * h + x @ B, a * ex + x, a * decay * ef + (1 - a)
        credit = 2 * ((h @ C).real - y) @ C.T
        wanted += ex.T @ (credit * ef) / (1 - a ** (t + 1))
    assert np.linalg.norm(grads["B"] - wanted) < 1e-12 * np.linalg.norm(wanted)


class ByConjugate(Unit):
    def through(self, h: Any) -> Any:
        return h.conj()


class ByRealState(Unit):
    """A complex weight, a real state."""

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        shape = (H,) if batch_size is None else (batch_size, H)
        self.h = brainstate.HiddenState(jnp.zeros(shape))

    def update(self, x: Any) -> Any:
        self.h.value = 0.9 * self.h.value + (x @ self.B.value).real
        return self.h.value


@pytest.mark.parametrize(
    "kind", [ByAbsoluteValue, ByRealPart, ByConjugate, ByRealState], ids=lambda k: k.__name__
)
def test_paths_between_complex_and_real_are_refused(kind: Any) -> None:
    """Their derivative depends on the direction: one number per neuron does not hold it."""
    model = kind()
    brainstate.nn.init_all_states(model, batch_size=2)
    with pytest.raises(core.NotRepresentable) as refused:
        core.D_RTRL(model).compile_graph(data_for().xs[0])
    message = str(refused.value)
    assert message.startswith(
        "expected one derivative per neuron of the state h, by a path of complex or of real "
        "numbers alone; got the operation "
    )
    assert "test_complex.py" in message


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (core.RTRL, "expected real states and parameters; got "),
        (lambda m: core.ES_D_RTRL(m, 3), "expected real states for a trace of low rank; got B, "),
    ],
    ids=["rtrl", "rank"],
)
def test_traces_of_real_numbers_refuse_complex_ones(make: Any, text: str) -> None:
    model = Unit()
    brainstate.nn.init_all_states(model, batch_size=2)
    with pytest.raises(core.NotRepresentable) as refused:
        make(model).compile_graph(data_for().xs[0])
    assert str(refused.value).startswith(text)
