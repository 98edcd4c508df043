"""A random model as data: both the program that runs it and the dense reference are made from it.

A `Net` is a list of lines, `name = kind(arguments)`, over rows [n] of a sample, with the states
that take their values at the end of a step. Nothing here imports the core.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

__all__ = ["Line", "Loss", "Net", "Pack", "Param", "State", "Weight", "draw", "pruned"]


def draw(name: str, *shape: int) -> np.ndarray:
    """Numbers of an array, from its name alone: a printed program needs no file beside it."""
    return np.random.default_rng(zlib.crc32(name.encode())).normal(size=shape)


@dataclass(frozen=True)
class Param:
    """A ParamState: `scale * draw(name, *shape) + shift`."""

    name: str
    shape: tuple[int, ...]
    scale: float = 0.6
    shift: float = 0.0
    unit: str = ""  # of brainunit
    linear: bool = False  # held by a brainstate.nn.Linear

    @property
    def value(self) -> np.ndarray:
        return self.scale * draw(self.name, *self.shape) + self.shift


@dataclass(frozen=True)
class Weight:
    """What an operation multiplies by: a parameter, or something derived from some.

    how: plain, frozen (a constant), masked, scaled, transposed, rows (of two, one below the other),
    positive (softplus), shared (the sum of two).
    """

    how: str
    params: tuple[str, ...]
    number: float = 1.0


@dataclass(frozen=True)
class Line:
    """`name = kind(args)`; kinds are listed in `program.TEXT` and `reference`."""

    name: str
    kind: str
    args: tuple[str, ...] = ()
    value: Any = None


@dataclass(frozen=True)
class State:
    """A HiddenState of `n` neurons that takes the value of line `new`.

    start: zero, drawn (a constant), learned (a ParamState, `start_<name>`).
    counts: integers instead, one more wherever `new` is positive.
    """

    name: str
    n: int
    new: str
    start: str = "zero"
    unit: str = ""
    counts: bool = False
    kind: str = "HiddenState"  # what holds a counter may be a ShortTermState


@dataclass(frozen=True)
class Pack:
    """States of one cell that are held in one array: a HiddenGroupState or a HiddenTreeState."""

    name: str
    kind: str
    states: tuple[str, ...]


@dataclass(frozen=True)
class Loss:
    """kind: square, classes (cross-entropy with integer labels), huber.

    penalties: (kind, name, factor) with kind weight, state or rate.
    """

    kind: str = "square"
    penalties: tuple[tuple[str, str, float], ...] = ()


@dataclass(frozen=True)
class Net:
    """One model, its data and its loss."""

    n_in: int
    params: tuple[Param, ...]
    weights: dict[str, Weight]
    states: tuple[State, ...]
    lines: tuple[Line, ...]
    out: str
    loss: Loss = field(default_factory=Loss)
    n_steps: int = 5
    batch: int = 2
    vectorised: bool = False  # calls of one function over several lines are made at once
    packs: tuple[Pack, ...] = ()
    product: str = "matmul"  # how x W is written: matmul, einsum or flipped
    seed: int = 0
    integrates: bool = False  # mostly leaky integrators

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", tuple(self._used_params()))

    def _used_params(self) -> Iterator[Param]:
        used = {line.value for line in self.lines if line.kind in ELEMENTWISE_PARAMS}
        for line in self.lines:
            if line.kind == "op":
                used.update(self.weights[line.value].params)
        used.update(name for kind, name, _ in self.loss.penalties if kind == "weight")
        used.update(f"start_{s.name}" for s in self.states if s.start == "learned")
        return (p for p in self.params if p.name in used)

    @property
    def widths(self) -> dict[str, int]:
        """Of every line and of x."""
        width = {"x": self.n_in}
        state = {s.name: s.n for s in self.states}
        shape = {p.name: p.shape for p in self.params}
        for line in self.lines:
            n = [width[a] for a in line.args]
            if line.kind in ("prev", "gate"):
                width[line.name] = state[line.value] if line.kind == "prev" else n[0]
            elif line.kind == "op":
                width[line.name] = weight_shape(self.weights[line.value], shape)[1]
            elif line.kind == "concat":
                width[line.name] = sum(n)
            elif line.kind == "ids":
                width[line.name] = line.value
            elif line.kind == "slice":
                width[line.name] = line.value[1] - line.value[0]
            else:
                width[line.name] = n[0]
        return width

    @property
    def frozen(self) -> set[str]:
        """Parameters that are constants in this model."""
        return {p for w in self.weights.values() if w.how == "frozen" for p in w.params}

    def param(self, name: str) -> Param:
        return next(p for p in self.params if p.name == name)

    def line(self, name: str) -> Line:
        return next(line for line in self.lines if line.name == name)

    def line_or_none(self, name: str, kind: str) -> Line | None:
        return next((q for q in self.lines if (q.name, q.kind) == (name, kind)), None)

    def pack_of(self, state: str) -> Pack | None:
        """What holds the state together with others."""
        return next((p for p in self.packs if state in p.states), None)

    def state(self, name: str) -> State:
        return next(s for s in self.states if s.name == name)

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs [T, B, I] and targets [T, B, O], or labels [T, B]."""
        front = (self.n_steps, self.batch)
        xs = draw(f"x{self.seed}", *front, self.n_in)
        ys = draw(f"y{self.seed}", *front, self.widths[self.out])
        return xs, ys.argmax(-1) if self.loss.kind == "classes" else ys


# Kinds of lines that read a parameter element by element.
ELEMENTWISE_PARAMS = ("bias", "threshold", "gain", "leak")


def weight_shape(weight: Weight, shapes: dict[str, tuple[int, ...]]) -> tuple[int, int]:
    first = shapes[weight.params[0]]
    if weight.how == "transposed":
        return first[1], first[0]
    if weight.how == "rows":
        return first[0] + shapes[weight.params[1]][0], first[1]
    return first[0], first[1]


def pruned(net: Net) -> Net:
    """Without the lines that nothing needs."""
    lines = {line.name: line for line in net.lines}
    needed: set[str] = set()
    queue = [net.out, *(s.new for s in net.states)]
    while queue:
        name = queue.pop()
        if name != "x" and name not in needed:
            needed.add(name)
            queue += lines[name].args
    return replace(net, lines=tuple(line for line in net.lines if line.name in needed))
