"""Several states of a neuron, diagonal recurrences, layers of layers; and what is refused."""

from __future__ import annotations

from functools import partial
from typing import Any

import brainstate
import brainunit as u
import jax
import jax.numpy as jnp

from .entries import Entry, H, I, Net, O, State, T, smooth, weight
from .reference import product, recurrent
from .structures import Formula, Step, drive


class Two(State):
    """Coupled states of one neuron."""

    names = ("h", "a")

    def __init__(self, f: Any) -> None:
        super().__init__()
        self.f, self.V, self.U = f, weight(I, H), weight(H, H, seed=1)
        self.gain = weight(H, seed=4)

    def update(self, x: Any) -> Any:
        y = product(x, self.V.value) + product(self.h.value, self.U.value)
        self.h.value, self.a.value = self.f(self, y, self.h.value, self.a.value)
        return self.h.value


recurrent(Two)

TWO: dict[str, Any] = {
    "voltage and adaptation": lambda m, y, h, a: (0.8 * h - 0.3 * a + y, 0.9 * a + 0.1 * h),
    "oscillator": lambda m, y, h, a: (
        jnp.cos(m.gain.value) * h - jnp.sin(m.gain.value) * a + y,
        jnp.sin(m.gain.value) * h + jnp.cos(m.gain.value) * a,
    ),
    "momentum": lambda m, y, h, a: (h + 0.9 * a + 0.1 * y, 0.9 * a + 0.1 * y),
    "two filters": lambda m, y, h, a: (0.9 * h + 0.1 * a, 0.5 * a + y),
    "a state that is not read": lambda m, y, h, a: (0.9 * h + y, 0.5 * a + y.sum()),
}


