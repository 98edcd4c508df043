"""One weight or one operation that reaches several states, outputs and operands at once."""

from __future__ import annotations

from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
from .recursions import Local, es_d_rtrl
from .references import assert_close, cut_bptt, named, relative_error, squared_error

H, WIDE = N_HIDDEN, N_HIDDEN + 2


def two_groups(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    """The same outputs y feed h and k."""
    y = below(joined(x, rec(h["h"]))) @ p["W"]
    new = {"h": 0.8 * h["h"] + jnp.tanh(y), "k": 0.5 * h["k"] + jnp.sin(2 * y)}
    return new, (new["h"] * new["k"]) @ p["R"]


def overlapping(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    """Outputs 2 and 3 feed both, the others one."""
    y = below(joined(x, rec(h["h"]))) @ p["W"]
    new = {"h": 0.8 * h["h"] + jnp.tanh(y[..., :H]), "k": 0.5 * h["k"] + jnp.sin(y[..., 2:])}
    return new, new["h"] @ p["R"] + new["k"][..., :N_OUT]


def one_time_constant(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    """Of two layers of one width, as an array."""
    d = jax.nn.sigmoid(p["time"])
    one = d * h["h"] + jnp.tanh(below(x) @ p["W"])
    two = d * h["k"] + jnp.tanh(below(one) @ p["U"])
    return {"h": one, "k": two}, two @ p["R"]


def everywhere(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    """A number in two layers of different widths, in an operand, and in the output."""
    g = p["g"]
    one = g * h["h"] + jnp.tanh(below(g * x) @ p["W"])
    two = g * h["k"] + jnp.tanh(below(one) @ p["U"])
    return {"h": one, "k": two}, g * (two @ p["R"])


def gain_and_vector(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    """A gain of a state that is also the weight of the readout."""
    new = 0.7 * h["h"] + jnp.tanh(p["g"] * (below(x) @ p["W"]))
    return {"h": new}, (new @ p["g"])[..., None] * jnp.ones(N_OUT)


def set_to_a_parameter(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    """k holds a parameter from the first step on, which h reads one step late."""
    new = 0.8 * h["h"] * h["k"] + jnp.tanh(below(joined(x, rec(h["h"]))) @ p["W"])
    return {"h": new, "k": p["g"] * jnp.ones_like(h["k"])}, new @ p["R"]


CASES = [
    by_formula(
        "an operation feeds two groups",
        two_groups,
        {"h": H, "k": H},
        W=draw(N_IN + H, H),
        R=draw(H, N_OUT),
    ),
    by_formula(
        "of other columns",
        overlapping,
        {"h": H, "k": WIDE},
        W=draw(N_IN + H, H + WIDE - 2),
        R=draw(H, N_OUT),
    ),
    by_formula(
        "one time constant for two layers",
        one_time_constant,
        {"h": H, "k": H},
        time=draw(H),
        W=draw(N_IN, H),
        U=draw(H, H),
        R=draw(H, N_OUT),
    ),
    by_formula(
        "one number everywhere",
        everywhere,
        {"h": H, "k": WIDE},
        g=np.asarray(0.7),
        W=draw(N_IN, H),
        U=draw(H, WIDE),
        R=draw(WIDE, N_OUT),
    ),
    by_formula(
        "a state is set to a parameter",
        set_to_a_parameter,
        {"h": H, "k": H},
        g=draw(H),
        W=draw(N_IN + H, H),
        R=draw(H, N_OUT),
    ),
    by_formula("gain and vector", gain_and_vector, {"h": H}, g=draw(H), W=draw(N_IN, H)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_gradient(case: Case) -> None:
    model, data = case.model(), data_for()

    def everything(p: Any) -> Any:
        return {
            "cut": cut_bptt(case.step, p, case.start(), *data),
            "d_rtrl": gradient_of(core.D_RTRL(model, window=3), data, "vmap"),
            "full rank": gradient_of(core.ES_D_RTRL(model, N_IN + 2 * H, window=2), data),
        }

    found = {name: grads for name, (grads, _) in run(everything, weights_of(model)).items()}
    assert_close(found["d_rtrl"], found["cut"])
    assert_close(found["full rank"], found["cut"], 1e-9)


def test_es_d_rtrl_of_an_operation_that_feeds_two_groups() -> None:
    model, data, decay = CASES[0].model(), data_for(), 0.7
    p = weights_of(model)
    h, k = np.zeros((2, data.xs.shape[1], H))
    rows = []
    for x, wanted in zip(*data, strict=True):
        operand = np.concatenate([x, h], axis=-1)
        y = operand @ p["W"]
        h, k = 0.8 * h + np.tanh(y), 0.5 * k + np.sin(2 * y)
        D = np.broadcast_to(np.diag([0.8, 0.5])[None, :, :, None], (len(h), 2, 2, H))
        credit = 2 * ((h * k) @ p["R"] - wanted) @ p["R"].T
        f = np.stack([1 - np.tanh(y) ** 2, 2 * np.cos(2 * y)], axis=1)
        rows.append((operand, D, f, np.stack([credit * k, credit * h], axis=1)))
    local = Local(*(np.stack(column) for column in zip(*rows, strict=True)))
    grads, _ = run(lambda: gradient_of(core.ES_D_RTRL(model, decay, window=3), data))
    assert relative_error(grads["W"], es_d_rtrl(local, decay, decay)) < 1e-12


def test_a_parameter_and_an_operation_of_one_name_have_traces_of_their_own() -> None:
    model = CASES[-1].model()
    algo = core.D_RTRL(model)
    found: dict[str, int] = {}

    def compile_it() -> None:
        core.initialise(algo, data_for().xs[0])
        found.update(algo.trace_bytes)

    run(compile_it)
    assert set(found) == {"W", "g", "g (use 2)"}
    assert found["g"] == 0  # the vector feeds no state
    assert found["g (use 2)"] > 0


def test_parameters_with_whole_numbers_among_them() -> None:
    """They are constants: no gradient, and nothing in the way of the others'."""

    class Indexed(brainstate.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.p = brainstate.ParamState({"W": draw(N_IN, H), "order": np.arange(H)[::-1]})

        def init_state(self, batch_size: int | None = None, **_: Any) -> None:
            shape = (H,) if batch_size is None else (batch_size, H)
            self.h = brainstate.HiddenState(jnp.zeros(shape))

        def update(self, x: Any) -> Any:
            p = self.p.value
            self.h.value = 0.8 * self.h.value + jnp.tanh(x @ p["W"][:, p["order"]])
            return self.h.value[..., :N_OUT]

    model, data = Indexed(), data_for()
    algorithms = (core.BPTT, core.D_RTRL, lambda m: core.ES_D_RTRL(m, 9), core.RTRL)

    def everything() -> Any:
        found = []
        for make in algorithms:
            algo = make(model)
            core.initialise(algo, data.xs[0])
            found.append(
                core.gradient(algo, lambda o, y: ((o - y) ** 2).sum(), *data, per_step_targets=True)
            )
        return found

    found = [
        named(result.grads) if hasattr(result, "grads") else result[0] for result in run(everything)
    ]
    for grads in found:
        assert not np.any(grads["p.order"])
        assert relative_error(grads["p.W"], found[0]["p.W"]) < 1e-9
    assert np.any(found[0]["p.W"])


class Varied(brainstate.nn.Module):
    """Every sample has time constants of its own, in a state that is only read.

    Args:
      scaled: the weights depend on them as well.
    """

    def __init__(self, scaled: bool = False) -> None:
        super().__init__()
        self.scaled = scaled
        self.W, self.time = brainstate.ParamState(draw(N_IN, H)), brainstate.ParamState(draw(H))

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        shape = (H,) if batch_size is None else (batch_size, H)
        self.h = brainstate.HiddenState(jnp.zeros(shape))
        self.own = brainstate.ShortTermState(jnp.zeros(shape))

    def update(self, x: Any) -> Any:
        decay = jax.nn.sigmoid(self.time.value * jnp.exp(self.own.value))
        W = self.W.value * self.own.value if self.scaled else self.W.value
        self.h.value = decay * self.h.value + jnp.tanh(x @ W)
        return self.h.value[..., :N_OUT]


def varied(model: Any, algo: Any, batching: str) -> Any:
    """The gradient with 0.1, 0.2, ... in the state of the two samples."""
    data = data_for()
    core.initialise(algo, data.xs[0], batching=batching)
    model.own.value = 0.1 * jnp.arange(1.0, 1.0 + 2 * H).reshape(2, H)
    return core.gradient(algo, squared_error, *data, per_step_targets=True)


@pytest.mark.parametrize("make", [core.D_RTRL, core.RTRL])
def test_samples_with_constants_of_their_own(make: Any) -> None:
    model = Varied()
    found = run(lambda: [varied(model, make(model), b) for b in ("manual", "vmap")])
    assert_close(found[1][0], found[0][0])


def test_samples_with_weights_of_their_own_are_refused() -> None:
    model = Varied(scaled=True)
    with pytest.raises(core.NotRepresentable) as refused:
        run(lambda: varied(model, core.D_RTRL(model), "vmap"))
    assert str(refused.value) == (
        "expected one weight for all samples; got W, made with a state that differs from sample to "
        "sample. Create that state outside of vmap_new_states, or train with core.BPTT."
    )
