"""Rules beside D-RTRL, where products feed and read more than one thing each.

Leaky integrators without recurrence and without a reset: e-prop and OTPE, which know what a leaky
readout remembers, are BPTT then, and so is OTTT where the readout has no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import core

from .cases import N_HIDDEN, N_IN, data_for, gradient_of, run
from .references import assert_close, relative_error

H, O = N_HIDDEN, 2
E_PROP = partial(core.EProp, feedback="symmetric", window=4)
OTPE, OTTT = partial(core.OTPE, window=4), partial(core.OTTT, window=4)
Step = Callable[[Any, Any, Any], tuple[dict[str, Any], Any]]  # of parameters, states and x


class Model(brainstate.nn.Module):
    """New states and output by `step`; weights W [I, H], V [H, O], U [2 H, O]."""

    def __init__(self, step: Step, widths: Mapping[str, Any], dtype: Any = float) -> None:
        super().__init__()
        self.step, self.widths, self.dtype = step, dict(widths), dtype
        draw = np.random.default_rng(0).normal
        self.W, self.V, self.U = (
            brainstate.ParamState(jnp.asarray(0.5 * draw(size=shape)))
            for shape in ((N_IN, H), (H, O), (2 * H, O))
        )

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        lead = () if batch_size is None else (batch_size,)
        for name, n in self.widths.items():
            shape = n if isinstance(n, tuple) else (n,)
            zeros = jnp.zeros((*lead, *shape), self.dtype)
            setattr(self, name, brainstate.HiddenState(zeros))

    def update(self, x: Any) -> Any:
        states = {name: getattr(self, name).value for name in self.widths}
        new, out = self.step(self, states, x)
        for name, value in new.items():
            getattr(self, name).value = value
        return out


def leak(m: Any, s: Any, x: Any) -> Any:
    return 0.9 * s["h"] + x @ m.W.value


def half_leaks(m: Any, s: Any, x: Any) -> Any:
    """Of four columns the middle ones, in another order."""
    h = leak(m, s, x)
    y = jnp.tanh(h) @ jnp.concatenate([m.V.value, 0.5 * m.V.value], axis=1)
    r = 0.6 * s["r"] + 2 * y[..., np.array([2, 1])]
    return {"h": h, "r": r}, r + y[..., ::3]


def columns_in_a_circle(m: Any, s: Any, x: Any) -> Any:
    """A permutation that is not its own inverse."""
    h = leak(m, s, x)
    y = jnp.tanh(h) @ jnp.concatenate([m.V.value, jnp.sin(m.V.value[:, :1])], axis=1)
    r = 0.6 * s["r3"] + y[..., np.array([1, 2, 0])]
    return {"h": h, "r3": r}, r[..., :2] + r[..., 2:] ** 2


def two_columns_a_readout(m: Any, s: Any, x: Any) -> Any:
    h = leak(m, s, x)
    y = jnp.tanh(h) @ jnp.concatenate([m.V.value, 0.5 * m.V.value], axis=1)
    r = 0.6 * s["r"] + y[..., :O] + 0.2 * y[..., O:]
    return {"h": h, "r": r}, r


def two_readouts(m: Any, s: Any, x: Any, other: float) -> Any:
    h = leak(m, s, x)
    y = jnp.tanh(h) @ m.V.value
    r, q = 0.6 * s["r"] + y, other * s["q"] + y
    return {"h": h, "r": r, "q": q}, r + 2 * q


DRIVE = {"h": H, "k": H, "r": O}


def one_drive(m: Any, s: Any, x: Any) -> Any:
    """A product feeds two layers, whose neurons are read at one place."""
    y = x @ m.W.value
    h, k = 0.9 * s["h"] + y, 0.5 * s["k"] + y
    r = 0.6 * s["r"] + (jnp.tanh(h) + k * k) @ m.V.value
    return {"h": h, "k": k, "r": r}, r


def without_readout(m: Any, s: Any, x: Any) -> Any:
    """Columns of one product for two layers of different decays."""
    y = x @ jnp.concatenate([m.W.value, m.W.value**2], axis=1)
    h, k = 0.9 * s["h"] + y[..., :H], 0.5 * s["k"] + y[..., H:]
    return {"h": h, "k": k}, jnp.concatenate([h, k], -1) @ m.U.value


def constant_readout(m: Any, s: Any, x: Any) -> Any:
    h = leak(m, s, x)
    r = 0.6 * s["r"] + jnp.tanh(h) @ FIXED
    return {"h": h, "r": r}, r + h @ m.V.value


FIXED = np.random.default_rng(1).normal(size=(H, O))


EXACT: dict[str, tuple[Step, dict[str, int], tuple[Any, ...]]] = {
    "half leaks": (half_leaks, {"h": H, "r": O}, (E_PROP, OTPE)),
    "columns in a circle": (columns_in_a_circle, {"h": H, "r3": 3}, (E_PROP, OTPE)),
    "two columns a readout": (two_columns_a_readout, {"h": H, "r": O}, (E_PROP, OTPE)),
    "two readouts": (partial(two_readouts, other=0.3), {"h": H, "r": O, "q": O}, (E_PROP,)),
    "two alike": (partial(two_readouts, other=0.6), {"h": H, "r": O, "q": O}, (E_PROP,)),
    "no readout": (without_readout, {"h": H, "k": H}, (OTTT, OTPE)),
    "constant readout": (constant_readout, {"h": H, "r": O}, (E_PROP, OTPE)),
}


@pytest.mark.parametrize("name", EXACT)
def test_linear_in_time_is_exact(name: str) -> None:
    step, widths, rules = EXACT[name]
    model, data = Model(step, widths), data_for()
    wanted, *found = run(
        lambda: [gradient_of(make(model), data)[0] for make in (core.BPTT, *rules)]
    )
    used = [path for path, grad in wanted.items() if np.any(grad)]
    assert len(used) == 2
    for grads in found:
        assert max(relative_error(grads[path], wanted[path]) for path in used) < 1e-12


class Begun(Model):
    """With a readout that begins with a parameter."""

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        super().init_state(batch_size)
        self.r.value = jnp.broadcast_to(self.V.value[0], self.r.value.shape)


def test_a_readout_that_begins_with_a_parameter_is_leaky() -> None:
    def step(m: Any, s: Any, x: Any) -> Any:
        h = leak(m, s, x)
        r = 0.6 * s["r"] + jnp.tanh(h) @ m.V.value
        return {"h": h, "r": r}, r

    model, data = Begun(step, {"h": H, "r": O}), data_for()
    wanted, found = run(lambda: [gradient_of(make(model), data)[0] for make in (core.BPTT, E_PROP)])
    for path in (("W",), ("V",)):
        assert relative_error(found[path], wanted[path]) < 1e-12


def test_a_complex_readout_has_a_complex_decay() -> None:
    def step(m: Any, s: Any, x: Any) -> Any:
        h = 0.9j * s["h"] + x.astype(complex) @ (m.W.value + 0.5j)
        r = (0.5 + 0.4j) * s["r"] + h @ (m.V.value + 0.5j)
        return {"h": h, "r": r}, jnp.abs(r)

    model, data = Model(step, {"h": H, "r": O}, complex), data_for()
    wanted, *found = run(
        lambda: [gradient_of(make(model), data)[0] for make in (core.BPTT, E_PROP, OTPE)]
    )
    for grads in found:
        for path in (("W",), ("V",)):
            assert relative_error(grads[path], wanted[path]) < 1e-12


def with_relu(m: Any, s: Any, x: Any) -> Any:
    """Its derivative comes by a rule of its own, as that of a spike does."""
    h = 0.9 * s["h"] + jax.nn.relu(x @ m.W.value)
    return {"h": h}, h @ m.V.value


def within_relu(m: Any, s: Any, x: Any) -> Any:
    h = jax.nn.relu(leak(m, s, x))
    return {"h": h}, h @ m.V.value


def with_rule(value: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A step with a slope."""
    spike = jax.custom_jvp(value)
    spike.defjvp(lambda v, d: (spike(*v), d[0] / (1 + v[0] ** 2)))
    return spike


