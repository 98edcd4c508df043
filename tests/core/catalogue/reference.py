"""D-RTRL's gradient of a model by its definition, from brainstate and jax alone.

Each step is run twice. The *output* run gives the loss: inside a recurrent layer the operands of
its products see the layer's previous states as constants. The *carry* run gives the states that go
on to the next step, and every operand is a constant there. What remains is differentiated as it is.

Products are layers of brainstate and braintrace, or `product`; recurrent layers are their cells,
or classes marked `recurrent`. Catalogue models branch and loop by `choose` and `repeat`, which are
plain Python here, and `lax.cond` and `lax.fori_loop` where the core sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from types import MappingProxyType
from typing import Any

import brainpy.state
import brainstate
import braintrace
import brainunit as u
import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["by_hand", "choose", "gradient", "operation", "product", "recurrent", "repeat"]


class _Marks:
    """What products do now: nothing ("", "output"), "carry", "record" and "replay" (of a tape)."""

    mode = ""
    tape: list[Any]
    new: Mapping[int, Any] = MappingProxyType({})  # of states, as the output run has found them
    inside = False  # a product


MARKS = _Marks()


@contextmanager
def _mode(name: str) -> Iterator[None]:
    before, MARKS.mode = MARKS.mode, name
    try:
        yield
    finally:
        MARKS.mode = before


def stop(tree: Any) -> Any:
    return jax.tree.map(lax.stop_gradient, tree)


def _marked(compute: Callable[..., Any], *args: Any) -> Any:
    """`compute(*args)`, the last of them the operand."""
    if MARKS.inside or MARKS.mode in ("", "output"):
        return compute(*args)
    if MARKS.mode == "replay":
        return MARKS.tape.pop(0)
    if MARKS.mode == "carry":
        args = (*args[:-1], stop(args[-1]))
    MARKS.inside = True
    try:
        y = compute(*args)
    finally:
        MARKS.inside = False
    if MARKS.mode == "record":
        MARKS.tape.append(y)
    return y


def product(x: Any, w: Any) -> Any:
    """x W, an operation."""
    return _marked(lambda x: x @ w, x)


def operation(compute: Callable[[Any], Any], x: Any) -> Any:
    """`compute(x)`, linear in x and in a weight: an operation."""
    return _marked(compute, x)


def recurrent(kind: Any) -> Any:
    """A module whose operands are cut from its own previous states."""
    kind.update = _cut(kind.update)
    return kind


def _cut(update: Any) -> Any:
    @wraps(update)
    def run(self: Any, *args: Any) -> Any:
        if MARKS.mode != "output":
            return update(self, *args)
        states = [s for s in self.states().values() if not isinstance(s, brainstate.ParamState)]
        before = [s.value for s in states]
        MARKS.new = {}
        for _ in range(2):  # what is read of a state that the step has written is not cut
            MARKS.tape = []
            for s, value in zip(states, before, strict=True):
                s.value = stop(value)
            with _mode("record"):
                update(self, *args)
            for s, value in zip(states, before, strict=True):
                s.value = value
            with _mode("replay"):
                out = update(self, *args)
            MARKS.new = {id(s): s.value for s in states}
        return out

    return run


def by_hand() -> bool:
    """Whether the reference runs a step, and not the core."""
    return bool(MARKS.mode)


def choose(which: Any, yes: Any, no: Any, *operands: Any) -> Any:
    """`lax.cond`; where there is one number for each sample, and here, both and a choice."""
    if not by_hand():
        return lax.cond(which, yes, no, *operands)
    return jax.tree.map(lambda a, b: jnp.where(which, a, b), yes(*operands), no(*operands))


def repeat(n: int, body: Any, carry: Any) -> Any:
    """`lax.fori_loop`."""
    if not by_hand():
        return lax.fori_loop(0, n, body, carry)
    for i in range(n):
        carry = body(i, carry)
    return carry


# -- layers of libraries

NAMES = """Linear SignedWLinear ScaledWSLinear SparseLinear AllToAll EventLinear FixedNumConn
EventFixedNumConn Conv1d Conv2d ConvTranspose1d ScaledWSConv1d Embedding GroupedLinear"""
CELLS = """ValinaRNNCell GRUCell CFNCell MGUCell LSTMCell URLSTMCell MinimalRNNCell MiniGRU MiniLSTM
LRUCell"""


def _lora(self: Any, x: Any) -> Any:
    """Two products; braintrace divides by the rank."""
    a, b = (self.weight.value[k] for k in ("lora_a", "lora_b"))
    y = product(product(x, a), b) / (len(b) if isinstance(self, braintrace.nn.LoRA) else 1)
    return y if self.base_module is None else y + self.base_module(x)


def _set(put: Any) -> Any:
    def set_live(state: Any, value: Any) -> None:
        put(state, MARKS.new.get(id(state), value) if MARKS.mode == "record" else value)

    return set_live


@contextmanager
def _layers_marked() -> Iterator[None]:
    saved = []

    def patch(kind: Any, update: Any, name: str = "update") -> None:
        saved.append((kind, name, kind.__dict__.get(name)))
        setattr(kind, name, update)

    def of_layer(original: Any) -> Any:
        return lambda self, x: _marked(lambda x: original(self, x), x)

    def of_readout(original: Any) -> Any:
        return lambda self, x: original(self, stop(x) if MARKS.mode == "carry" else x)

    libraries = (brainstate.nn, braintrace.nn)
    try:
        for home in libraries:
            for name in NAMES.split():
                if hasattr(home, name):
                    patch(getattr(home, name), of_layer(getattr(home, name).update))
            for name in CELLS.split():
                if hasattr(home, name):
                    patch(getattr(home, name), _cut(getattr(home, name).update))
        for kind in (brainpy.state.LeakyRateReadout, braintrace.nn.LeakyRateReadout):
            patch(kind, of_readout(kind.update))
        value = brainstate.State.value
        patch(brainstate.HiddenState, property(value.fget, _set(value.fset)), "value")
        for kind in (brainstate.nn.LoRA, braintrace.nn.LoRA):
            patch(kind, _lora, "__call__")
        yield
    finally:
        for kind, name, original in reversed(saved):
            if original is None:
                delattr(kind, name)
            else:
                setattr(kind, name, original)


def gradient(model: Any, xs: Any, ys: Any, batching: str) -> dict[Any, Any]:
    """Of the squared error of a sequence [T, B, ...], by the path of each ParamState."""
    if batching == "vmap":
        samples = [gradient(model, xs[:, b], ys[:, b], "single") for b in range(xs.shape[1])]
        return jax.tree.map(lambda *parts: sum(parts), *samples)
    size = {"batch_size": len(xs[0])} if batching == "manual" else {}
    brainstate.nn.init_all_states(model, **size)
    params = model.states(brainstate.ParamState)
    states = [s for s in model.states().values() if not isinstance(s, brainstate.ParamState)]
    start = [s.value for s in states]

    def put(values: Any) -> None:
        for s, value in zip(states, values, strict=True):
            s.value = value

    def total() -> Any:
        put(start)
        loss = 0.0
        for t, (x, y) in enumerate(zip(xs, ys, strict=True)):
            with brainstate.environ.context(i=t, t=t * u.ms):
                before = [s.value for s in states]
                with _mode("output"):
                    out = model(x)
                loss = loss + ((u.get_magnitude(out) - y) ** 2).sum()
                put(before)
                with _mode("carry"):
                    model(x)
        return loss

    with _layers_marked():
        return brainstate.transform.grad(total, params, check_states=False)()
