"""Cells and layers of brainstate and of braintrace."""

from __future__ import annotations

from functools import partial
from typing import Any

import brainevent
import brainpy.state
import brainstate
import braintrace
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from .entries import B, Entry, H, I, Net, O, State, T, draw, smooth
from .reference import by_hand, product, recurrent

bs, bt = brainstate.nn, braintrace.nn
N = I + H


@recurrent
class Leak(State):
    """h <- 0.8 h + tanh(layer(z)), of z = [x, h], or x alone."""

    def __init__(self, layer: Any, shape: tuple[int, ...] = (H,), own: bool = True) -> None:
        super().__init__()
        self.layer, self.shape, self.own = layer, shape, own

    def operand(self, x: Any) -> Any:
        return jnp.concatenate([x, self.h.value], axis=-1) if self.own else x

    def update(self, x: Any) -> Any:
        y = u.get_magnitude(self.layer(self.operand(x)))
        self.h.value = 0.8 * self.h.value + jnp.tanh(y)
        return self.h.value


@recurrent
class Spikes(Leak):
    """The same, where z is zeros and ones."""

    def operand(self, x: Any) -> Any:
        z = jnp.concatenate([x, self.h.value], axis=-1)
        return brainstate.nn.relu(jnp.sign(z)) + 0 * z


class Grouped(Leak):
    def operand(self, x: Any) -> Any:
        x = jnp.concatenate([x, x[..., :1]], -1).reshape(*x.shape[:-1], 2, 2)
        return jnp.concatenate([x, self.h.value], axis=-1)


def cell(home: Any, name: str) -> Any:
    return Net(getattr(home, name)(I, H))


def leak(layer: Any, **options: Any) -> Any:
    made = layer()
    shape = options.get("shape", (H,))
    return Net(Leak(made, **options), int(np.prod(shape)))


STORED = np.where(np.random.default_rng(3).random((N, H)) < 0.6, 0.7, 0.0)


class Stored(brainstate.nn.Module):
    """A product with the entries that a sparse layer stores; by hand, with a dense matrix.

    brainunit 0.5.2 transposes its products wrongly, and brainevent's need numba on a CPU.
    """

    def __init__(self, layer: Any, at: Any, events: bool = False) -> None:
        super().__init__()
        self.layer, self.at, self.events = layer, at, events

    def update(self, z: Any) -> Any:
        if not by_hand():
            return self.layer(z)
        (entries,) = jax.tree.leaves(self.layer.weight.value)
        w = jnp.zeros((N, H)).at[self.at].add(entries)
        if self.events:
            z = z + jax.lax.stop_gradient((z > 0) - z)
        return product(z, w)


def stored(kind: Any) -> Any:
    layer = bs.SparseLinear(kind.fromdense(jnp.asarray(STORED)), in_size=(N,))
    return Stored(layer, placed(kind))


def placed(kind: Any) -> Any:
    rows, columns = np.nonzero(STORED)
    order = np.lexsort((rows, columns)) if kind.__name__ == "CSC" else slice(None)
    return rows[order], columns[order]


def fixed_number(kind: Any) -> Any:
    layer = kind(N, H, 2, draw(N, 2), seed=1)
    at = np.arange(N)[:, None], np.asarray(layer.conn.indices)
    return Stored(layer, at, events=kind is bs.EventFixedNumConn)


class Events(brainstate.nn.Module):
    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.matrix = kind.fromdense(jnp.asarray(STORED))
        self.weight = brainstate.ParamState(self.matrix.data)

    def update(self, z: Any) -> Any:
        return brainevent.BinaryArray(z) @ self.matrix.with_data(self.weight.value)


def events(kind: Any) -> Any:
    return Stored(Events(kind), placed(kind), events=True)


