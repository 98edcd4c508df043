"""What the definition asks of a model's structure, worked out from its lines element by element.

groups: states that D couples, element-wise from step to step with every y given.
cut: by operation, the states whose previous values its operand sees as constants: those of the
  groups that it feeds and of every group downstream, that is, fed by an operation that reads one of
  them, before or after its step.

A state that no output and no loss reads, at any later step, is no state: keeping a value is not
reading it, and neither is reading it for its own sake.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .description import Line, Net, State
from .step import Layout, Step

__all__ = ["Structure", "analyse"]


@dataclass(frozen=True)
class Structure:
    """Of one model.

    cuts: by operation.
    kept: lines that are the new value of a state that is read.
    groups: by state that is read, the name of its group.
    into: by state, what reaches its new value with every y given, [n, N + Q] booleans.
    fed: by source, [n] booleans: which of its elements reach a state that is read, every y given.
    mixes: why D-RTRL has no trace for this model, or nothing.
    looked_up: whether rows of a weight that are looked up reach a state: the core wants a product.
    """

    layout: Layout
    cuts: dict[str, frozenset[str]]
    kept: frozenset[str]
    groups: dict[str, str]
    into: dict[str, np.ndarray]
    fed: dict[str, np.ndarray]
    mixes: str
    looked_up: bool


def analyse(net: Net) -> Structure:
    layout = Layout(net)
    lines = {line.name: line for line in net.lines}
    read = _read(net, lines, layout.states)
    one = {s.name: np.ones((1, s.n)) for s in net.states}
    params = {p.name: np.ones(p.shape) for p in net.params}
    x = np.ones((1, net.n_in))

    def step(rule: str) -> Step:
        return Step(net, layout, params, one, x, 0, np.ones(1, bool), rule, cuts={}, generic=True)

    carry = step("carry")
    into = {s.name: carry.look(s.new)[1][0] != 0 for s in layout.states}  # [n, M] by new state

    group = {s.name: s.name for s in read}
    for s in read:
        for p in read:
            if into[s.name][:, layout.at[p.name]].any():
                old, new = group[p.name], group[s.name]
                group = {name: new if g == old else g for name, g in group.items()}

    feeds = {
        op.name: {group[s.name] for s in read if into[s.name][:, layout.at[f"d{op.name}"]].any()}
        for op in layout.ops
    }
    full = step("full")
    below: dict[str, set[str]] = {g: set() for g in group.values()}
    for op in layout.ops:
        d = full.look(op.args[0])[1][0]
        above = _above(lines, op.args[0])
        for s in read:
            if d[:, layout.at[s.name]].any() or s.new in above:
                below[group[s.name]] |= feeds[op.name]
    cuts = {}
    for op in layout.ops:
        downstream = _closure(feeds[op.name], below)
        cuts[op.name] = frozenset(s for s, g in group.items() if g in downstream)
    fed = {
        line.name: np.logical_or.reduce(
            [into[s.name][:, layout.at[f"d{line.name}"]].any(axis=0) for s in read]
            or [np.zeros(layout.width[line.name], bool)]
        )
        for line in layout.sources
    }
    kept = frozenset(s.new for s in read)
    looked_up = any(net.line_or_none(op.args[0], "ids") and fed[op.name].any() for op in layout.ops)
    mixes = _mixing(layout, read, group, into)
    return Structure(layout, cuts, kept, group, into, fed, mixes, looked_up)


def _read(net: Net, lines: dict[str, Line], states: Iterable[State]) -> list[State]:
    """The states that reach an output or a loss, of this step or of a later one."""
    states, found = list(states), set[str]()
    penalised = {name for kind, name, _ in net.loss.penalties if kind != "weight"}
    queue = [net.out, *(s.new for s in states if s.name in penalised)]
    while queue:
        above = [lines[name] for name in _above(lines, queue.pop())]
        for s in states:
            if s.name not in found and any(
                line.kind == "prev" and line.value == s.name for line in above
            ):
                found.add(s.name)
                queue.append(s.new)
    return [s for s in states if s.name in found]


def _above(lines: dict[str, Line], start: str) -> set[str]:
    """The lines that reach a line by differentiable paths, itself included."""
    found, queue = set(), [start]
    while queue:
        name = queue.pop()
        if name == "x" or name in found or (lines[name].kind, lines[name].value) == ("fn", "stop"):
            continue
        found.add(name)
        queue += lines[name].args
    return found


def _closure(start: Iterable[str], below: dict[str, set[str]]) -> set[str]:
    found, queue = set(), list(start)
    while queue:
        g = queue.pop()
        if g not in found:
            found.add(g)
            queue += below[g]
    return found


def _mixing(
    layout: Layout, read: list[State], group: dict[str, str], into: dict[str, np.ndarray]
) -> str:
    """What is not one number per neuron: D or f has no element-wise form."""
    for s in read:
        for p in read:
            d = into[s.name][:, layout.at[p.name]]
            if d.any() and (d.shape[0] != d.shape[1] or (d & ~np.eye(len(d), dtype=bool)).any()):
                return f"{s.name} reads other neurons of {p.name}"
    for line in layout.sources:
        for g in set(group.values()):
            fed = [into[s.name][:, layout.at[f"d{line.name}"]] for s in read if group[s.name] == g]
            if (np.logical_or.reduce(fed).sum(axis=0) > 1).any():
                return f"an element of {line.name} feeds several neurons"
    return ""
