"""One step of a random model in NumPy, with dense derivatives by forward accumulation.

Every value is [B, n] and its derivative [B, n, M], over M directions: the N numbers of the previous
states, then those of each source. A source is an operation's output y [H], or one place [n] where a
parameter acts element by element; a learned initial state is one, in the step in which a sample
begins. Three rules say what an operation y = x W passes on of dx:

    full      all of it: the derivative as it is
    carry     nothing: y is given, as in D_t and f_t
    credit    what is left of it when x sees the previous states of the operation's own groups, and
              of groups downstream of them, as constants: the paths inside the step, as in L_t
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from .description import ELEMENTWISE_PARAMS, Line, Net, draw
from .functions import ESTIMATORS, FUNCTIONS, SPIKES, sigmoid

__all__ = ["Layout", "Step", "feedback", "matrix"]

Array = np.ndarray
Cut = frozenset[str]  # names of states

# Where the elements of a line come from, by its value and its argument's width.
MOVES = {
    "slice": lambda value, n: np.arange(n)[slice(*value)],
    "permute": lambda value, n: np.array(value),
    "taken": lambda value, n: np.array(value),
    "rolled": lambda value, n: np.roll(np.arange(n), 1),
}


class Layout:
    """Where each state and source lies among the directions."""

    def __init__(self, net: Net) -> None:
        widths = net.widths
        self.states = [s for s in net.states if not s.counts]
        self.ops = [line for line in net.lines if line.kind == "op"]
        self.uses = [line for line in net.lines if line.kind in ELEMENTWISE_PARAMS]
        self.starts = [
            Line(f"start_{s.name}", "start", value=f"start_{s.name}")
            for s in self.states
            if s.start == "learned"
        ]
        self.sources = [*self.ops, *self.uses, *self.starts]
        self.width = {**widths, **{f"start_{s.name}": s.n for s in self.states}}
        self.at: dict[str, slice] = {}
        start = 0
        for name, n in [
            *((s.name, s.n) for s in self.states),
            *((f"d{line.name}", self.width[line.name]) for line in self.sources),
        ]:
            self.at[name] = slice(start, start + n)
            start += n
        self.n_directions = start
        self.n_state = sum(s.n for s in self.states)


def matrix(net: Net, name: str, params: Mapping[str, Array]) -> Array:
    """The weight that an operation multiplies by, [I, H]."""
    weight = net.weights[name]
    first = params[weight.params[0]]
    if weight.how == "masked":
        return first * (draw("mask", *first.shape) > -0.5)
    if weight.how == "scaled":
        return weight.number * first
    if weight.how == "transposed":
        return first.T
    if weight.how == "rows":
        return np.concatenate([first, params[weight.params[1]]])
    if weight.how == "positive":
        return np.logaddexp(first, 0)
    if weight.how == "shared":
        return first + params[weight.params[1]]
    return first


def feedback(w: Any, functions: Any = np) -> Any:
    """In the place of a random matrix: any function of W will do that is not W."""
    return 0.3 + 0.5 * functions.cos(3 * w)


@dataclass
class Step:
    """Values and derivatives of the lines of one step.

    Args:
      h: previous states, [B, n] by name; those that count hold integers.
      i: number of the step, from 0.
      begins: [B], which samples begin with it.
      dropped: factors [B, n] of dropout, by line.
      cuts: by operation, the states that its operand sees as constants (rule "credit").
      held: spikes pass nothing on.
      random: credit passes back through `feedback` of a weight.
      ys: values [B, n] of operations in the place of their own; functions then keep theirs, so that
        derivatives are met at all values.
      blocked: lines that pass nothing on.
      generic: every derivative that is not zero by structure is one, weights too.
    """

    net: Net
    layout: Layout
    params: Mapping[str, Array]
    h: Mapping[str, Array]
    x: Array
    i: int
    begins: Array
    rule: str
    cuts: Mapping[str, Cut]
    dropped: Mapping[str, Array] = field(default_factory=dict)
    kept: Cut = frozenset()  # lines that are the new values of states
    generic: bool = False
    held: bool = False
    random: bool = False
    blocked: Cut = frozenset()
    ys: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lines = {line.name: line for line in self.net.lines}
        self.found: dict[tuple[str, Cut], tuple[Array, Array]] = {}

    def look(self, name: str, cut: Cut = frozenset()) -> tuple[Array, Array]:
        """Value and derivative of a line, the previous states in `cut` being constants."""
        if name == "x":
            return self.x, self._still(self.x)
        if name in self.kept:
            cut = frozenset()  # a state of this very step, not of the past
        if (name, cut) not in self.found:
            value, d = self._compute(self.lines[name], cut)
            self.found[name, cut] = value, 0 * d if name in self.blocked else d
        return self.found[name, cut]

    def _still(self, value: Array) -> Array:
        return np.zeros((*value.shape, self.layout.n_directions))

    def _moving(self, name: str, value: Array) -> Array:
        d = self._still(value)
        at = self.layout.at[name]
        d[:, np.arange(at.stop - at.start), np.arange(at.start, at.stop)] = 1.0
        return d

    def _compute(self, line: Line, cut: Cut) -> tuple[Array, Array]:
        if line.kind == "prev":
            value = self.h[line.value]
            d = self._still(value) if line.value in cut else self._moving(line.value, value)
            if self.net.state(line.value).start == "learned":
                begins = self._moving(f"dstart_{line.value}", value)
                either = d + begins if self.generic else begins
                d = np.where(self.begins[:, None, None], either, d)
            return value, d
        if line.kind == "op":
            return self._product(line, cut)
        values, moved = zip(*(self.look(a, cut) for a in line.args), strict=True)
        if line.kind == "concat":
            return np.concatenate(values, axis=1), np.concatenate(moved, axis=1)
        if line.kind == "ids":
            ids = (values[0][:, : line.value - 1] > 0).sum(1)
            one = np.eye(line.value)[ids]
            return one, self._still(one)
        if line.kind == "centred":
            n = values[0].shape[1]
            mix = np.ones((n, n)) if self.generic else np.eye(n) - 1 / n
            return values[0] @ mix, np.einsum("bnm,nk->bkm", moved[0], mix)
        if line.kind in MOVES:
            where = MOVES[line.kind](line.value, values[0].shape[1])
            return values[0][:, where], moved[0][:, where]
        value, partials = self._pointwise(line, values)
        d = sum(p[..., None] * m for p, m in zip(partials, moved, strict=True))
        if line.kind in ELEMENTWISE_PARAMS:
            slope = np.broadcast_to(self._slope_of_parameter(line, values[0]), value.shape)
            d = d + slope[..., None] * self._moving(f"d{line.name}", value)
        return value, d

    def _product(self, line: Line, cut: Cut) -> tuple[Array, Array]:
        W = matrix(self.net, line.value, self.params)
        x, _ = self.look(line.args[0])
        y = self.ys.get(line.name, x @ W)
        d = self._moving(f"d{line.name}", y)
        if self.rule != "carry":
            own = self.cuts[line.name] if self.rule == "credit" else frozenset()
            dx = self.look(line.args[0], cut | own)[1]
            back = feedback(W) if self.random and self.rule == "credit" else W
            d = d + np.einsum("bim,ih->bhm", dx, np.ones_like(W) if self.generic else back)
        return y, d

    def _pointwise(self, line: Line, values: Any) -> tuple[Array, list[Array]]:
        """The value, and its derivative with respect to each argument."""
        a, kind, value = values[0], line.kind, line.value
        if kind in ("spliced", "added"):
            first = np.broadcast_to(np.arange(a.shape[1]) < value, a.shape) * 1.0
            kept = 1 - first if kind == "spliced" else np.ones_like(a)
            return a * kept + values[1] * first, [kept, first]
        if self.generic:
            stopped = (kind, value) == ("fn", "stop")
            return a, [np.zeros_like(v) if stopped else np.ones_like(v) for v in values]
        one = np.ones_like(a)
        if kind == "fn":
            if self.held and value in (*SPIKES, *ESTIMATORS) and not value.startswith("detached"):
                return a, [np.zeros_like(a)]
            own = a if self.ys else FUNCTIONS[value].value(a)  # a step would hide what varies
            return own, [FUNCTIONS[value].slope(a)]
        if kind in ("add", "sub", "stacked"):
            sign = -1.0 if kind == "sub" else 1.0
            return a + sign * values[1], [one, sign * one]
        if kind == "mul":
            return a * values[1], [values[1], a]
        if kind == "max":
            return np.maximum(a, values[1]), [1.0 * (a > values[1]), 1.0 * (a < values[1])]
        if kind == "shift":
            return a + value, [one]
        if kind in ("bias", "threshold"):
            return a + self.params[value] * (1 if kind == "bias" else -1), [one]
        factor = {
            "scale": lambda: value,
            "gain": lambda: self.params[value],
            "leak": lambda: sigmoid(self.params[value]),
            "every": lambda: float(self.i % value == 0),
            "until": lambda: float(self.i < value),
            "gate": lambda: self.h[value] < 2,
            "keep": lambda: np.asarray(
                jax.random.bernoulli(jax.random.key(value), 0.6, a.shape[1:])
            ),
            "tiled": lambda: 1.0,
            "dropout": lambda: self.dropped.get(line.name, 1.0),
        }[kind]()
        return a * factor, [one * factor]

    def _slope_of_parameter(self, line: Line, a: Array) -> Any:
        if line.kind in ("bias", "threshold"):
            return 1.0 if self.generic or line.kind == "bias" else -1.0
        return 1.0 if self.generic else a  # of a gain, or of the factor sigmoid(parameter)