class Dense(brainstate.nn.Module):
    """An EventLinear, by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = bs.EventLinear(N, H, draw(N, H))

    def update(self, z: Any) -> Any:
        if not by_hand():
            return self.layer(z)
        z = z + jax.lax.stop_gradient((z > 0) - z)
        return product(z, self.layer.weight.value)


CELLS = {
    bs: ["ValinaRNNCell", "GRUCell", "MGUCell", "LSTMCell", "URLSTMCell"],
    bt: [
        "ValinaRNNCell",
        "GRUCell",
        "CFNCell",
        "MGUCell",
        "LSTMCell",
        "URLSTMCell",
        "MinimalRNNCell",
        "MiniGRU",
        "MiniLSTM",
    ],
}

LAYERS: dict[str, Any] = {
    "Linear": lambda: bs.Linear(N, H),
    "Linear, masked": lambda: bs.Linear(N, H, w_mask=jnp.tril(jnp.ones((N, H)))),
    "SignedWLinear": lambda: bs.SignedWLinear(N, H, w_sign=jnp.sign(jnp.asarray(draw(N, H)))),
    "ScaledWSLinear": lambda: bs.ScaledWSLinear(N, H),
    "AllToAll": lambda: bs.AllToAll(N, H),
    "AllToAll, not itself": lambda: bs.AllToAll(N, H, include_self=False),
    "LoRA": lambda: bs.LoRA(N, 2, H),
    "LoRA on a Linear": lambda: bs.LoRA(N, 2, H, base_module=bs.Linear(N, H)),
    "SparseLinear, CSR": lambda: stored(u.sparse.CSR),
    "SparseLinear, CSC": lambda: stored(u.sparse.CSC),
    "SparseLinear, COO": lambda: stored(u.sparse.COO),
    "SparseLinear, CSR of brainevent": lambda: stored(brainevent.CSR),
    "SparseLinear, CSC of brainevent": lambda: stored(brainevent.CSC),
    "FixedNumConn": lambda: fixed_number(bs.FixedNumConn),
    "braintrace Linear": lambda: bt.Linear(N, H),
    "braintrace SignedWLinear": lambda: bt.SignedWLinear(N, H),
    "braintrace ScaledWSLinear": lambda: bt.ScaledWSLinear(N, H),
    "braintrace SparseLinear": lambda: Stored(
        bt.SparseLinear(brainevent.CSR.fromdense(jnp.asarray(STORED)), in_size=(N,)),
        placed(brainevent.CSR),
    ),
    "braintrace LoRA": lambda: bt.LoRA(N, 2, H),
}


def before(first: Any) -> Any:
    return lambda: bs.Sequential(first(), bs.Linear(N, H))


OPERANDS: dict[str, Any] = {
    "LayerNorm": before(lambda: bs.LayerNorm((N,))),
    "RMSNorm": before(lambda: bs.RMSNorm((N,))),
    "GroupNorm": before(lambda: bs.GroupNorm((N,), num_groups=1)),
    "two layers": before(lambda: bs.Sequential(bs.Linear(N, N), bs.Tanh())),
}

EVENTS: dict[str, Any] = {
    "EventLinear": Dense,
    "EventFixedNumConn": lambda: fixed_number(bs.EventFixedNumConn),
    "events and CSR": lambda: events(brainevent.CSR),
    "events and CSC": lambda: events(brainevent.CSC),
}


def image() -> Any:
    return smooth(T, B, 5, 3)


def conv(home: Any, own: bool, **options: Any) -> Any:
    channels = 3 + 2 * own
    layer = home.Conv1d((5, channels), 2, 3, **options)
    shape = tuple(layer.out_size)
    return Net(Leak(layer, shape, own), int(np.prod(shape)))


def conv2d(home: Any, **options: Any) -> Any:
    layer = home.Conv2d((4, 3, 2), 2, (2, 3), **options)
    shape = tuple(layer.out_size)
    return Net(Leak(layer, shape, own=False), int(np.prod(shape)))


def words() -> Any:
    return np.random.default_rng(0).integers(0, 5, (T, B))


def embedded(home: Any, **options: Any) -> Any:
    return Net(Leak(home.Embedding(5, H, **options), own=False))


def readout(kind: Any) -> Any:
    class WithReadout(brainstate.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.out = bs.GRUCell(I, H), kind(H, O)

        def update(self, x: Any) -> Any:
            return self.out(self.cell(x))

    return WithReadout()


def grouped() -> Any:
    return Net(Grouped(bt.GroupedLinear(2, 2 + 2, 2), (2, 2)), H)


ENTRIES = [
    *(
        Entry("cells", ("braintrace " if home is bt else "") + name, partial(cell, home, name))
        for home, names in CELLS.items()
        for name in names
    ),
    Entry("cells", "braintrace LRUCell", lambda: Net(bt.LRUCell(I, H), I)),
    *(Entry("layers", name, partial(leak, layer)) for name, layer in LAYERS.items()),
    *(Entry("layers", name, lambda e=e: Net(Spikes(e()))) for name, e in EVENTS.items()),
    *(Entry("operands", name, partial(leak, layer)) for name, layer in OPERANDS.items()),
    Entry("layers", "OneToOne", lambda: leak(lambda: bs.OneToOne(I), shape=(I,), own=False)),
    Entry("layers", "braintrace GroupedLinear", grouped, lambda: smooth(T, B, I)),
    Entry("layers", "LeakyRateReadout", partial(readout, brainpy.state.LeakyRateReadout)),
    Entry("layers", "braintrace LeakyRateReadout", partial(readout, bt.LeakyRateReadout)),
    *(
        Entry("convolutions", prefix + name, partial(make, home, **options), inputs)
        for home, prefix in ((bs, ""), (bt, "braintrace "))
        for name, make, options, inputs in [
            ("Conv1d, from the input", conv, {"own": False}, image),
            ("Conv1d, from state to state", conv, {"own": True}, image),
            (
                "Conv1d, strides and dilation",
                conv,
                {"own": False, "stride": 2, "rhs_dilation": 2},
                image,
            ),
            ("Conv2d", conv2d, {}, lambda: smooth(T, B, 4, 3, 2)),
            ("Conv2d, in groups", conv2d, {"groups": 2}, lambda: smooth(T, B, 4, 3, 2)),
        ]
    ),
    Entry(
        "convolutions",
        "ScaledWSConv1d",
        lambda: Net(Leak(bs.ScaledWSConv1d((5, 3), 2, 3), (5, 2), own=False), 10),
        image,
    ),
    Entry(
        "convolutions",
        "ConvTranspose1d",
        lambda: Net(Leak(bs.ConvTranspose1d((5, 3), 2, 3), (5, 2), own=False), 10),
        image,
    ),
    Entry("lookups", "Embedding", partial(embedded, bs), words),
    Entry("lookups", "Embedding, padded", partial(embedded, bs, padding_idx=1), words),
    Entry(
        "lookups",
        "Embedding, scaled by frequency",
        partial(embedded, bs, scale_grad_by_freq=True),
        words,
    ),
    Entry("lookups", "braintrace Embedding", partial(embedded, bt), words),
]
