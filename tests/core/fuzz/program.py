"""The text of a random model as a brainstate program: what runs, and what a failure prints."""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Iterator
from typing import Any

from . import description
from .description import Line, Net, Pack, Param, State, Weight
from .functions import FUNCTIONS, PREAMBLE

__all__ = ["calls", "load", "text"]

HEADER = """
import zlib

import brainstate
import braintools
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
"""

PRODUCTS = {
    "matmul": "{x} @ {w}",
    "einsum": 'jnp.einsum("...i,ih->...h", {x}, {w})',
    "flipped": 'jnp.einsum("ih,...i->...h", {w}, {x})',
}

WEIGHTS = {
    "plain": "{0}",
    "frozen": "{0}",
    "masked": "{0} * (draw('mask', *{0}.shape) > -0.5)",
    "scaled": "{number} * {0}",
    "transposed": "{0}.T",
    "rows": "jnp.concatenate([{0}, {1}], axis=0)",
    "positive": "jax.nn.softplus({0})",
    "shared": "({0} + {1})",
}

TEXT = {
    "bias": "{0} + {p}",
    "threshold": "{0} - {p}",
    "gain": "{0} * {p}",
    "leak": "jax.nn.sigmoid({p}) * {0}",
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "max": "jnp.maximum({0}, {1})",
    "scale": "{value} * {0}",
    "shift": "{0} + {value}",
    "every": "jnp.where(brainstate.environ.get('i') % {value} == 0, {0}, 0.0)",
    "until": "jnp.where(brainstate.environ.get('t') < {value} * u.ms, {0}, 0.0)",
    "dropout": "self.dropout({0})",
    "keep": "{0} * jax.random.bernoulli(jax.random.key({value}), 0.6, ({n},))",
    "permute": "{0}[..., np.array({value})]",
    "taken": "jnp.take({0}, np.array({value}), axis=-1)",
    "rolled": "jnp.roll({0}, 1, axis=-1)",
    "stacked": "jnp.stack([{0}, {1}]).sum(0)",
    "centred": "{0} - {0}.mean(axis=-1, keepdims=True)",
    "tiled": "jnp.tile({0}, 1)",
    "spliced": "{0}.at[..., :{value}].set({1}[..., :{value}])",
    "added": "{0}.at[..., :{value}].add({1}[..., :{value}])",
}


def magnitude(expression: str, unit: str) -> str:
    return f"({expression} / u.{unit})" if unit else expression


def param(net: Net, name: str) -> str:
    p = net.param(name)
    return magnitude(
        f'self.{name}.weight.value["weight"]' if p.linear else f"self.{name}.value", p.unit
    )


def weight(net: Net, weight: Weight) -> str:
    names = [f"self.{p}" if weight.how == "frozen" else param(net, p) for p in weight.params]
    return WEIGHTS[weight.how].format(*names, number=weight.number)


def product(net: Net, line: Line) -> str:
    used = net.weights[line.value]
    if net.line_or_none(line.args[0], "ids"):
        return f"({weight(net, used)})[{line.args[0]}]"
    held = net.param(used.params[0])
    if used.how == "plain" and held.linear:
        return f"self.{held.name}({line.args[0]})"
    return "(" + PRODUCTS[net.product].format(x=line.args[0], w=f"({weight(net, used)})") + ")"


def expression(net: Net, line: Line) -> str:
    args = line.args
    if line.kind == "prev":
        return held(net, net.state(line.value))
    if line.kind == "ids":
        return f"({args[0]}[..., :{line.value - 1}] > 0).sum(-1)"
    if line.kind == "op":
        return product(net, line)
    if line.kind == "fn":
        return FUNCTIONS[line.value].text.format(*args)
    if line.kind == "concat":
        return f"jnp.concatenate([{', '.join(args)}], axis=-1)"
    if line.kind == "slice":
        return f"{args[0]}[..., {line.value[0]}:{line.value[1]}]"
    if line.kind == "gate":
        return f"jnp.where(self.{line.value}.value < 2, {args[0]}, 0.0)"
    p = param(net, line.value) if line.kind in description.ELEMENTWISE_PARAMS else ""
    return TEXT[line.kind].format(*args, p=p, value=line.value, n=net.widths[line.name])


def calls(net: Net) -> Iterator[list[Line]]:
    """The lines as they are run, those of one call together; each after those that it reads."""
    left, known = list(net.lines), {"x"}
    while left:
        line = next(line for line in left if known.issuperset(line.args))
        alike = [
            other
            for other in left
            if known.issuperset(other.args) and (other.kind, other.value) == ("fn", line.value)
        ]
        found = alike if net.vectorised and len(alike) > 1 else [line]
        yield found
        known |= {other.name for other in found}
        left = [other for other in left if other.name not in known]


def statements(net: Net) -> Iterator[str]:
    """The body of update."""
    widths = net.widths
    for alike in calls(net):
        line = alike[0]
        if len(alike) > 1:
            args = [other.args[0] for other in alike]
            ends = [sum(widths[a] for a in args[: i + 1]) for i in range(len(args) - 1)]
            called = FUNCTIONS[str(line.value)].text.format("joined")
            yield f"joined = jnp.concatenate([{', '.join(args)}], axis=-1)"
            yield f"{', '.join(o.name for o in alike)} = jnp.split({called}, {ends}, axis=-1)"
        else:
            yield f"{line.name} = {expression(net, line)}"


