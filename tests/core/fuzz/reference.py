"""Every algorithm's gradient as its definition says, dense and step by step, in NumPy alone.

Shapes: B samples, N numbers of state, Q of all sources together, P of all weights. With D [B, N, N]
and F [B, N, Q] of the next states, and the credit c = dloss/d(h_{t-1}, q) inside the step:

    D-RTRL          eps <- D eps + x (x) F        g = sum_b c_h eps_{t-1} + x (x) c_q
    RTRL, BPTT      the same with the full derivatives of the step
    truncated       and eps = 0 where a window begins (kind full; BPTT has one window)
    credit=window   the full derivatives inside a window, from D-RTRL's eps where it begins
    ES-D-RTRL       ex <- a_x ex + x              ef <- a_f D ef + (1 - a_f) F
                    g = sum_b ex (x) (a_f c_h ef_{t-1} + (1 - a_f) c_q) / (1 - a_f^(t+1))

In the last, element-wise parameters that are not only added have D-RTRL's trace, and what reaches
no state but through another operation has the exact gradient within the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .description import Line, Net, draw
from .functions import sigmoid
from .step import Step, matrix
from .structure import Structure, analyse

__all__ = ["Rule", "Wanted", "reference"]

Array = np.ndarray
FULL = ("full", "influence", "window", "uoro")


@dataclass(frozen=True)
class Rule:
    """Which gradient: kind full, influence (RTRL: full, never forgets), trace, window or decay; and
    those of `rules`: snap, ottt, otpe, e_prop, uoro.

    window: steps after which `full` forgets, or `window` hands over to the trace.
    decays: (a_x, a_f) of kind decay.
    n: of SnAp.
    random: whether credit passes back through `feedback`.
    """

    kind: str
    window: int = 0
    decays: tuple[float, float] = (0.0, 0.0)
    n: int = 1
    random: bool = False


class Wanted(NamedTuple):
    grads: dict[str, Array]  # of the last update
    losses: Array  # [T]
    outs: Array  # [T, B, O]
    params: dict[str, Array]  # after training


class Local(NamedTuple):
    """The next states and the derivatives of one step."""

    D: Array
    F: Array


@dataclass
class Traces:
    """What a rule carries from step to step."""

    eps: Array  # [B, N, P]
    full: Array  # the same with the full derivatives
    ef: Array  # [B, N, Q]
    ex: Array  # [B, I + 1] of all operands and the constant one
    age: Array = field(default_factory=lambda: np.zeros(0))  # [B]

    def arrays(self) -> list[Array]:
        """All of them."""
        return [self.eps, self.full, self.ef, self.ex, self.age]


class Reference:
    """A model, its data and one rule."""

    def __init__(self, net: Net, rule: Rule) -> None:
        self.net, self.rule = net, rule
        self.structure: Structure = analyse(net)
        self.layout = self.structure.layout
        self.params = {p.name: p.value for p in net.params}
        widths = self.layout.width
        self.spans: dict[str, slice] = {}  # of each source's weights among all
        self.inputs: dict[str, slice] = {}  # of each operand among all
        p = i = 0
        for line in self.layout.sources:
            n_in = widths[line.args[0]] if line.kind == "op" else 1
            self.spans[line.name] = slice(p, p + n_in * widths[line.name])
            self.inputs[line.name] = slice(i, i + n_in)
            p, i = p + n_in * widths[line.name], i + n_in
        self.n_weights, self.n_inputs = p, i
        n = self.layout.n_state
        self.low_passed = np.concatenate(
            [
                (
                    self.structure.fed[line.name]
                    if line.kind in ("op", "bias", "threshold")
                    else np.zeros(widths[line.name], bool)
                )
                for line in self.layout.sources
            ]
        )

        self.n_state = n

    # -- one step

    def step(
        self,
        rule: str,
        h: Mapping[str, Array],
        x: Array,
        i: int,
        begins: Array,
        dropped: Mapping[str, Array],
    ) -> Step:
        s = self.structure
        return Step(
            self.net, self.layout, self.params, h, x, i, begins, rule, s.cuts, dropped, s.kept,
            random=self.rule.random,
        )  # fmt: skip

    def states(self, step: Step) -> tuple[Array, Array]:
        """The next states [B, N] and their derivatives [B, N, M]."""
        found = [step.look(s.new) for s in self.layout.states]
        if not found:
            return np.zeros((len(step.x), 0)), np.zeros((len(step.x), 0, self.layout.n_directions))
        return np.concatenate([v for v, _ in found], 1), np.concatenate([d for _, d in found], 1)

    def local(self, step: Step) -> Local:
        d = self.states(step)[1]
        return Local(d[..., : self.n_state], d[..., self.n_state :])

    def operands(self, step: Step) -> Array:
        """All operands beside each other; one for what acts element by element. [B, sum I]"""
        one = np.ones((len(step.x), 1))
        return np.concatenate(
            [
                step.look(line.args[0])[0] if line.kind == "op" else one
                for line in self.layout.sources
            ],
            axis=1,
        )

    def enter(self, x: Array, F: Array) -> Array:
        """x (x) F: from [B, I] and [B, ..., Q] to [B, ..., P]."""
        out = np.zeros((*F.shape[:-1], self.n_weights))
        for line in self.layout.sources:
            at = self.layout.at[f"d{line.name}"]
            f = F[..., at.start - self.n_state : at.stop - self.n_state]
            x_k = x[:, self.inputs[line.name]].reshape(len(x), *(1,) * (F.ndim - 2), -1, 1)
            into = out[..., self.spans[line.name]]
            into[...] = (x_k * f[..., None, :]).reshape(into.shape)
            if self.rule.kind == "influence":
                into *= self.slope(line)
        return out

    def slope(self, line: Line) -> Any:
        """How what acts moves with its parameter, where it is not a linear function of it.

        RTRL traces the parameters themselves, the others what is made of them: that matters once
        parameters change on the way.
        """
        if line.kind == "leak":
            s = sigmoid(self.params[line.value])
            return s * (1 - s)
        if line.kind == "op" and self.net.weights[line.value].how == "positive":
            return sigmoid(self.params[self.net.weights[line.value].params[0]]).ravel()
        return 1.0

    # -- the loss of a step

    def loss(self, out: Array, h: Array, y: Array) -> tuple[float, Array, Array, dict[str, Array]]:
        """Loss, and its derivatives by the output, the next states and the weights it reads."""
        kind = self.net.loss.kind
        if kind == "classes":
            e = np.exp(out - out.max(axis=1, keepdims=True))
            share = e / e.sum(axis=1, keepdims=True)
            rows = np.arange(len(out))
            value = -np.log(share[rows, y]).sum()
            d_out = share.copy()
            d_out[rows, y] -= 1
        elif kind == "huber":
            root = np.sqrt(1 + (out - y) ** 2)
            value, d_out = (root - 1).sum(), (out - y) / root
        else:
            value, d_out = ((out - y) ** 2).sum(), 2 * (out - y)
        d_h, d_w = np.zeros_like(h), {}
        for kind, name, factor in self.net.loss.penalties:
            if kind == "weight":
                w = self.params[name]
                value += factor * (w**2).sum()
                d_w[name] = d_w.get(name, 0) + 2 * factor * w
                continue
            at = self.layout.at[name]
            v = h[:, at]
            if kind == "state":
                value += factor * (v**2).sum()
                d_h[:, at] += 2 * factor * v
            else:
                value += factor * (v.mean() - 0.2) ** 2
                d_h[:, at] += 2 * factor * (v.mean() - 0.2) / v.size
        return float(value), d_out, d_h, d_w

    # -- the weights

    def pull_back(self, g: Array, into: dict[str, Array]) -> None:
        """From the weights as they act [P] to the parameters they are made of."""
        for line in self.layout.sources:
            g_k = g[self.spans[line.name]]
            if self.rule.kind != "influence":
                g_k = g_k * self.slope(line)
            if line.kind != "op":
                p = self.params[line.value]
                into[line.value] += g_k.reshape(p.shape) if p.size == g_k.size else g_k.sum()
                continue
            weight = self.net.weights[line.value]
            first = self.params[weight.params[0]]
            g_k = g_k.reshape(matrix(self.net, line.value, self.params).shape)
            if weight.how == "masked":
                g_k = g_k * (draw("mask", *first.shape) > -0.5)
            elif weight.how == "scaled":
                g_k = g_k * weight.number
            elif weight.how == "transposed":
                g_k = g_k.T
            elif weight.how == "rows":
                into[weight.params[1]] += g_k[len(first) :]
                g_k = g_k[: len(first)]
            elif weight.how == "shared":
                into[weight.params[1]] += g_k
            into[weight.params[0]] += g_k

    # -- the sequence

    def start(self, batch: int) -> dict[str, Array]:
        found = {}
        for s in self.net.states:
            row = np.zeros(s.n, int if s.counts else float)
            if s.start == "drawn":
                row = draw(s.name, s.n)
            elif s.start == "learned":
                row = self.params[f"start_{s.name}"]
            found[s.name] = np.broadcast_to(row, (batch, s.n))
        return found

    def fresh(self, batch: int) -> Traces:
        eps = np.zeros((batch, self.n_state, self.n_weights))
        n_source = self.layout.n_directions - self.n_state
        return Traces(
            eps,
            eps.copy(),
            np.zeros((batch, self.n_state, n_source)),
            np.zeros((batch, self.n_inputs)),
            np.zeros(batch),
        )

    def gradient_of_step(
        self, t: Traces, c_h: Array, c_q: Array, x: Array, carry: Step, full: Step
    ) -> Array:
        """[P], from the credit c_h [B, N] and c_q [B, Q]."""
        kind = self.rule.kind
        past = t.full if kind in FULL else t.eps
        exact = np.einsum("bn,bnp->p", c_h, past) + self.enter(x, c_q[:, None])[:, 0].sum(0)
        if kind != "decay":
            return exact
        a_x, a_f = self.rule.decays
        within = self.enter(x, c_q[:, None])[:, 0].sum(0)
        ex, age = a_x * t.ex + x, t.age + 1
        q = a_f * np.einsum("bn,bnq->bq", c_h, t.ef) + (1 - a_f) * c_q
        passed = self.enter(ex, (q / (1 - a_f**age)[:, None])[:, None])[:, 0].sum(0)
        for line in self.layout.sources:
            at, span = self.layout.at[f"d{line.name}"], self.spans[line.name]
            low = self.low_passed[at.start - self.n_state : at.stop - self.n_state]
            fed = self.structure.fed[line.name]
            shape = (-1, low.size)
            exact[span] = np.where(
                low,
                passed[span].reshape(shape),
                np.where(fed, exact[span].reshape(shape), within[span].reshape(shape)),
            ).ravel()
        return exact

    def advance(self, t: Traces, carry_step: Step, full_step: Step, x: Array) -> Traces:
        a_x, a_f = self.rule.decays
        carry, full = self.local(carry_step), self.local(full_step)
        return Traces(
            carry.D @ t.eps + self.enter(x, carry.F),
            full.D @ t.full + self.enter(x, full.F),
            a_f * carry.D @ t.ef + (1 - a_f) * carry.F,
            a_x * t.ex + x,
            t.age + 1,
        )


def reference(
    net: Net,
    rule: Rule,
    *,
    mask: Any = None,
    reset: Any = None,
    mean: bool = False,
    update_every: int = 0,
    rate: float = 0.0,
    xs: Any = None,
    ys: Any = None,
    dropped: Any = None,
    of: type[Reference] = Reference,
) -> Wanted:
    """Gradient, losses and outputs of a sequence from fresh states and traces.

    Args:
      mask: [T] or [T, B], weights of losses; zero leaves a step out. Of a penalty on weights it is
        the mean over samples.
      reset: [T, B], before which steps a sample starts anew.
      mean: average over steps instead of summing.
      update_every: 0, or steps after which `params -= rate * grads`; `full` forgets there.
      xs, ys: data in place of the model's own.
      dropped: for each step, the factors of dropout by line.
      of: what knows the rule.
    """
    ref = of(net, rule)
    made = net.data()
    xs, ys = made[0] if xs is None else xs, made[1] if ys is None else ys
    n_steps, batch = xs.shape[:2]
    weight = np.ones(n_steps) if mask is None else np.asarray(mask, float)
    weight = np.broadcast_to(weight.reshape(n_steps, -1), (n_steps, batch))
    chunk = update_every or n_steps
    credit_rule = "full" if rule.kind in FULL else "credit"
    h, traces = ref.start(batch), ref.fresh(batch)
    losses, outs = [], []
    grads = {name: np.zeros_like(p) for name, p in ref.params.items()}
    for t in range(n_steps):
        if t % chunk == 0:
            grads = {name: np.zeros_like(p) for name, p in ref.params.items()}
        begins = (t % chunk) % rule.window == 0 if rule.window else t % chunk == 0
        if begins and t > 0 and rule.kind == "full":
            traces.full = np.zeros_like(traces.full)
        if begins and rule.kind == "window":
            traces.full = traces.eps.copy()
        if reset is not None and reset[t].any():
            new, again = ref.fresh(batch), ref.start(batch)
            for old, zero in zip(traces.arrays(), new.arrays(), strict=True):
                old[reset[t]] = zero[reset[t]]
            h = {k: np.where(reset[t][:, None], again[k], v) for k, v in h.items()}
        new_samples = np.full(batch, t == 0) if reset is None else reset[t] | (t == 0)
        factors = dropped[t] if dropped else {}
        credit, carry, full = (
            ref.step(r, h, xs[t], t, new_samples, factors) for r in (credit_rule, "carry", "full")
        )
        out, d_out = credit.look(net.out)
        new, d_new = ref.states(credit)
        value, l_out, l_h, l_w = ref.loss(out, new, ys[t])
        losses.append(value)
        outs.append(out)
        share = weight[t]
        if mean:
            total = weight[t // chunk * chunk :][:chunk].mean(axis=1).sum()
            share = share / (total if total else 1.0)
        if share.any():
            l_out, l_h = (
                np.where(share[:, None] != 0, share[:, None] * l, 0) for l in (l_out, l_h)
            )
            c = np.einsum("bo,bom->bm", l_out, d_out) + np.einsum("bn,bnm->bm", l_h, d_new)
            x = ref.operands(credit)
            c_h, c_q = c[:, : ref.n_state], c[:, ref.n_state :]
            g = ref.gradient_of_step(traces, c_h, c_q, x, carry, full)
            ref.pull_back(g, grads)
            for name, d in l_w.items():
                grads[name] += share.mean() * d
        x = ref.operands(credit)
        traces = ref.advance(traces, carry, full, x)
        h = {
            s.name: (
                np.where(credit.look(s.new)[0] > 0, 0, h[s.name] + 1)
                if s.counts
                else credit.look(s.new)[0]
            )
            for s in net.states
        }
        if update_every and ((t + 1) % chunk == 0 or t + 1 == n_steps):
            ref.params = {
                name: p if name in net.frozen else p - rate * grads[name]
                for name, p in ref.params.items()
            }
    return Wanted(grads, np.array(losses), np.stack(outs), ref.params)