SPIKES = [
    with_rule(lambda v: (v >= 0).astype(v.dtype)),
    with_rule(lambda v: jnp.heaviside(v, 1.0)),  # which is NaN where v is
]


def sum_of_spikes(m: Any, s: Any, x: Any) -> Any:
    h = 0.9 * s["h"] + SPIKES[0](x @ m.W.value)
    return {"h": h}, h @ m.V.value


def beside(m: Any, s: Any, x: Any) -> Any:
    y = x @ m.W.value
    h = 0.9 * s["h"] + y
    return {"h": h}, (h * y) @ m.V.value


def now_and_before(m: Any, s: Any, x: Any) -> Any:
    h = jnp.tanh(x @ m.W.value)
    r = 0.6 * s["r"] + jnp.concatenate([h, s["h"]], axis=-1) @ m.U.value
    return {"h": h, "r": r}, r


def by_real_part(m: Any, s: Any, x: Any) -> Any:
    recurrent = s["h"].real.astype(complex) @ (m.U.value[:H] + 0.5j)
    h = 0.9j * s["h"] + x.astype(complex) @ m.W.value
    return {"h": h.at[..., :O].add(recurrent)}, h.real @ m.V.value


def rows(m: Any, s: Any, x: Any) -> Any:
    """Three rows of neurons, of which each reads the one before it."""
    h = 0.5 * s["rows"] + jnp.tanh(
        jnp.stack([x, -x, x * x], -2) @ m.W.value
        + jnp.roll(s["rows"], 1, -2) @ m.U.value.reshape(H, H)
    )
    return {"rows": h}, (h @ m.V.value).sum(-2)


