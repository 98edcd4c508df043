"""What D-RTRL cannot represent is refused by name, with the line and the remedy."""

from __future__ import annotations

from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import core

from . import rate_models as rate
from .cases import N_HIDDEN, N_IN, data_for, gradient_of, run
from .references import assert_close, named, squared_error

H = N_HIDDEN
REMEDY = (
    "Keep the path from a weight's output to the state, and from state to state, element-wise; "
    "to feed several neurons, repeat a weight's columns and not its output; "
    "put mixing inside the operand of a weight, where it costs nothing; "
    "give a parameter the shape of the state (jnp.broadcast_to) before a branch, a loop or a "
    "function with a derivative rule of its own reads it; "
    'let batching="vmap" give each sample its own of what a whole batch shares; '
    "or train this model with core.BPTT."
)


class Cell(brainstate.nn.Module):
    """h <- mix(h, y) of y = [x, h] W; `broken` switches the mixing on."""

    kind: Any = brainstate.HiddenState

    def __init__(self) -> None:
        super().__init__()
        self.W = brainstate.nn.Linear(N_IN + H, H)
        self.out = brainstate.nn.Linear(H, 2)
        self.broken = True

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        self.h = self.kind(jnp.zeros((H,) if batch_size is None else (batch_size, H)))

    def mix(self, h: Any, y: Any) -> Any:
        raise NotImplementedError

    def update(self, x: Any) -> Any:
        y = self.W(jnp.concatenate([x, self.h.value], axis=-1))
        h = self.h.value
        self.h.value = self.mix(h, y) if self.broken else 0.5 * h + jnp.tanh(y)
        return self.out(self.h.value)


class LayerNorm(Cell):
    def mix(self, h: Any, y: Any) -> Any:
        return 0.5 * h + (y - y.mean(axis=-1, keepdims=True))


class BrainstateLayerNorm(Cell):
    def __init__(self) -> None:
        super().__init__()
        self.norm = brainstate.nn.LayerNorm(H)

    def mix(self, h: Any, y: Any) -> Any:
        return 0.5 * h + jnp.tanh(self.norm(y))


class Convolution(Cell):
    def mix(self, h: Any, y: Any) -> Any:
        kernel = jnp.ones((1, 1, 3)) / 3
        smooth = jax.lax.conv_general_dilated(h[:, None], kernel, (1,), "SAME")[:, 0]
        return 0.5 * smooth + jnp.tanh(y)


class Neighbour(Cell):
    def mix(self, h: Any, y: Any) -> Any:
        return 0.5 * jnp.roll(h, 1, axis=-1) + jnp.tanh(y)


class Sorted(Cell):
    def mix(self, h: Any, y: Any) -> Any:
        return 0.5 * h + jnp.sort(y, axis=-1)


class Loop(Cell):
    def mix(self, h: Any, y: Any) -> Any:
        more = lambda c: jnp.abs(c[1]).max() > 1e-3  # noqa: E731  how often is not known
        return jax.lax.while_loop(more, lambda c: (0, 0.5 * c[1]), (0, h))[1] + jnp.tanh(y)


