"""The lines of a random model, one after the other: operands, products, states."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .description import Line, Param, State, Weight, weight_shape
from .functions import ESTIMATORS

__all__ = ["Lines"]

UNITS = ("mV", "mA", "nS")


class Lines:
    """Collects the parts of a model; every choice is drawn from one generator."""

    def __init__(self, seed: int, integrates: bool = False) -> None:
        self.integrates = integrates  # what OTTT and OTPE are defined for, most of the time
        self.rng = np.random.default_rng([12, seed])
        self.seed = seed
        self.params: list[Param] = []
        self.weights: dict[str, Weight] = {}
        self.states: list[State] = []
        self.lines: list[Line] = []
        self.widths: dict[str, int] = {}
        self.calm = self.rng.random() < 0.3  # a plain model, without odd features
        self.units = not self.calm and self.rng.random() < 0.25
        self.fused: bool = self.rng.random() < 0.5

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < (p if not self.calm else 0.3 * p))

    def rare(self, p: float) -> float:
        return 0.15 * p if self.integrates else p

    def pick(self, options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def number(self, low: float, high: float) -> float:
        return round(float(self.rng.uniform(low, high)), 3)

    # -- lines

    def line(self, kind: str, *args: str, value: Any = None, n: int | None = None) -> str:
        name = f"v{len(self.lines)}"
        self.lines.append(Line(name, kind, args, value))
        self.widths[name] = self.widths[args[0]] if n is None else n
        return name

    def prev(self, state: str) -> str:
        """The previous value of a state; one line for all who read it."""
        for line in self.lines:
            if (line.kind, line.value) == ("prev", state):
                return line.name
        n = next(s.n for s in self.states if s.name == state)
        return self.line("prev", value=state, n=n)

    def fn(self, name: str, a: str) -> str:
        return self.line("fn", a, value=name)

    def scale(self, c: float, a: str) -> str:
        return self.line("scale", a, value=c)

    def concat(self, parts: list[str]) -> str:
        if len(parts) == 1:
            return parts[0]
        return self.line("concat", *parts, n=sum(self.widths[p] for p in parts))

    def param(self, *shape: int, scale: float = 0.6, shift: float = 0.0, unit: bool = False) -> str:
        name = f"p{len(self.params)}"
        held = self.pick(UNITS) if unit and self.units and self.chance(0.6) else ""
        self.params.append(Param(name, shape, round(scale, 4), shift, held))
        return name

    def op(self, x: str, n: int) -> str:
        """y = x W, with a weight that may be derived from others or shared with them."""
        n_in = self.widths[x]
        shapes = {p.name: p.shape for p in self.params}
        tied = [k for k, w in self.weights.items() if weight_shape(w, shapes) == (n_in, n)]
        if tied and self.chance(0.25):
            return self.line("op", x, value=self.pick(tied), n=n)
        how = (
            self.pick(["masked", "scaled", "transposed", "rows", "positive", "shared", "frozen"])
            if self.chance(0.3)
            else "plain"
        )
        if how == "rows" and n_in < 2:
            how = "plain"
        size = 0.9 / n_in**0.5
        other = [
            p.name
            for p in self.params
            if p.shape == (n_in, n)[:: -1 if how == "transposed" else 1]
            and not p.unit
            and not p.linear
            and not self._frozen(p.name)
        ]
        if how == "rows":
            first = 1 + int(self.rng.integers(n_in - 1))
            names = (self.param(first, n, scale=size), self.param(n_in - first, n, scale=size))
        elif how == "shared":
            names = (
                self.pick(other) if other else self.param(n_in, n, scale=size),
                self.param(n_in, n, scale=size),
            )
        elif how == "transposed":
            names = (
                self.pick(other)
                if other and self.chance(0.7)
                else self.param(n, n_in, scale=size, unit=True),
            )
        else:
            names = (self.param(n_in, n, scale=size, unit=how in ("plain", "masked", "scaled")),)
        if how == "plain" and not self.params[-1].unit and self.chance(0.3):
            self.params[-1] = replace(self.params[-1], linear=True)
        key = f"w{len(self.weights)}"
        self.weights[key] = Weight(how, names, self.number(0.4, 1.6) if how == "scaled" else 1.0)
        return self.line("op", x, value=key, n=n)

    def _frozen(self, name: str) -> bool:
        return any(w.how == "frozen" and name in w.params for w in self.weights.values())

    def bias(self, a: str, p: float = 0.6) -> str:
        if not self.chance(p):
            return a
        shape = (self.widths[a],) if not self.chance(self.rare(0.15)) else self.pick([(), (1,)])
        return self.line("bias", a, value=self.param(*shape, unit=True))

    def keep(self, a: str) -> str:
        """A factor of memory: a number, or a learned one."""
        if self.chance(self.rare(0.25)):
            return self.line("leak", a, value=self.param(self.widths[a], shift=1.0))
        return self.scale(self.number(0.4, 0.95), a)

    def state(self, name: str, n: int, start: bool = True) -> str:
        """A new state whose value is not known yet; `end` sets it."""
        unit = self.pick(UNITS) if self.units and self.chance(0.4) else ""
        kind = (
            self.pick(["drawn", "drawn", "learned"])
            if start and self.chance(self.rare(0.15))
            else "zero"
        )
        if kind == "learned":
            self.params.append(Param(f"start_{name}", (n,)))
        self.states.append(State(name, n, "", kind, unit))
        return name

    def end(self, name: str, new: str) -> str:
        k = next(i for i, s in enumerate(self.states) if s.name == name)
        self.states[k] = replace(self.states[k], new=new)
        return new

    # -- cells: from a drive to what others read

    def drive(self, parts: list[str], n: int) -> str:
        """The input of a cell: one product of all, or several added."""
        if len(parts) > 1 and (self.looked_up(parts[0]) or self.chance(self.rare(0.4))):
            y = self.op(parts[0], n)
            y = self.line("add", y, self.op(self.concat(parts[1:]), n))
        else:
            y = self.op(self.concat(parts), n)
        y = self.bias(y)
        if self.chance(self.rare(0.12)):
            y = self.line("gain", y, value=self.param(n, scale=0.3, shift=1.0))
        if self.chance(0.06):
            y = self.fn(self.pick(ESTIMATORS), y)
        if self.chance(0.1):
            y = self.moved(y, n)
        return y

    def looked_up(self, part: str) -> bool:
        return any((line.name, line.kind) == (part, "ids") for line in self.lines)

    def moved(self, y: str, n: int) -> str:
        """The same numbers elsewhere, or those of two arrays in one."""
        kind = self.pick(["permute", "taken", "rolled", "stacked", "tiled", "spliced", "added"])
        if kind in ("permute", "taken"):
            return self.line(kind, y, value=tuple(map(int, self.rng.permutation(n))))
        if kind in ("rolled", "tiled"):
            return self.line(kind, y)
        other = self.scale(self.number(-1, 1), y)
        return self.line(kind, y, other, value=n - 1)
