"""Random models: stacks of cells with late and skip connections, tied and derived weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .description import Line, Loss, Net, Pack, Param, State, Weight, pruned, weight_shape
from .functions import ESTIMATORS, SMOOTH, SPIKES

__all__ = ["random_net"]

CELLS = ("leaky", "leaky", "rnn", "gru", "lif", "alif", "synapse", "coupled", "stored", "plain",
         "lstm", "hard", "product")
UNITS = ("mV", "mA", "nS")


class Builder:
    """Collects the parts of a model; every choice is drawn from one generator."""

    def __init__(self, seed: int) -> None:
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
        how = self.pick(["masked", "scaled", "transposed", "rows", "positive", "shared", "frozen"]
                        ) if self.chance(0.3) else "plain"
        if how == "rows" and n_in < 2:
            how = "plain"
        size = 0.9 / n_in**0.5
        other = [p.name for p in self.params
                 if p.shape == (n_in, n)[:: -1 if how == "transposed" else 1] and not p.unit
                 and not p.linear and not self._frozen(p.name)]
        if how == "rows":
            first = 1 + int(self.rng.integers(n_in - 1))
            names = (self.param(first, n, scale=size), self.param(n_in - first, n, scale=size))
        elif how == "shared":
            names = (self.pick(other) if other else self.param(n_in, n, scale=size),
                     self.param(n_in, n, scale=size))
        elif how == "transposed":
            names = (self.pick(other) if other and self.chance(0.7) else
                     self.param(n, n_in, scale=size, unit=True),)
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
        shape = (self.widths[a],) if not self.chance(0.15) else self.pick([(), (1,)])
        return self.line("bias", a, value=self.param(*shape, unit=True))

    def keep(self, a: str) -> str:
        """A factor of memory: a number, or a learned one."""
        if self.chance(0.25):
            return self.line("leak", a, value=self.param(self.widths[a], shift=1.0))
        return self.scale(self.number(0.4, 0.95), a)

    def state(self, name: str, n: int, start: bool = True) -> str:
        """A new state whose value is not known yet; `end` sets it."""
        unit = self.pick(UNITS) if self.units and self.chance(0.4) else ""
        kind = self.pick(["drawn", "drawn", "learned"]) if start and self.chance(0.15) else "zero"
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
        if len(parts) > 1 and (self.looked_up(parts[0]) or self.chance(0.4)):
            y = self.op(parts[0], n)
            y = self.line("add", y, self.op(self.concat(parts[1:]), n))
        else:
            y = self.op(self.concat(parts), n)
        y = self.bias(y)
        if self.chance(0.12):
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

    def cell(self, kind: str, i: int, parts: list[str], n: int) -> str:
        """Build a cell of `n` neurons whose recurrent input is already among `parts`."""
        h = f"h{i}"
        smooth = self.pick(SMOOTH)
        spike = self.pick(SPIKES)
        if kind == "plain":
            return self.fn(smooth, self.drive(parts, n))
        if kind == "stored":
            return self.end(h, self.fn(smooth, self.drive(parts, n)))
        if kind == "rnn":
            return self.end(h, self.fn("tanh", self.drive(parts, n)))
        if kind == "leaky":
            y = self.drive(parts, n)
            y = self.fn(smooth, y) if self.chance(0.6) else y
            return self.end(h, self.line("add", self.keep(self.prev(h)), y))
        if kind == "product":  # multiplicative: h <- h sigmoid(y) + tanh(z)
            y, z = self.drive(parts, n), self.drive(parts, n)
            kept = self.line("mul", self.prev(h), self.fn("sigmoid", y))
            return self.end(h, self.line("add", kept, self.fn("tanh", z)))
        if kind == "gru":
            return self.gru(h, parts, n)
        if kind == "lstm":
            return self.lstm(h, parts, n)
        if kind == "coupled":
            return self.coupled(h, parts, n)
        return self.spiking(kind, h, parts, n, spike)

    def gru(self, h: str, parts: list[str], n: int) -> str:
        before = self.prev(h)
        if self.chance(0.5):
            y = self.bias(self.op(self.concat([*parts, before]), 2 * n))
            r = self.line("slice", y, value=(0, n), n=n)
            z = self.line("slice", y, value=(n, 2 * n), n=n)
        else:
            r, z = (self.bias(self.op(self.concat([*parts, before]), n)) for _ in "rz")
        r, z = self.fn("sigmoid", r), self.fn("sigmoid", z)
        if self.chance(0.3):  # the reset acts on the product instead of in front of it
            inner = self.op(before, n)
            candidate = self.line("add", self.op(self.concat(parts), n),
                                  self.line("mul", r, inner))
        else:
            candidate = self.op(self.concat([*parts, self.line("mul", r, before)]), n)
        candidate = self.fn("tanh", self.bias(candidate))
        kept = self.line("sub", before, self.line("mul", z, before))
        return self.end(h, self.line("add", kept, self.line("mul", z, candidate)))

    def lstm(self, h: str, parts: list[str], n: int) -> str:
        c = self.state(f"c{h}", n)
        y = self.bias(self.op(self.concat([*parts, self.prev(h)]), 4 * n))
        i, f, g, o = (self.line("slice", y, value=(k * n, (k + 1) * n), n=n) for k in range(4))
        kept = self.line("mul", self.fn("sigmoid", self.line("shift", f, value=1.0)), self.prev(c))
        new = self.line("add", kept, self.line("mul", self.fn("sigmoid", i), self.fn("tanh", g)))
        self.end(c, new)
        return self.end(h, self.line("mul", self.fn("sigmoid", o), self.fn("tanh", new)))

    def coupled(self, h: str, parts: list[str], n: int) -> str:
        """Two or three states per neuron with random couplings, some within the step."""
        others = [self.state(f"{'abc'[k]}{h}", n) for k in range(1 + self.chance(0.4))]
        names = [h, *others]
        order = [names[k] for k in self.rng.permutation(len(names))]
        done: dict[str, str] = {}
        y = self.drive(parts, n)
        fed = {self.pick(names)} | ({self.pick(names)} if self.chance(0.3) else set())
        for name in order:
            total = self.keep(self.prev(name)) if self.chance(0.8) else ""
            for other in names:
                if other != name and self.chance(0.6):
                    v = done.get(other) if self.chance(0.5) else None
                    v = self.prev(other) if v is None else v
                    v = self.fn(self.pick(SMOOTH), v) if self.chance(0.5) else v
                    v = self.line(self.pick(["centred", "rolled"]), v) if self.chance(0.04) else v
                    v = self.scale(self.number(-0.6, 0.6), v)
                    total = self.line("add", total, v) if total else v
            if name in fed or not total:
                v = self.fn("tanh", y) if self.chance(0.3) else y
                total = self.line("add", total, v) if total else v
            done[name] = self.end(name, total)
        return done[self.pick(names)]

    def spiking(self, kind: str, h: str, parts: list[str], n: int, spike: str) -> str:
        y = self.drive(parts, n)
        waits = self.chance(0.12)  # what arrives within two steps of a spike is lost
        y = self.line("gate", y, value=f"q{h}") if waits else y
        if kind == "synapse":
            current = self.state(f"s{h}", n)
            now = self.end(current, self.line("add", self.keep(self.prev(current)), y))
            y = self.prev(current) if self.chance(0.3) else now
        v = self.prev(h)
        theta = 0.3
        if kind == "hard":  # the reset comes in the same step, after the spike
            u = self.line("add", self.keep(v), y)
            s = self.fn(spike, self.line("shift", u, value=-theta))
            self.end(h, self.line("sub", u, self.line("mul", s, u)))
            self.counter(waits, h, n, s)
            return s
        above = self.line("shift", v, value=-theta)
        a = ""
        if kind == "alif":
            a = self.state(f"a{h}", n)
            above = self.line("sub", above, self.scale(self.number(0.2, 0.6), self.prev(a)))
        if self.chance(0.1):
            above = self.line("threshold", above, value=self.param(n, scale=0.2))
        s = self.fn(spike, above)
        self.counter(waits, h, n, s)
        new = self.end(h, self.line("add", self.keep(self.line("sub", v, s)), y))
        if a:
            self.end(a, self.line("add", self.keep(self.prev(a)), s))
        how = self.pick(["after", "after", "before", "voltage"])
        if how == "before":  # what others read is the spike that the reset saw
            return s
        if how == "voltage":
            return new
        return self.fn(spike, self.line("shift", new, value=-theta))

    def counter(self, wanted: bool, h: str, n: int, spike: str) -> None:
        if wanted:
            held = self.pick(["HiddenState", "ShortTermState"])
            self.states.append(State(f"q{h}", n, spike, counts=True, kind=held))

    # -- the whole

    def net(self) -> Net:
        n_layers = self.pick([1, 1, 2, 2, 2, 3])
        same = self.chance(0.5)
        width = self.pick([2, 3, 4])
        n_in = self.pick([2, 3])
        self.widths["x"] = n_in
        first = self.line("ids", "x", value=3, n=3) if n_in > 2 and self.chance(0.1) else "x"
        layers = [(self.pick(CELLS), width if same else self.pick([2, 3, 4]))
                  for _ in range(n_layers)]
        for i, (kind, n) in enumerate(layers):
            if kind != "plain":
                self.state(f"h{i}", n)
        seen: list[str] = []
        remembered = [i for i, (kind, _) in enumerate(layers) if kind != "plain"]
        for i, (kind, n) in enumerate(layers):
            parts = [seen[-1]] if seen else [first]
            if seen and self.chance(0.3):
                parts.append(self.pick(["x", *seen]))
            if first != "x" and not seen and (kind in ("gru", "lstm") or self.chance(0.3)):
                parts = [self.op(first, n)]
            if kind in ("rnn",) or (kind not in ("gru", "lstm", "plain", "stored")
                                    and self.chance(0.5)):
                parts.append(self.late(f"h{i}", kind))
            others = [j for j in remembered if j != i]
            for j in others:
                if self.chance(0.3):
                    parts.append(self.late(f"h{j}", layers[j][0]))
            out = self.cell(kind, i, list(dict.fromkeys(parts)), n)
            if seen and self.widths[seen[-1]] == n and self.chance(0.2):
                out = self.line("add", out, seen[-1])
            if self.chance(0.08):
                out = self.line(*self.pick([("keep", out), ("dropout", out)]), value=i + 3)
            if self.chance(0.06):
                out = self.fn("stop", out)
            seen.append(out)
        out = self.readout(seen, remembered, layers)
        return self.finish(n_in, out)

    def late(self, state: str, kind: str) -> str:
        """What a state was before this step, as it is or through a function."""
        v = self.prev(state)
        if kind in ("lif", "alif", "hard", "synapse") and self.chance(0.7):
            return self.fn(self.pick(SPIKES), self.line("shift", v, value=-0.3))
        v = self.line("centred", v) if self.chance(0.05) else v  # inside an operand: no matter
        return self.fn(self.pick(SMOOTH), v) if self.chance(0.4) else v

    def readout(self, seen: list[str], remembered: list[int], layers: Any) -> str:
        parts = [seen[-1]]
        if len(seen) > 1 and self.chance(0.3):
            parts.append(self.pick(seen[:-1]))
        if remembered and self.chance(0.25):
            i = self.pick(remembered)
            parts.append(self.late(f"h{i}", layers[i][0]))
        parts = list(dict.fromkeys(parts))
        how = self.pick(["direct", "product", "product", "product", "leaky", "stored"])
        if how == "direct":
            return self.concat(parts)
        y = self.bias(self.op(self.concat(parts), 2))
        if how == "leaky":
            r = self.state("r", 2)
            return self.end(r, self.line("add", self.keep(self.prev(r)), y))
        if how == "stored":
            return self.end(self.state("r", 2), y)
        return y

    def finish(self, n_in: int, out: str) -> Net:
        if self.chance(0.12):
            out = self.line("scale", self.line(
                self.pick(["every", "until"]), out, value=self.pick([2, 3])), value=1.5)
        penalties = []
        trained = [p.name for p in self.params if not self._frozen(p.name) and not p.unit]
        if trained and self.chance(0.12):
            penalties.append(("weight", self.pick(trained), self.number(0.1, 2)))
        if any(not s.counts for s in self.states) and self.chance(0.12):
            named = self.pick([s for s in self.states if not s.counts]).name
            penalties.append((self.pick(["state", "rate"]), named, self.number(0.1, 2)))
        kind = self.pick(["square", "square", "huber", "classes"])
        return pruned(Net(
            n_in, tuple(self.params), self.weights, tuple(self.states), tuple(self.lines), out,
            Loss(kind, tuple(penalties)), self.pick([4, 5, 6]), self.pick([1, 2, 3]),
            self.chance(0.4), self.packs(),
            self.pick(["matmul", "matmul", "einsum", "flipped"]), self.seed,
        ))


    def packs(self) -> tuple[Pack, ...]:
        """States of one cell in one array, for some cells."""
        packs = []
        for s in self.states:
            own = [t.name for t in self.states if t.name.endswith(s.name) and not t.counts]
            if len(own) > 1 and self.chance(0.15):
                units = {self.states[k].unit for k, t in enumerate(self.states) if t.name in own}
                kind = "HiddenTreeState" if units != {""} or self.chance(0.5) else (
                    "HiddenGroupState")
                packs.append(Pack(f"pack_{s.name}", kind, tuple(own)))
        return tuple(packs)


def random_net(seed: int) -> Net:
    """The model of a seed."""
    return Builder(seed).net()