class Twice(Cell):
    """One half of y feeds both halves of the state."""

    def mix(self, h: Any, y: Any) -> Any:
        half = y[..., : H // 2]
        return 0.5 * h + jnp.tanh(jnp.concatenate([half, half], axis=-1))


@jax.custom_jvp
def centred(y: Any) -> Any:
    """The identity, with a derivative that mixes."""
    return y


centred.defjvp(lambda y, dy: (y[0], dy[0] - dy[0].mean(axis=-1, keepdims=True)))


class MixingRule(Cell):
    def mix(self, h: Any, y: Any) -> Any:
        return 0.5 * h + centred(jnp.tanh(y))


class Narrow(Cell):
    """The state is of lower precision than the weights."""

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        self.h = brainstate.HiddenState(jnp.zeros((batch_size or 1, H), jnp.float16))

    def mix(self, h: Any, y: Any) -> Any:
        return (0.5 * h + jnp.tanh(y)).astype(jnp.float16)


class Drifting(Narrow):
    """The first step makes another dtype of the state."""

    def mix(self, h: Any, y: Any) -> Any:
        return 0.5 * h + jnp.tanh(y)


class OtherKind(Cell):
    kind = brainstate.ShortTermState

    def mix(self, h: Any, y: Any) -> Any:
        return 0.5 * h + jnp.tanh(y)


CASES = [
    (
        LayerNorm,
        "expected that each element feeds one neuron of the state h; got an element that "
        "feeds several, at the operation 'sub', ",
        "in mix",
        REMEDY,
    ),
    (
        BrainstateLayerNorm,
        "expected that each element feeds one neuron of the state h; got an "
        "element that feeds several, at the operation",
        "in mix",
        REMEDY,
    ),
    (
        Convolution,
        "expected an element-wise path into the state h; got the operation "
        "'conv_general_dilated' at",
        "in mix",
        REMEDY,
    ),
    (
        Neighbour,
        "expected that each neuron of h reads its own h; got a path that reads another neuron's.",
        "",
        "Mix neurons through a weight matrix, or train with core.BPTT.",
    ),
    (
        Sorted,
        "expected that each element feeds one neuron of the state h; got an element that "
        "feeds several, at the operation 'sort', ",
        "in mix",
        REMEDY,
    ),
    (
        Loop,
        "expected an element-wise path into the state h; got the operation 'while' at",
        "in mix",
        "core.BPTT needs that as well.",
    ),
    (
        Twice,
        "expected that each element feeds one neuron of the state h; got an element that "
        "feeds several, at the operation 'concatenate', ",
        "in mix",
        REMEDY,
    ),
    (
        MixingRule,
        "expected that each element feeds one neuron of the state h; got an element that "
        "feeds several, at the operation",
        "",
        REMEDY,
    ),
    (
        Narrow,
        "expected states at least as precise as the float64 of W.weight.weight, which feeds "
        "them; got h of dtype float16.",
        "",
        "Use one dtype for both, or train with core.BPTT.",
    ),
    (
        Drifting,
        "expected a step to leave the state h as float16[2,4]; got a new value float64[2,4].",
        "",
        "Initialise the state with this shape and dtype, or cast what is written.",
    ),
    (
        OtherKind,
        "expected that only HiddenStates carry a gradient from step to step; got the "
        "state h, which is of another kind and carries one.",
        "",
        "Make it a brainstate.HiddenState, or stop the gradient where it is written.",
    ),
]


@pytest.mark.parametrize(
    ("kind", "text", "where", "remedy"), CASES, ids=[c[0].__name__ for c in CASES]
)
def test_refused_by_name(kind: Any, text: str, where: str, remedy: str) -> None:
    brainstate.random.seed(0)
    model, data = kind(), data_for()
    brainstate.nn.init_all_states(model, batch_size=2)
    for make in (core.D_RTRL, core.ES_D_RTRL):
        with pytest.raises(core.NotRepresentable) as refused:
            make(model).compile_graph(data.xs[0])
        message = str(refused.value)
        assert message.startswith(text)
        assert message.endswith(remedy)
        if where:  # the user's own line, also where a library did the mixing
            assert "test_refusals.py:" in message
            assert where.removeprefix("in ") in message


@pytest.mark.parametrize("kind", [LayerNorm, Convolution, OtherKind], ids=lambda k: k.__name__)
def test_a_refused_model_can_be_used_again(kind: Any) -> None:
    """By BPTT as it is; and by the same algorithm, once mended."""
    brainstate.random.seed(0)
    model, data = kind(), data_for()
    algo = core.D_RTRL(model)

    def everything() -> Any:
        with pytest.raises(core.NotRepresentable):
            core.initialise(algo, data.xs[0])
        return gradient_of(core.BPTT(model), data)

    p = {name: np.asarray(w) for name, w in named(model.states(brainstate.ParamState)).items()}
    exact, _ = run(everything)

    def total(p: Any) -> Any:
        def tick(h: Any, inputs: Any) -> Any:
            x, y = inputs
            value = jnp.concatenate([x, h], axis=-1) @ p["W.weight.weight"] + p["W.weight.bias"]
            h = model.mix(h, value)
            return h, squared_error(h @ p["out.weight.weight"] + p["out.weight.bias"], y)

        return jax.lax.scan(tick, jnp.zeros((2, H)), tuple(data))[1].sum()

    assert_close(exact, jax.jit(jax.grad(total))(p))
    if kind is OtherKind:
        return
    model.broken = False
    grads, losses = run(lambda: gradient_of(algo, data))
    assert np.isfinite(np.asarray(losses)).all()
    assert np.abs(np.asarray(grads["W.weight.weight"])).max() > 0


def test_rtrl_takes_mixing_but_no_state_of_another_kind() -> None:
    brainstate.random.seed(0)
    model, data = Convolution(), data_for()
    found = run(lambda: [gradient_of(a(model), data) for a in (core.BPTT, core.RTRL)])
    assert_close(found[1][0], found[0][0])
    with pytest.raises(core.NotRepresentable, match="of another kind"):
        run(lambda: gradient_of(core.RTRL(OtherKind()), data))


def test_mixing_inside_an_operand_is_free() -> None:
    """The remedy works: a layer norm in front of a weight, whatever it reads."""

    class Normed(Cell):
        def update(self, x: Any) -> Any:
            x = jnp.concatenate([x, self.h.value], axis=-1)
            x = (x - x.mean(axis=-1, keepdims=True)) / (1 + x.std(axis=-1, keepdims=True))
            self.h.value = 0.5 * self.h.value + jnp.tanh(self.W(x))
            return self.out(self.h.value)

    brainstate.random.seed(0)
    model, data = Normed(), data_for()
    found = run(lambda: [gradient_of(core.D_RTRL(model, window=k), data) for k in (2, 6)])
    assert_close(found[0][0], found[1][0])


def test_another_state_without_gradient_is_welcome() -> None:
    class Counting(rate.Recurrent):
        def init_state(self, *_: Any, **__: Any) -> None:
            self.steps = brainstate.ShortTermState(jnp.zeros(()))

        def update(self, x: Any) -> Any:
            self.steps.value = self.steps.value + 1.0
            return (1 + 0.1 * self.steps.value) * super().update(x)

    brainstate.random.seed(0)
    model, data = Counting(), data_for()

    def everything() -> Any:
        found = [gradient_of(core.D_RTRL(model, window=k), data) for k in (2, 6)]
        return found, model.steps.value

    (windows, whole), steps = run(everything)
    assert float(steps) == 6
    assert_close(windows[0], whole[0])


def test_states_made_anew_are_noticed() -> None:
    """`init_all_states` after `compile_graph` makes States that the algorithm does not know."""
    model, data = rate.LEAKY.model(), data_for()
    algo = core.D_RTRL(model)

    def stale() -> Any:
        core.initialise(algo, data.xs[0])
        brainstate.nn.init_all_states(model, batch_size=2)
        return algo(data.xs[0])

    with pytest.raises(core.NotCompiled) as refused:
        run(stale)
    assert str(refused.value) == (
        "expected the states that the graph was compiled with; got new ones: cell.h. Call "
        "core.initialise again, or compile_graph after init_all_states, or start again with "
        "brainstate.nn.reset_all_states, which keeps the states. Another algorithm's "
        "core.initialise makes new ones too."
    )

    def again() -> Any:
        core.initialise(algo, data.xs[0])
        first = algo(data.xs[0])
        brainstate.nn.reset_all_states(model, batch_size=2)
        return first, algo(data.xs[0])

    first, second = run(again)
    assert np.array_equal(first, second)


class HandedOn(Cell):
    """A state of another kind holds h, a second one the first: credit of two steps ago."""

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        super().init_state(batch_size)
        self.first = brainstate.ShortTermState(jnp.zeros((batch_size or 1, H)))
        self.second = brainstate.ShortTermState(jnp.zeros((batch_size or 1, H)))

    def mix(self, h: Any, y: Any) -> Any:
        new = 0.5 * h + jnp.tanh(y) + 0.1 * self.second.value
        self.second.value, self.first.value = self.first.value, h
        return new


def test_credit_that_other_states_hand_on_is_refused() -> None:
    model = HandedOn()
    brainstate.nn.init_all_states(model, batch_size=2)
    with pytest.raises(core.NotRepresentable, match="the state second, which is of another kind"):
        core.D_RTRL(model).compile_graph(data_for().xs[0])


@pytest.mark.parametrize("make", [core.BPTT, core.D_RTRL, core.RTRL], ids=lambda m: m.__name__)
def test_a_parameter_written_by_the_step_is_refused(make: Any) -> None:
    """Its new value would be lost."""

    class Fading(Cell):
        def mix(self, h: Any, y: Any) -> Any:
            self.W.weight.value = jax.tree.map(lambda w: 0.9 * w, self.W.weight.value)
            return 0.5 * h + jnp.tanh(y)

    model = Fading()
    brainstate.nn.init_all_states(model, batch_size=2)
    with pytest.raises(core.NotRepresentable) as refused:
        make(model).compile_graph(data_for().xs[0])
    assert str(refused.value) == (
        "expected parameters to stay as they are during a step; got the ParamState "
        "W.weight.bias, which update writes. Make it a state of another kind, or write it outside "
        "of the step."
    )


def test_a_model_that_is_no_module_is_refused() -> None:
    with pytest.raises(core.InvalidArgument) as refused:
        core.D_RTRL(lambda x: x)
    assert str(refused.value) == (
        "expected a brainstate.nn.Module as model; got function. "
        "Derive the model from brainstate.nn.Module."
    )


def test_errors_are_value_errors_in_three_parts() -> None:
    for kind in (core.NotRepresentable, core.NotCompiled, core.InvalidArgument):
        error = kind("a", "b", "Do c.")
        assert isinstance(error, ValueError)
        assert (error.expected, error.came, error.do) == ("a", "b", "Do c.")
        assert str(error) == "expected a; got b. Do c."
