"""Smooth recurrent networks: brainstate's cells and small ones of our own, each also by hand."""

from __future__ import annotations

from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

from .cases import N_HIDDEN, N_IN, N_OUT, Case

__all__ = [
    "FEEDBACK",
    "GRU",
    "LATE",
    "LEAKY",
    "LSTM",
    "RECURRENT",
    "RNN",
    "STACKED",
    "Leaky",
    "LeakyTanh",
    "Recurrent",
    "WithReadout",
    "joined",
    "linear",
    "readout",
]

H = N_HIDDEN
sigmoid = jax.nn.sigmoid


class WithReadout(brainstate.nn.Module):
    """A recurrent cell and a linear readout of its state."""

    def __init__(self, cell: Any) -> None:
        super().__init__()
        self.cell = cell
        self.out = brainstate.nn.Linear(H, N_OUT)

    def update(self, x: Any) -> Any:
        return self.out(self.cell(x))


def readout(p: Any, h: Any) -> Any:
    return h @ p["out.weight.weight"] + p["out.weight.bias"]


def linear(p: Any, name: str, x: Any) -> Any:
    return x @ p[f"{name}.weight"] + p[f"{name}.bias"]


def joined(x: Any, h: Any) -> Any:
    return jnp.concatenate([x, h], axis=-1)


# -- brainstate's cells