class OneArray(brainstate.nn.Module):
    """Two states of a neuron in one HiddenGroupState or HiddenTreeState."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.V, self.U = kind, weight(I, H), weight(H, H, seed=1)

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        shape = (H,) if batch_size is None else (batch_size, H)
        if self.kind == "HiddenTreeState":
            self.s = brainstate.HiddenTreeState({"v": jnp.zeros(shape), "a": jnp.zeros(shape)})
        else:
            self.s = brainstate.HiddenGroupState(jnp.zeros((*shape, 2)))

    def update(self, x: Any) -> Any:
        first, second = ("v", "a") if self.kind == "HiddenTreeState" else (0, 1)
        v, a = self.s.get_value(first), self.s.get_value(second)
        y = product(x, self.V.value) + product(v, self.U.value)
        self.s.set_value({first: 0.8 * v - 0.3 * a + jnp.tanh(y), second: 0.9 * a + 0.1 * v})
        return self.s.get_value(first)


recurrent(OneArray)


@recurrent
class Diagonal(State):
    """A linear recurrent unit with complex states; the real part is read."""

    dtype = complex

    def __init__(self) -> None:
        super().__init__()
        self.nu, self.theta = weight(H, seed=1), weight(H, seed=2)
        self.Br, self.Bi = weight(I, H, seed=3), weight(I, H, seed=4)

    def update(self, x: Any) -> Any:
        decay = jnp.exp(-jnp.exp(self.nu.value) + 1j * self.theta.value)
        y = product(x.astype(complex), self.Br.value + 1j * self.Bi.value)
        self.h.value = decay * self.h.value + y
        return jnp.concatenate([self.h.value.real, self.h.value.imag], -1)


@recurrent
class TraceUnit(State):
    """A recurrent trace unit: a rotation of two real states."""

    names = ("h", "a")

    def __init__(self) -> None:
        super().__init__()
        self.r, self.theta = weight(H, seed=1), weight(H, seed=2)
        self.Br, self.Bi = weight(I, H, seed=3), weight(I, H, seed=4)

    def update(self, x: Any) -> Any:
        r, angle = jnp.exp(-jnp.exp(self.r.value)), jnp.exp(self.theta.value)
        c, s, gain = r * jnp.cos(angle), r * jnp.sin(angle), jnp.sqrt(1 - r**2)
        h, a = self.h.value, self.a.value
        self.h.value = c * h - s * a + gain * product(x, self.Br.value)
        self.a.value = c * a + s * h + gain * product(x, self.Bi.value)
        return jnp.concatenate([jnp.tanh(self.h.value), jnp.tanh(self.a.value)], -1)


class Sample(brainstate.nn.Module):
    """A sample [I] and a state [1, H]."""

    def __init__(self) -> None:
        super().__init__()
        self.V, self.U, self.R = weight(I, H), weight(H, H, seed=1), weight(H, O, seed=3)

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        self.h = brainstate.HiddenState(jnp.zeros((1, H)))

    def update(self, x: Any) -> Any:
        self.h.value = 0.8 * self.h.value + jnp.tanh(product(x, self.V.value))
        return product(self.h.value, self.R.value)


class Layers(brainstate.nn.Module):
    """Two layers of our own, one above the other, with what `between` says in between."""

    def __init__(self, late: bool = False, skip: bool = False) -> None:
        super().__init__()
        leak = lambda m, x, h: 0.8 * h + jnp.tanh(drive(m, x, h))  # noqa: E731
        self.a, self.b = Formula(leak), Formula(leak)
        self.b.V = weight(H + (I if skip else 0), H, seed=8)
        self.late, self.skip = late, skip

    def update(self, x: Any) -> Any:
        before = self.a.h.value
        now = self.a(x)
        z = before if self.late else now
        return self.b(jnp.concatenate([z, x], -1) if self.skip else z)


@recurrent
class Delayed(State):
    """Its own values of two steps ago are part of the operand."""

    def __init__(self) -> None:
        super().__init__()
        self.V, self.U = weight(I, H), weight(H, H, seed=1)
        self.past = brainstate.nn.Delay(jax.ShapeDtypeStruct((H,), float))
        self.past.register_entry("late", 2.0 * u.ms)

    def update(self, x: Any) -> Any:
        y = product(x, self.V.value) + product(self.past.at("late"), self.U.value)
        self.h.value = 0.8 * self.h.value + jnp.tanh(y)
        self.past.update(self.h.value)
        return self.h.value


class DelayedBelow(brainstate.nn.Module):
    """A layer, or the output, reads the layer below two steps late."""

    def __init__(self, above: Any) -> None:
        super().__init__()
        leak = lambda m, x, h: 0.8 * h + jnp.tanh(drive(m, x, h))  # noqa: E731
        self.below, self.above = Formula(leak), above(leak)
        self.past = brainstate.nn.Delay(jax.ShapeDtypeStruct((H,), float))
        self.past.register_entry("late", 2.0 * u.ms)

    def update(self, x: Any) -> Any:
        late = self.past.at("late")
        self.past.update(self.below(x))
        return self.above(late)


def above(leak: Step) -> Any:
    made = Formula(leak)
    made.V = weight(H, H, seed=8)
    return made


@recurrent
class Register(State):
    """The same with a register of shifted values, states of their own."""

    names = ("h", "one", "two")

    def __init__(self) -> None:
        super().__init__()
        self.V, self.U = weight(I, H), weight(H, H, seed=1)

    def update(self, x: Any) -> Any:
        y = product(x, self.V.value) + product(self.two.value, self.U.value)
        h = self.h.value
        self.two.value, self.one.value = self.one.value, h
        self.h.value = 0.8 * h + jnp.tanh(y)
        return self.h.value


@recurrent
class Filtered(State):
    """Input and own spikes pass one low-pass filter in front of the weight."""

    names = ("h",)

    def __init__(self) -> None:
        super().__init__()
        self.W = weight(I + H, H)

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        super().init_state(batch_size)
        lead = () if batch_size is None else (batch_size,)
        self.z = brainstate.HiddenState(jnp.zeros((*lead, I + H)))

    def update(self, x: Any) -> Any:
        h = self.h.value
        self.z.value = 0.7 * self.z.value + jnp.concatenate([x, jnp.tanh(h)], -1)
        self.h.value = 0.8 * h + jnp.tanh(product(self.z.value, self.W.value))
        return self.h.value


def mixing(kind: str) -> Any:
    ways: dict[str, Step] = {
        "layer norm of a weight's output": lambda m, x, h: (
            0.8 * h + jax.nn.standardize(drive(m, x, h))
        ),
        "softmax of states": lambda m, x, h: jax.nn.softmax(h) + drive(m, x, h),
        "neighbours": lambda m, x, h: 0.5 * jnp.roll(h, 1, -1) + drive(m, x, h),
        "sorted": lambda m, x, h: 0.8 * h + jnp.sort(drive(m, x, h), -1),
        "lateral inhibition": lambda m, x, h: (
            0.8 * h + drive(m, x, h) - 0.1 * h.sum(-1, keepdims=True)
        ),
        "one output for all": lambda m, x, h: 0.8 * h + drive(m, x, h)[..., :1],
    }
    return Net(Formula(ways[kind]))


REFUSED = [
    "layer norm of a weight's output",
    "softmax of states",
    "neighbours",
    "sorted",
    "lateral inhibition",
    "one output for all",
]

ENTRIES = [
    *(Entry("several states", name, lambda f=f: Net(Two(f))) for name, f in TWO.items()),
    *(
        Entry("several states", kind, lambda kind=kind: Net(OneArray(kind)))
        for kind in ("HiddenGroupState", "HiddenTreeState")
    ),
    Entry("diagonal recurrences", "LRU, complex", lambda: Net(Diagonal(), 2 * H)),
    Entry("diagonal recurrences", "RTU", lambda: Net(TraceUnit(), 2 * H)),
    Entry("steps", "a sample [I] and a state [1, H]", Sample, lambda: smooth(T, I), "single"),
    Entry("delays", "brainstate Delay of own values", lambda: Net(Delayed())),
    Entry("delays", "Delay of the layer below", lambda: Net(DelayedBelow(above))),
    Entry("delays", "Delay that the output reads", lambda: Net(DelayedBelow(lambda _: jnp.tanh))),
    Entry("delays", "a register of states", lambda: Net(Register())),
    Entry("delays", "inputs and own values in one filter", lambda: Net(Filtered())),
    Entry("layers of layers", "stacked", lambda: Net(Layers())),
    Entry("layers of layers", "read one step late", lambda: Net(Layers(late=True))),
    Entry("layers of layers", "with a skip", lambda: Net(Layers(skip=True))),
    *(Entry("mixing", kind, partial(mixing, kind)) for kind in REFUSED),
]