def init(p: Param, frozen: bool) -> Iterator[str]:
    scale = f"{p.scale} * draw({p.name!r}, *{p.shape}) + {p.shift}"
    unit = f" * u.{p.unit}" if p.unit else ""
    if frozen:
        yield f"self.{p.name} = jnp.asarray({scale})"
    elif p.linear:
        yield (
            f"self.{p.name} = brainstate.nn.Linear({p.shape[0]}, {p.shape[1]}, b_init=None,"
            f" w_init=lambda shape, **_: jnp.asarray({scale}))"
        )
    else:
        yield f"self.{p.name} = brainstate.ParamState(jnp.asarray({scale}){unit})"


def held(net: Net, state: State, owner: str = "self") -> str:
    """The value of a state."""
    pack = net.pack_of(state.name)
    if pack is None:
        return magnitude(f"{owner}.{state.name}.value", state.unit)
    if pack.kind == "HiddenTreeState":
        return magnitude(f"{owner}.{pack.name}.get_value('{state.name}')", state.unit)
    return f"{owner}.{pack.name}.value[..., {pack.states.index(state.name)}]"


def start(state: State) -> str:
    """The value that a state begins with."""
    unit = f" * u.{state.unit}" if state.unit else ""
    drawn = f"jnp.asarray(draw({state.name!r}, {state.n}))"
    if state.counts:
        value = f"jnp.zeros((*lead, {state.n}), jnp.int32)"
    elif state.start == "zero":
        value = f"jnp.zeros((*lead, {state.n}))"
    elif state.start == "learned":
        value = f"jnp.broadcast_to(self.start_{state.name}.value, (*lead, {state.n}))"
    else:
        value = f"jnp.broadcast_to({drawn}, (*lead, {state.n}))"
    return value + unit


def new(state: State) -> str:
    """The value that a state takes at the end of a step."""
    if state.counts:
        return f"jnp.where({state.new} > 0, 0, self.{state.name}.value + 1)"
    return state.new + (f" * u.{state.unit}" if state.unit else "")


def packed(net: Net, pack: Pack, values: dict[str, str]) -> str:
    """The values of a pack's states as one."""
    if pack.kind == "HiddenTreeState":
        return "{" + ", ".join(f"'{s}': {values[s]}" for s in pack.states) + "}"
    return f"jnp.stack([{', '.join(values[s] for s in pack.states)}], axis=-1)"


def starts(net: Net) -> Iterator[str]:
    """The body of init_state."""
    yield "lead = () if batch_size is None else (batch_size,)"
    for s in net.states:
        if net.pack_of(s.name) is None:
            yield f"self.{s.name} = brainstate.{s.kind}({start(s)})"
    for pack in net.packs:
        values = {name: start(net.state(name)) for name in pack.states}
        yield f"self.{pack.name} = brainstate.{pack.kind}({packed(net, pack, values)})"


def writes(net: Net) -> Iterator[str]:
    """The end of update."""
    for s in net.states:
        if net.pack_of(s.name) is None:
            yield f"self.{s.name}.value = {new(s)}"
    for pack in net.packs:
        value = packed(net, pack, {name: new(net.state(name)) for name in pack.states})
        if pack.kind == "HiddenTreeState":
            yield f"self.{pack.name}.set_value({value})"
        else:
            yield f"self.{pack.name}.value = {value}"


def loss(net: Net) -> Iterator[str]:
    if net.loss.kind == "classes":
        yield (
            "value = braintools.metric.softmax_cross_entropy_with_integer_labels(out, target).sum()"
        )
    elif net.loss.kind == "huber":
        yield "value = (jnp.sqrt(1 + (out - target) ** 2) - 1).sum()"
    else:
        yield "value = ((out - target) ** 2).sum()"
    for kind, name, factor in net.loss.penalties:
        if kind == "weight":
            read = param(net, name).replace("self", "net")
            yield f"value = value + {factor} * ({read} ** 2).sum()"
            continue
        value = held(net, net.state(name), "net")
        term = f"({value} ** 2).sum()" if kind == "state" else f"({value}.mean() - 0.2) ** 2"
        yield f"value = value + {factor} * {term}"
    yield "return value"


def text(net: Net) -> str:
    """The model and its loss as a program that defines `net` and `loss`."""
    made = [s for p in net.params for s in init(p, p.name in net.frozen)]
    if any(line.kind == "dropout" for line in net.lines):
        made.append("self.dropout = brainstate.nn.Dropout(0.5)")
    blocks = {
        "class Net(brainstate.nn.Module):\n    def __init__(self):": ["super().__init__()", *made],
        "    def init_state(self, batch_size=None, **_):": [*starts(net)],
        "    def update(self, x):": [*statements(net), *writes(net), f"return {net.out}"],
    }
    parts = [HEADER, inspect.getsource(description.draw), PREAMBLE]
    for head, body in blocks.items():
        parts.append("\n".join([head, *(f"        {line}" for line in body)]))
    parts.append("\n".join(["def loss(out, target):", *(f"    {line}" for line in loss(net))]))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n\nnet = Net()\n"


def load(net: Net, source: str) -> dict[str, Any]:
    """Run a program; its lines can be found by tracebacks and by the core's own messages."""
    name = f"<random model {net.seed}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {"__name__": "random_model"}
    exec(compile(source, name, "exec"), namespace)
    return namespace
