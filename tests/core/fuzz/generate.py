"""Random models: stacks of cells with late and skip connections, tied and derived weights."""

from __future__ import annotations

from typing import Any

from .description import Loss, Net, Pack, State, pruned
from .functions import SMOOTH, SPIKES
from .lines import Lines

__all__ = ["random_net"]

CELLS = (
    "leaky",
    "leaky",
    "rnn",
    "gru",
    "lif",
    "alif",
    "synapse",
    "coupled",
    "stored",
    "plain",
    "lstm",
    "hard",
    "product",
)
INTEGRATORS = ("leaky", "leaky", "leaky", "lif", "lif", "lif", "lif", "twin", "plain")


class Builder(Lines):
    """Puts cells, late connections and a readout together, until the model is whole."""

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
            y = self.fn(smooth, y) if self.chance(self.rare(0.6)) else y
            return self.end(h, self.line("add", self.keep(self.prev(h)), y))
        if kind == "twin":
            return self.twin(h, parts, n)
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
            candidate = self.line("add", self.op(self.concat(parts), n), self.line("mul", r, inner))
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

    def twin(self, h: str, parts: list[str], n: int) -> str:
        """Two leaky states of one y, which know nothing of each other."""
        y, twin, k = self.drive(parts, n), self.state(f"t{h}", n), self.number(0.4, 0.95)
        other = self.scale(self.number(-1, 1), self.moved(y, n) if self.chance(0.4) else y)
        other_k = k if self.chance(0.6) else self.number(0.4, 0.95)
        first = self.end(h, self.line("add", self.scale(k, self.prev(h)), y))
        second = self.end(twin, self.line("add", self.scale(other_k, self.prev(twin)), other))
        how = self.pick(["first", "second", "sum", "both"])
        if how == "both":
            return self.concat([first, second])
        return {"first": first, "second": second}.get(how) or self.line("add", first, second)

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
        layers = [
            (
                self.pick(INTEGRATORS if self.integrates else CELLS),
                width if same else self.pick([2, 3, 4]),
            )
            for _ in range(n_layers)
        ]
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
            if kind in ("rnn",) or (
                kind not in ("gru", "lstm", "plain", "stored") and self.chance(0.5)
            ):
                parts.append(self.late(f"h{i}", kind))
            others = [j for j in remembered if j != i]
            for j in others:
                if self.chance(self.rare(0.3)):
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
        if remembered and self.chance(self.rare(0.25)):
            i = self.pick(remembered)
            parts.append(self.late(f"h{i}", layers[i][0]))
        parts = list(dict.fromkeys(parts))
        how = self.pick(["direct", "product", "product", "product", "leaky", "stored"])
        if self.integrates and self.chance(0.7):
            z = self.concat(parts)
            z = self.moved(z, self.widths[z]) if self.chance(0.2) else z
            if self.chance(0.25):
                return self.twin(self.state("r", 2), [z], 2)
            how = "leaky"
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
            out = self.line(
                "scale",
                self.line(self.pick(["every", "until"]), out, value=self.pick([2, 3])),
                value=1.5,
            )
        penalties = []
        trained = [p.name for p in self.params if not self._frozen(p.name) and not p.unit]
        if trained and self.chance(0.12):
            penalties.append(("weight", self.pick(trained), self.number(0.1, 2)))
        if any(not s.counts for s in self.states) and self.chance(0.12):
            named = self.pick([s for s in self.states if not s.counts]).name
            penalties.append((self.pick(["state", "rate"]), named, self.number(0.1, 2)))
        kind = self.pick(["square", "square", "huber", "classes"])
        return pruned(
            Net(
                n_in,
                tuple(self.params),
                self.weights,
                tuple(self.states),
                tuple(self.lines),
                out,
                Loss(kind, tuple(penalties)),
                self.pick([4, 5, 6]),
                self.pick([1, 2, 3]),
                self.chance(0.4),
                self.packs(),
                self.pick(["matmul", "matmul", "einsum", "flipped"]),
                self.seed,
                self.integrates,
            )
        )

    def packs(self) -> tuple[Pack, ...]:
        """States of one cell in one array, for some cells."""
        packs = []
        for s in self.states:
            own = [t.name for t in self.states if t.name.endswith(s.name) and not t.counts]
            if len(own) > 1 and self.chance(0.15):
                units = {self.states[k].unit for k, t in enumerate(self.states) if t.name in own}
                kind = (
                    "HiddenTreeState" if units != {""} or self.chance(0.5) else ("HiddenGroupState")
                )
                packs.append(Pack(f"pack_{s.name}", kind, tuple(own)))
        return tuple(packs)


def random_net(seed: int, integrates: bool = False) -> Net:
    """The model of a seed; of leaky integrators, most of the time, if it `integrates`."""
    return Builder(seed, integrates).net()
