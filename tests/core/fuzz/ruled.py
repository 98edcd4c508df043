"""What the rules beside D-RTRL ask of a model: who feeds whom, and which neurons are leaky."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .description import Line, Net
from .reference import Reference, Rule
from .step import Step, feedback, matrix

__all__ = ["Ruled"]

Array = np.ndarray


class Ruled(Reference):
    """A reference with weights and sources laid out, and what rules ask of a model."""

    def __init__(self, net: Net, rule: Rule) -> None:
        super().__init__(net, rule)
        s, N = self.structure, self.n_state
        self.column = np.zeros(self.n_weights, int)  # of each weight, among the sources
        self.row = np.zeros(self.n_weights, int)  # of each weight, among the operands
        for line in self.layout.sources:
            at, n = self.layout.at[f"d{line.name}"], self.layout.width[line.name]
            span, rows = self.spans[line.name], self.inputs[line.name]
            self.column[span] = np.tile(np.arange(at.start, at.stop) - N, rows.stop - rows.start)
            self.row[span] = np.repeat(np.arange(rows.start, rows.stop), n)
        self.n_sources = self.layout.n_directions - N
        self.groups = sorted(set(s.groups.values()))
        self.members = {
            g: [p for p in self.layout.states if s.groups.get(p.name) == g] for g in self.groups
        }
        # The neuron of each group that a source feeds, or -1.
        self.home = {g: np.full(self.n_sources, -1) for g in self.groups}
        for g, members in self.members.items():
            for p in members:
                neuron, q = np.nonzero(s.into[p.name][:, N:])
                self.home[g][q] = neuron
        self.fed = np.max([*self.home.values(), np.full(self.n_sources, -1)], axis=0) >= 0

    def of(self, line: Line) -> slice:
        """Where the elements of a source are among all."""
        at = self.layout.at[f"d{line.name}"]
        return slice(at.start - self.n_state, at.stop - self.n_state)

    def joined(self, line: Line) -> bool:
        """Whether a parameter is the bias of one product, which nothing else reads."""
        readers = [other for other in self.net.lines if set(line.args) & set(other.args)]
        of = self.net.line_or_none(line.args[0], "op") if line.args else None
        if line.kind != "bias" or of is None or len(readers) > 1:
            return False
        uses = [other for other in self.layout.uses if other.value == line.value]
        whole = self.params[line.value].shape == (self.layout.width[line.name],)
        return whole and len(uses) == 1 and self.net.weights[of.value].how != "frozen"

    # -- what a step says at random

    def sampled(
        self, rule: str, held: bool = False, seed: int = 0, blocked: Iterable[str] = ()
    ) -> Step:
        """A step of many samples with states, inputs and, by seed, parameters at random."""
        rng = np.random.default_rng([15, seed])
        h = {
            s.name: rng.integers(0, 4, (96, s.n)) if s.counts else rng.normal(size=(96, s.n))
            for s in self.net.states
        }
        params = self.params
        if seed:
            params = {k: p + 0.1 * rng.normal(size=p.shape) for k, p in params.items()}
        x = rng.normal(size=(96, self.net.n_in))
        ys = {
            op.name: 2 * rng.normal(size=(96, self.layout.width[op.name])) for op in self.layout.ops
        }
        return Step(
            self.net, self.layout, params, h, x, seed, np.zeros(96, bool), rule,
            self.structure.cuts, {}, self.structure.kept, held=held,
            blocked=frozenset(blocked), ys=ys,
        )  # fmt: skip

    def looked_at(self, step: Step) -> Array:
        """Whether the loss is moved by a previous state or a y, [N + Q]."""
        penalised = [name for kind, name, _ in self.net.loss.penalties if kind != "weight"]
        ends = [self.net.out, *(self.net.state(name).new for name in penalised)]
        return np.any([step.look(end)[1].any(axis=(0, 1)) for end in ends], axis=0)

    def on_the_way(self, name: str, ends: Iterable[int]) -> set[str]:
        """Lines from directions to the new value of a state, with every y given."""
        step, found, queue = self.sampled("carry"), set[str](), [self.net.state(name).new]
        while queue:
            line = queue.pop()
            if line != "x" and line not in found and self.net.line(line).kind != "op":
                found.add(line)
                queue += self.net.line(line).args
        at = list(ends)
        return {line for line in found if step.look(line)[1][..., at].any()}

    def live(self, g: str) -> set[str]:
        """States of a group whose previous value carries credit, now or in later steps."""
        d = self.looked_at(self.sampled("credit"))
        found = {p.name for p in self.members[g] if d[self.layout.at[p.name]].any()}
        queue = list(found)
        while queue:
            into = self.structure.into[queue.pop()]
            for p in self.members[g]:
                if p.name not in found and into[:, self.layout.at[p.name]].any():
                    found.add(p.name)
                    queue.append(p.name)
        return found

    def decay(self, g: str, held: bool) -> float | None:
        """Of a group: one number for all neurons and all times, of states that a y drives by a
        factor that no data change."""
        live = self.live(g)
        if len(live) != 1:
            return None if live else 0.0
        (name,) = live
        at, found = self.layout.at[name], []
        for seed in (0, 1, 2):
            local = self.local(self.sampled("carry", held, seed))
            F = self.local(self.sampled("carry", False, seed)).F[:, at]
            if np.ptp(F, axis=0).any():
                return None
            found.append(np.diagonal(local.D[:, at, at], axis1=1, axis2=2))
        return float(found[0].flat[0]) if np.ptp(found) < 1e-15 else None

    def is_read(self, g: str) -> bool:
        """Whether a product reads what a group makes of its past."""
        full = self.sampled("carry")
        return any(
            full.look(op.args[0])[1][..., self.layout.at[p.name]].any()
            for op in self.layout.ops
            for p in self.members[g]
        )

    def reads(self, step: Step) -> Array:
        """What every operand makes of the previous states and of every y, [B, I, N + Q]."""
        d = np.zeros((len(step.x), self.n_inputs, self.layout.n_directions))
        for op in self.layout.ops:
            d[:, self.inputs[op.name]] = step.look(op.args[0])[1]
        return d

    def passed(self) -> Array:
        """B of every operand and every y, [I, Q]; zero where there is no product."""
        found = np.zeros((self.n_inputs, self.n_sources))
        for op in self.layout.ops:
            W = matrix(self.net, op.value, self.params)
            found[self.inputs[op.name], self.of(op)] = feedback(W) if self.rule.random else W
        return found

    def within(self, x: Array, c_q: Array) -> Array:
        return self.enter(x, c_q[:, None])[:, 0].sum(0)