def rnn_step(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    new = jnp.tanh(linear(p, "cell.W.weight", below(joined(x, rec(h["h"])))))
    return {"h": new}, readout(p, new)


def gru_step(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    gates = sigmoid(linear(p, "cell.Wrz.weight", below(joined(x, rec(h["h"])))))
    r, z = gates[..., :H], gates[..., H:]
    candidate = jnp.tanh(linear(p, "cell.Wh.weight", below(joined(x, r * rec(h["h"])))))
    new = (1 - z) * h["h"] + z * candidate
    return {"h": new}, readout(p, new)


def lstm_step(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    y = linear(p, "cell.W.weight", below(joined(x, rec(h["h"]))))
    i, g, f, o = (y[..., k * H : (k + 1) * H] for k in range(4))
    c = sigmoid(f + 1.0) * h["c"] + sigmoid(i) * jnp.tanh(g)
    new = sigmoid(o) * jnp.tanh(c)
    return {"c": c, "h": new}, readout(p, new)


def cell(name: str, **options: Any) -> Any:
    """A maker of brainstate's cell of that name with a readout."""
    return lambda: WithReadout(getattr(brainstate.nn, name)(N_IN, H, **options))


RNN = Case("rnn", cell("ValinaRNNCell", activation="tanh"), rnn_step, {"h": H})
GRU = Case("gru", cell("GRUCell"), gru_step, {"h": H})
LSTM = Case("lstm", cell("LSTMCell"), lstm_step, {"c": H, "h": H})


# -- our own


class Bare(brainstate.nn.Module):
    """W [3, 4] into h [4], which R [4, 2] reads: no bias, and `update` is the test's."""

    def __init__(self) -> None:
        super().__init__()
        draw = np.random.default_rng(0)
        self.W = brainstate.ParamState(jnp.asarray(draw.normal(size=(3, 4))))
        self.R = brainstate.ParamState(jnp.asarray(draw.normal(size=(4, 2))))

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        lead = () if batch_size is None else (batch_size,)
        self.h = brainstate.HiddenState(jnp.zeros((*lead, 4)))


class LeakyTanh(brainstate.nn.Module):
    """h <- d h + (1 - d) tanh(gain * y), d = sigmoid(time): element-wise parameters of both kinds.

    Args:
      n_in: width of the operand that `update` is given.
    """

    def __init__(self, n_in: int) -> None:
        super().__init__()
        self.W = brainstate.nn.Linear(n_in, H)
        self.gain = brainstate.ParamState(np.linspace(0.5, 1.5, H))
        self.time = brainstate.ParamState(np.asarray(0.7))  # one for all neurons

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        shape = (H,) if batch_size is None else (batch_size, H)
        self.h = brainstate.HiddenState(jnp.zeros(shape))

    def reset_state(self, **_: Any) -> None:
        self.h.value = jnp.zeros_like(self.h.value)

    def update(self, x: Any) -> Any:
        d = jax.nn.sigmoid(self.time.value)
        self.h.value = d * self.h.value + (1 - d) * jnp.tanh(self.gain.value * self.W(x))
        return self.h.value


def leaky_tanh(p: Any, name: str, h: Any, x: Any) -> Any:
    d = sigmoid(p[f"{name}.time"])
    return d * h + (1 - d) * jnp.tanh(p[f"{name}.gain"] * linear(p, f"{name}.W.weight", x))


class Leaky(brainstate.nn.Module):
    """One layer without recurrent matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = LeakyTanh(N_IN)
        self.out = brainstate.nn.Linear(H, N_OUT)

    def update(self, x: Any) -> Any:
        return self.out(self.cell(x))


def leaky_step(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    new = leaky_tanh(p, "cell", h["h"], below(x))
    return {"h": new}, readout(p, new)


class Recurrent(Leaky):
    """One layer that reads itself."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = LeakyTanh(N_IN + H)

    def update(self, x: Any) -> Any:
        return self.out(self.cell(joined(x, self.cell.h.value)))


def recurrent_step(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    new = leaky_tanh(p, "cell", h["h"], below(joined(x, rec(h["h"]))))
    return {"h": new}, readout(p, new)


class Stacked(brainstate.nn.Module):
    """Two recurrent layers; the second reads the first's new state."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = LeakyTanh(N_IN + H), LeakyTanh(2 * H)
        self.out = brainstate.nn.Linear(H, N_OUT)

    def update(self, x: Any) -> Any:
        first = self.one(joined(x, self.one.h.value))
        return self.out(self.two(joined(first, self.two.h.value)))


def stacked_step(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    one = leaky_tanh(p, "one", h["one"], below(joined(x, rec(h["one"]))))
    two = leaky_tanh(p, "two", h["two"], below(joined(one, rec(h["two"]))))
    return {"one": one, "two": two}, readout(p, two)


class Late(Stacked):
    """As `Stacked`, but the second layer reads the first one step late."""

    def update(self, x: Any) -> Any:
        before = self.one.h.value
        self.one(joined(x, before))
        return self.out(self.two(joined(before, self.two.h.value)))


def late_step(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    one = leaky_tanh(p, "one", h["one"], below(joined(x, rec(h["one"]))))
    # The first layer is upstream of the second's group: its previous state stays live.
    two = leaky_tanh(p, "two", h["two"], below(joined(h["one"], rec(h["two"]))))
    return {"one": one, "two": two}, readout(p, two)


class Feedback(Stacked):
    """The first layer also reads the second, one step late; the readout also a previous state."""

    def __init__(self) -> None:
        super().__init__()
        self.one = LeakyTanh(N_IN + 2 * H)

    def update(self, x: Any) -> Any:
        before, above = self.one.h.value, self.two.h.value
        first = self.one(joined(joined(x, before), above))
        return self.out(self.two(joined(first, above)) + before)


def feedback_step(p: Any, h: Any, x: Any, rec: Any, below: Any) -> Any:
    operand = joined(joined(x, rec(h["one"])), rec(h["two"]))
    one = leaky_tanh(p, "one", h["one"], below(operand))
    two = leaky_tanh(p, "two", h["two"], below(joined(one, rec(h["two"]))))
    return {"one": one, "two": two}, readout(p, two + h["one"])


LEAKY = Case("leaky", Leaky, leaky_step, {"h": H}, element_wise=True)
RECURRENT = Case("leaky and recurrent", Recurrent, recurrent_step, {"h": H})
STACKED = Case("two layers", Stacked, stacked_step, {"one": H, "two": H})
FEEDBACK = Case("two layers, feedback", Feedback, feedback_step, {"one": H, "two": H})
LATE = Case("two layers, one step late", Late, late_step, {"one": H, "two": H})
