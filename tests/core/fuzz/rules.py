"""The rules beside D-RTRL, each by its definition, dense: what `reference` is for that rule.

With D, F and J, G the derivatives of the next states by the previous ones and by the y of every
source, J and G of the whole step, D and F with every y given; x what a source reads; L and c the
credit of this step at the previous states and at y:

    SnAp-n   eps <- near (D eps + F R eps + x F)     R = dy/dh_{t-1}, of the whole step
             g = L eps + c (x + near R eps)          near: within n - 1 products of one's own neuron
    OTTT     ex <- a ex + x                          a: D of the neurons that y feeds, spikes held
             g = c ex
    OTPE     E <- k E + ex dz/dy                     z: what the layer above reads, k: its a
             g = c ex + k (c at y of the layer above) B^T E
    e-prop   E <- k E + dz/dh_{t-1} eps + x dz/dy    eps: of D-RTRL
             g = L eps + x c + (L at the readout) F B^T E
    UORO     s <- r0 J s + r1 nu, theta <- theta / r0 + (nu x G) / r1
             g = (L s) theta + x c

B is W, or with random feedback what `feedback` makes of it, and c and L are then of a step that
passes credit back through B. `feedback` and `signs` are given to the core in the place of what it
draws, which the reference need not know then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .description import Line, Net
from .reference import Rule, Traces
from .ruled import Ruled
from .step import Step

__all__ = ["BY_KIND", "refused", "signs"]

Array = np.ndarray
INTEGRATORS = ("ottt", "otpe")


def signs(h: Any, steps: Any, functions: Any = np) -> Any:
    """In the place of drawn ones, of new states and the steps that samples have taken."""
    return functions.where(functions.sin(1e3 * h + 0.7 * steps) < 0, -1.0, 1.0)


class SnAp(Ruled):
    """Neurons in reach of one another by the products of a step."""

    def __init__(self, net: Net, rule: Rule) -> None:
        super().__init__(net, rule)
        self.near = {g: self._near(g) for g in self.groups}

    def undefined(self) -> str:
        """Why there is no gradient here, or nothing."""
        full = self.sampled("full")
        for op in self.layout.ops:
            for g in self.groups:
                fed = self.home[g][self.of(op)] >= 0
                read = full.look(op.args[0])[1][..., self.own(g)].any()
                if self.net.weights[op.value].how == "frozen" and fed.any() and read:
                    return f"{op.name} is constant, and recurrent"
        if self.rule.n > 1 and any(near.all() and near.size > 1 for near in self.near.values()):
            return "all neurons reach all"
        return ""

    def _near(self, g: str) -> Array:
        """Whether a neuron is reached by another, [reached, from]."""
        n = self.members[g][0].n
        one = np.eye(n, dtype=bool)
        R = np.abs(self.R(self.sampled("full"), g)).max(axis=0) > 0
        for q in np.flatnonzero(self.home[g] >= 0):
            one[self.home[g][q]] |= R[q].reshape(-1, n).any(axis=0)
        return np.linalg.matrix_power(one.astype(int), self.rule.n - 1) > 0

    def own(self, g: str) -> Array:
        """The places of a group's states, one state of all neurons after the other."""
        return np.r_[
            tuple(np.arange(self.n_state)[self.layout.at[p.name]] for p in self.members[g])
        ]

    def R(self, step: Step, g: str) -> Array:
        """dy/dh_{t-1} of what feeds a group by the group's states, [B, Q, states]."""
        found = np.zeros((len(step.x), self.n_sources, len(self.own(g))))
        for op in self.layout.ops:
            found[:, self.of(op)] = step.look(op.name)[1][..., self.own(g)]
        return found * (self.home[g] >= 0)[:, None]

    def moved(self, t: Traces, full: Step, g: str) -> Array:
        """What the traces of a group do to what feeds it, [B, Q, P]."""
        near, at = self.near[g], self.home[g]
        within = (at >= 0)[:, None] & (at[self.column] >= 0) & near[at][:, at[self.column]]
        return self.R(full, g) @ t.eps[:, self.own(g)] * within

    def gradient_of_step(
        self, t: Traces, c_h: Array, c_q: Array, x: Array, carry: Step, full: Step
    ) -> Array:
        g = np.einsum("bn,bnp->p", c_h, t.eps) + self.within(x, c_q)
        return g + sum(np.einsum("bq,bqp->p", c_q, self.moved(t, full, k)) for k in self.groups)

    def advance(self, t: Traces, carry: Step, full: Step, x: Array) -> Traces:
        local, new = self.local(carry), t.eps * 0
        for g in self.groups:
            own, home = self.own(g), self.home[g][self.column]
            whole = (local.D @ t.eps + local.F @ self.moved(t, full, g))[:, own]
            followed = (home >= 0) & self.near[g][:, home]
            whole = whole * np.tile(followed, (len(own) // len(followed), 1))
            new[:, own] = whole + self.enter(x, local.F)[:, own]
        t.eps = new
        return t


@dataclass
class Sums(Traces):
    E: dict[Any, Array] = field(default_factory=dict)  # [B, I, P] by group that reads

    def arrays(self) -> list[Array]:
        return [*super().arrays(), *self.E.values()]


class Integrators(Ruled):
    """OTTT, OTPE and e-prop: where neurons have decays, and readers remember."""

    def __init__(self, net: Net, rule: Rule) -> None:
        super().__init__(net, rule)
        held = rule.kind in INTEGRATORS
        self.decays = {g: self.decay(g, held) for g in self.groups}
        self.readers = {
            g: a
            for g, a in self.decays.items()
            if a is not None and self.live(g) and (held or not self.is_read(g))
        }
        self.a = np.zeros(self.n_sources)
        for g, a in self.decays.items():
            self.a[self.home[g] >= 0] = np.nan if a is None else a

    def undefined(self) -> str:
        """Why OTTT and OTPE have no gradient here, or nothing."""
        for line in self.layout.sources:
            fed = self.fed[self.of(line)].any()
            if line.kind != "op" and fed and not self.joined(line):
                return f"{line.name} is no weight and no bias of a product"
        for g in self.groups:
            if (self.home[g] >= 0).any() and self.decays[g] is None:
                return f"{g} has no decay"
        for op in self.layout.ops:
            fed = sum((home[self.of(op)] >= 0).astype(int) for home in self.home.values())
            constant = self.net.weights[op.value].how == "frozen"
            if np.max(fed, initial=0) > 1 and not (constant and self._is_no_reader(op)):
                return f"{op.name} feeds two layers"
        return self._late() or self._beside()

    def read_twice(self) -> str:
        """Whether a leaky layer reads something of another at two places, or two at one."""
        reads = np.abs(self.reads(self.sampled("carry"))).max(axis=0) > 0
        for op in self.layout.ops:
            q = self.of(op)
            if not any((self.home[r][q] >= 0).any() for r in self.readers):
                continue
            x = reads[self.inputs[op.name]]
            for g, members in self.members.items():
                n = members[0].n
                own = np.zeros((len(x), n), bool)
                for p in members:
                    own |= x[:, self.layout.at[p.name]]
                np.logical_or.at(
                    own.T, self.home[g], (x[:, self.n_state :] & (self.home[g] >= 0)).T
                )
                if (own.sum(axis=0) > 1).any() or (own.sum(axis=1) > 1).any():
                    return f"{op.name} reads neurons of {g} twice"
            several = np.sum([home >= 0 for home in self.home.values()], axis=0) > 1
            if (x.sum(axis=0) > 1).any() or (x[:, self.n_state :].any(axis=0) & several).any():
                return f"{op.name} reads something at two places, or by way of two layers"
        return ""

    def _is_no_reader(self, op: Line) -> bool:
        """Whether OTPE has nothing to do with a product."""
        d = self.reads(self.sampled("carry"))[:, self.inputs[op.name]].any(axis=(0, 1))
        return self.rule.kind == "ottt" or not d.any()

    def _late(self) -> str:
        for g in self.groups:
            driving = self.n_state + np.flatnonzero(self.home[g] >= 0)
            for name in self.live(g):
                blocked = self.on_the_way(name, driving)
                seen = self.looked_at(self.sampled("credit", blocked=blocked))
                if seen[self.layout.at[name]].any():
                    return f"{name} is read as it was"
        return ""

    def _beside(self) -> str:
        for op in self.layout.ops:
            at, blocked = self.layout.at[f"d{op.name}"], set[str]()
            fed = np.zeros(at.stop - at.start, bool)
            for g in self.groups:
                own = self.home[g][self.of(op)] >= 0
                live = self.live(g) if own.any() else set()
                fed |= own & bool(live)
                for name in live:
                    past = np.r_[tuple(np.arange(self.n_state)[self.layout.at[p]] for p in live)]
                    blocked |= self.on_the_way(name, past)
            seen = self.looked_at(self.sampled("credit", blocked=blocked))[at]
            if (seen & fed).any() and self.net.weights[op.value].how != "frozen":
                return f"{op.name} is read beside its state"
        return ""

    def fresh(self, batch: int) -> Any:
        E = np.zeros((batch, self.n_inputs, self.n_weights))
        new = {g: E.copy() for g in self.readers}
        return Sums(**vars(super().fresh(batch)) | {"ex": E[:, 0].copy(), "E": new})

    def advance(self, t: Any, carry: Step, full: Step, x: Array) -> Any:
        local, reads = self.local(carry), self.reads(carry)
        dz_dh, dz_dy = reads[..., : self.n_state], reads[..., self.n_state :] * self.fed
        ex = self.a[self.column] * t.ex + x[:, self.row]
        held = self.rule.kind in INTEGRATORS
        for g, k in self.readers.items() if self.rule.kind != "ottt" else ():
            new = dz_dy[:, :, self.column] * ex[:, None] if held else self.enter(x, dz_dy)
            t.E[g] = k * t.E[g] + new + (0 if held else dz_dh @ t.eps)
        return Sums(local.D @ t.eps + self.enter(x, local.F), t.full, t.ef, ex, t.age, t.E)

    def gradient_of_step(
        self, t: Any, c_h: Array, c_q: Array, x: Array, carry: Step, full: Step
    ) -> Array:
        B = self.passed()
        if self.rule.kind not in INTEGRATORS:
            F = self.local(carry).F
            g = np.einsum("bn,bnp->p", c_h, t.eps) + self.within(x, c_q)
            for r in self.readers:
                (name,) = self.live(r)
                at = self.layout.at[name]
                c = np.einsum("bn,bnq->bq", c_h[:, at], F[:, at])
                g += np.einsum("bq,iq,bip->p", c, B, t.E[r])
            return g
        ex = self.a[self.column] * t.ex + x[:, self.row]
        g = (c_q[:, self.column] * ex).sum(0)
        if self.rule.kind == "otpe":
            counted = np.zeros(self.n_sources, bool)
            for r, k in self.readers.items():
                c = c_q * ((self.home[r] >= 0) & ~counted)
                counted |= self.home[r] >= 0
                g += k * np.einsum("bq,iq,bip->p", c, B, t.E[r])
        return g


class UORO(Ruled):
    """One random product of states and weights."""

    def undefined(self) -> str:
        """Why there is no gradient here, or nothing."""
        full = self.local(self.sampled("full")).F
        for line in (*self.layout.uses, *self.layout.starts):
            q = self.of(line)
            if full[..., q].any() and not self.fed[q].any() and not self.joined(line):
                return f"{line.name} reaches a state through products alone"
        return ""

    def fresh(self, batch: int) -> Any:
        t = super().fresh(batch)
        t.eps, t.ex = np.zeros((batch, self.n_state)), np.zeros((batch, self.n_weights))
        return t

    def gradient_of_step(
        self, t: Traces, c_h: Array, c_q: Array, x: Array, carry: Step, full: Step
    ) -> Array:
        return np.einsum("b,bp->p", (c_h * t.eps).sum(1), t.ex) + self.within(x, c_q)

    def advance(self, t: Traces, carry: Step, full: Step, x: Array) -> Traces:
        local = self.local(full)
        nu = signs(self.states(full)[0], t.age[:, None])
        passed = np.einsum("bmn,bn->bm", local.D, t.eps)
        now = self.enter(x, np.einsum("bn,bnq->bq", nu, local.F)[:, None])[:, 0]
        for op in self.layout.ops:
            now[:, self.spans[op.name]] *= self.net.weights[op.value].how != "frozen"
        r0, r1 = root(t.ex, passed), root(now, nu)
        t.eps, t.ex, t.age = r0 * passed + r1 * nu, t.ex / r0 + now / r1, t.age + 1
        return t


def root(a: Array, b: Array) -> Array:
    """Of the ratio of two norms, one where either is zero, [B, 1]."""
    a, b = (np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
    both = (a > 0) & (b > 0)
    return np.sqrt(np.where(both, a, 1) / np.where(both, b, 1))


BY_KIND = {"snap": SnAp, "e_prop": Integrators, "ottt": Integrators, "otpe": Integrators}
BY_KIND["uoro"] = UORO


def refused(net: Net, rule: Rule) -> str:
    """Why a rule has no gradient of a model that D-RTRL has one of, or nothing."""
    if rule.kind in (*INTEGRATORS, "e_prop"):
        ref = Integrators(net, rule)
        own = ref.undefined() if rule.kind in INTEGRATORS else ""
        return own or (ref.read_twice() if rule.kind != "ottt" else "")
    if rule.kind == "snap":
        return SnAp(net, rule).undefined()
    return UORO(net, rule).undefined() if rule.kind == "uoro" else ""
