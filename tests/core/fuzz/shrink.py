"""Make a failing model smaller while it still fails in the same way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .check import Outcome, check
from .description import Line, Loss, Net, Weight, pruned
from .plan import Plan

__all__ = ["shrunk"]


def shrunk(net: Net, plan: Plan, outcome: Outcome, tries: int = 150) -> tuple[Net, Plan, Outcome]:
    """The smallest model found, how it was run, and what came."""
    found = True
    while found and tries > 0:
        found = False
        for small, way in (
            *((net, p) for p in simpler_plans(plan)),
            *((n, plan) for n in simpler_nets(net)),
        ):
            if small is None:
                continue
            tries -= 1
            if tries < 0:
                break
            try:
                came = check(small, way)
            except (KeyError, ValueError, IndexError):  # not a model any more
                continue
            if came.kind == outcome.kind and (
                came.kind != "crashed" or came.words[:40] == outcome.words[:40]
            ):
                net, plan, outcome, found = small, way, came, True
                break
    return net, plan, outcome


def simpler_plans(plan: Plan) -> Iterator[Plan]:
    if plan.reset:
        yield replace(plan, reset=False)
    if plan.mask:
        yield replace(plan, mask=None, padding=False, mean=False)
    if plan.mean:
        yield replace(plan, mean=False)
    if plan.driver != "gradient":
        yield replace(plan, driver="gradient", update_every=0)
    if plan.batching != "manual":
        yield replace(plan, batching="manual")


def simpler_nets(net: Net) -> Iterator[Net | None]:
    if net.batch > 1:
        yield replace(net, batch=1)
    if net.n_steps > 2:
        yield replace(net, n_steps=net.n_steps - 1)
    if net.vectorised:
        yield replace(net, vectorised=False)
    if net.product != "matmul":
        yield replace(net, product="matmul")
    for k in range(len(net.loss.penalties)):
        left = net.loss.penalties[:k] + net.loss.penalties[k + 1 :]
        yield replace(net, loss=Loss(net.loss.kind, left))
    if net.loss.kind != "square":
        yield replace(net, loss=replace(net.loss, kind="square"))
    if net.packs:
        yield replace(net, packs=())
    widths = net.widths
    for line in reversed(net.lines):  # a line gives way to one of what it reads
        for a in dict.fromkeys(line.args):
            if widths[a] == widths[line.name]:
                yield without(net, line.name, a)
    for s in net.states:
        penalised = any(name == s.name for _, name, _ in net.loss.penalties)
        if not (s.new == "x" or s.counts or net.pack_of(s.name) or penalised):
            yield dropped(net, s.name)
        if s.start != "zero" or s.unit:
            yield replace(
                net,
                states=tuple(
                    replace(t, start="zero", unit="") if t == s else t for t in net.states
                ),
            )
    for line in net.lines:  # a narrower operand
        if line.kind == "op" and net.line_or_none(line.args[0], "concat"):
            joined = net.line(line.args[0])
            for k in range(len(joined.args) if len(joined.args) > 1 else 0):
                yield narrowed(net, line, joined, joined.args[:k] + joined.args[k + 1 :])
    for key, weight in net.weights.items():
        if weight.how not in ("plain", "rows", "transposed"):
            yield replace(net, weights={**net.weights, key: Weight("plain", weight.params[:1])})
    for p in net.params:
        if p.unit or p.linear:
            yield replace(
                net,
                params=tuple(
                    replace(q, unit="", linear=False) if q == p else q for q in net.params
                ),
            )


def without(net: Net, name: str, instead: str) -> Net:
    def renamed(a: str) -> str:
        return instead if a == name else a

    lines = tuple(
        replace(line, args=tuple(map(renamed, line.args)))
        for line in net.lines
        if line.name != name
    )
    states = tuple(replace(s, new=renamed(s.new)) for s in net.states)
    return pruned(replace(net, lines=lines, states=states, out=renamed(net.out)))


def dropped(net: Net, state: str) -> Net | None:
    """Without a state: who read it reads its new value. None where that would be a circle."""
    s = net.state(state)
    prev = [line.name for line in net.lines if (line.kind, line.value) == ("prev", state)]
    small = replace(net, states=tuple(t for t in net.states if t.name != state))
    for name in prev:
        if depends(small, s.new, name):
            return None
        small = without(small, name, s.new)
    return pruned(small)


def depends(net: Net, name: str, on: str) -> bool:
    return name == on or (name != "x" and any(depends(net, a, on) for a in net.line(name).args))


def narrowed(net: Net, op: Line, joined: Line, parts: tuple[str, ...]) -> Net:
    """The operation with fewer operands, and a weight of its own."""
    widths = net.widths
    name, key = f"{joined.name}_", f"{op.value}_"
    p = replace(
        net.param(net.weights[op.value].params[0]),
        name=f"p{key}",
        linear=False,
        shape=(sum(widths[a] for a in parts), widths[op.name]),
    )
    lines = []
    for line in net.lines:
        if line.name == op.name:
            lines.append(Line(name, "concat", parts))
            line = replace(op, args=(name,), value=key)
        lines.append(line)
    return pruned(
        replace(
            net,
            lines=tuple(lines),
            params=(*net.params, p),
            weights={**net.weights, key: Weight("plain", (p.name,))},
        )
    )