REFUSED: dict[str, tuple[Any, Model, str]] = {
    "relu(y)": (OTTT, Model(with_relu, {"h": H}), "decays or is driven otherwise"),
    "relu(h + y)": (OTTT, Model(within_relu, {"h": H}), "decays or is driven otherwise"),
    "spikes(y)": (OTPE, Model(sum_of_spikes, {"h": H}), "decays or is driven otherwise"),
    "beside the state": (OTPE, Model(beside, {"h": H}), "got W, whose output reaches an output"),
    "two layers": (OTTT, Model(one_drive, DRIVE), "got W, which feeds h, k"),
    "by two layers": (E_PROP, Model(one_drive, DRIVE), "got V, which .* by way of two layers"),
    "two alike": (OTPE, Model(*EXACT["two alike"][:2]), "got V, which feeds r, q"),
    "at two places": (E_PROP, Model(now_and_before, {"h": H, "r": O}), "got U, which reads some"),
    "a real part": (
        core.SnAp,
        Model(by_real_part, {"h": H}, complex),
        "got U, which feeds complex",
    ),
    "rows": (core.UORO, Model(rows, {"rows": (3, H)}), r"got rows \[2, 3\] that read one another"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_rule_cannot_tell_is_refused(name: str) -> None:
    make, model, text = REFUSED[name]
    with pytest.raises(core.NotRepresentable, match=text):
        core.initialise(make(model), data_for().xs[0])


def test_a_spike_is_held_however_its_value_is_spelled() -> None:
    def step(m: Any, s: Any, x: Any, spike: Any) -> Any:
        h = 0.9 * (s["h"] - spike(s["h"])) + x @ m.W.value
        return {"h": h}, spike(h) @ m.V.value

    models = [Model(partial(step, spike=spike), {"h": H}) for spike in SPIKES]
    first, second = run(lambda: [gradient_of(OTTT(model), data_for())[0] for model in models])
    for path in (("W",), ("V",)):
        assert relative_error(first[path], second[path]) < 1e-12


def test_rows_that_are_apart_are_taken() -> None:
    def apart(m: Any, s: Any, x: Any) -> Any:
        h = 0.5 * s["rows"] + jnp.tanh(
            jnp.stack([x, -x, x * x], -2) @ m.W.value + s["rows"] @ m.U.value.reshape(H, H)
        )
        return {"rows": h}, (h @ m.V.value).sum(-2)

    core.initialise(core.UORO(Model(apart, {"rows": (3, H)})), data_for().xs[0])


def test_samples_that_are_neurons_cannot_start_anew_one_by_one() -> None:
    """A number a sample, by a bias alone: nothing says that its axis is of samples."""

    class Number(brainstate.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.b = brainstate.ParamState(jnp.asarray(0.3))

        def init_state(self, batch_size: int | None = None, **_: Any) -> None:
            self.h = brainstate.HiddenState(jnp.zeros(() if batch_size is None else batch_size))

        def update(self, x: Any) -> Any:
            self.h.value = 0.8 * self.h.value + jnp.tanh(x.sum(-1) + self.b.value)
            return self.h.value[..., None]

    data, reset = data_for(), np.zeros((6, 2), bool)
    reset[3, 1] = True
    algo = core.ES_D_RTRL(Number(), 0.7, window=2)
    with pytest.raises(core.NotRepresentable, match="its samples are its neurons"):
        gradient_of(algo, data, reset=reset)
    gradient_of(algo, data, "vmap", reset=reset)


def test_callbacks_run_step_by_step() -> None:
    """One that jax.vmap cannot map, of what has no gradient."""

    def step(m: Any, s: Any, x: Any) -> Any:
        like = jax.ShapeDtypeStruct(s["h"].shape, float)
        still = jax.pure_callback(np.sin, like, jax.lax.stop_gradient(s["h"]))
        h = leak(m, s, x) + still
        return {"h": h}, h @ m.V.value

    model, data = Model(step, {"h": H}), data_for()
    wanted, found = run(
        lambda: [gradient_of(make(model), data)[0] for make in (core.BPTT, core.D_RTRL)]
    )
    for path in (("W",), ("V",)):
        assert relative_error(found[path], wanted[path]) < 1e-12


SPELLINGS: dict[str, Callable[[Any, Any], Any]] = {
    "y + b": lambda y, b: y + b,
    "at[].add": lambda y, b: y.at[...].add(b),
    "in a branch": lambda y, b: jax.lax.cond(y.sum() * 0 > -1, lambda: y + b, lambda: y),
}


def test_a_bias_is_low_passed_however_it_is_added() -> None:
    def step(m: Any, s: Any, x: Any, add: Any) -> Any:
        h = 0.8 * s["h"] + jnp.tanh(add(x @ m.W.value, m.V.value[:, 0]))
        return {"h": h}, h[..., :O]

    def everything() -> Any:
        models = [Model(partial(step, add=add), {"h": H}) for add in SPELLINGS.values()]
        return [gradient_of(core.ES_D_RTRL(m, 0.7, window=2), data_for())[0] for m in models]

    first, *others = run(everything)
    for grads in others:
        assert_close({"b": grads[("V",)]}, {"b": first[("V",)]})
