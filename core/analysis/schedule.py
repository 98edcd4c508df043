"""The order in which the equations of a step are run over a window.

Only what feeds back into its own state has to go step after step. Everything else, a readout or the
matrix product between two layers, is computed for all steps of a window at once, which turns many
small products into one large one. States that feed back into each other form one loop; loops that
do not wait for one another are run as one.

A loop whose new states are D z + u of its previous states, element by element and with D and u
known beforehand (a leaky readout, a synaptic current), need not be run as one: `is_affine`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jax.extend import core as jex
from jax.interpreters import batching

from core.equations.differential import is_real
from core.equations.links import reached
from core.equations.program import Atom, Equation, closure, needed, variables_of

_MAPPED = batching.fancy_primitive_batchers  # the rules by which jax.vmap maps primitives


@dataclass(frozen=True, eq=False)
class Stage:
    """Equations that are run together: step after step in a loop, or for all steps at once."""

    loop: bool
    equations: tuple[Equation, ...]
    # (before, after) of the states that are known afterwards. Outside a loop these are states whose
    # new value does not depend on their previous one, so that shifting it by one step will do.
    states: tuple[tuple[int, Atom], ...]
    inputs: tuple[int, ...]  # what varies from step to step and comes from elsewhere
    outputs: tuple[Atom, ...]  # what others read


def schedule(
    equations: Sequence[Equation],
    states: Mapping[int, Any],
    inputs: Sequence[int],
    wanted: Iterable[Atom],
) -> tuple[Stage, ...]:
    """A step in stages, by turns what is computed at once and what is a loop; `wanted` is what is
    read of every step in the end."""
    wanted = list(dict.fromkeys(wanted))
    if one_by_one(equations):
        return (Stage(True, tuple(equations), tuple(states.items()), tuple(inputs), tuple(wanted)),)
    found = reached(equations, {v: frozenset([v]) for v in states})
    feeds = {v: found.get(a, frozenset[int]()) for v, a in states.items()}
    reads = [(v, u) for v in states for u in feeds[v]]
    below = {v: closure(feeds[v], reads) for v in states}
    depth: dict[int, int] = {}
    for v in sorted(states, key=lambda v: len(below[v] | {v})):
        depth[v] = 1 + max((depth[u] for u in below[v] if v not in below[u]), default=-1)

    plan: list[tuple[bool, list[Equation], dict[int, Atom]]] = []
    in_loop: set[int] = set()
    for level in range(max(depth.values(), default=-1) + 1):
        here = {v: a for v, a in states.items() if depth[v] == level}
        around = {v: a for v, a in here.items() if v in below[v]}
        fed = needed(equations, around.values())
        loop = [eqn for eqn in fed if not found[eqn.outputs[0]].isdisjoint(around)]
        in_loop.update(map(id, loop))
        plan.append((False, [], {v: a for v, a in here.items() if v not in around}))
        plan.append((True, loop, around))
    plan.append((False, [], {}))
    for eqn in equations:
        if id(eqn) not in in_loop:
            level = max((depth[v] + 1 for v in found[eqn.outputs[0]]), default=0)
            plan[2 * level][1].append(eqn)
    return _with_ends(plan, set(inputs) | set(states), inputs, wanted)


def one_by_one(equations: Iterable[Equation]) -> list[Equation]:
    """Those that keep a window from being computed at once: callbacks promise an order, and some
    primitives (of sparse and event-driven layers) cannot be mapped."""

    def alone(eqn: Equation) -> bool:
        return any("callback" in p.name or p not in _MAPPED for p in _primitives(eqn))

    return list(filter(alone, equations))


def _primitives(eqn: Any) -> Iterator[Any]:
    """Of an equation and of everything that it calls."""
    bodies = list(jex.jaxprs_in_params(eqn.params))
    if not bodies:  # what calls nothing needs a rule itself
        yield eqn.primitive
    for jaxpr in bodies:
        for called in jaxpr.eqns:
            if (
                called.invars or called.effects
            ):  # else (an iota) it is one for all samples and steps
                yield from _primitives(called)


# Operations that are affine in each operand, element by element.
_AFFINE = frozenset(["add", "add_any", "convert_element_type", "copy", "mul", "neg", "sub", "div"])


def is_affine(stage: Stage, avals: Mapping[int, Any]) -> bool:
    """Whether the new states of a loop are affine in the previous ones, element by element."""
    moved = {v for v, _ in stage.states}
    after = [a for _, a in stage.states]
    for eqn in needed(stage.equations, after):
        own = [v for v in eqn.variables if v in moved]
        if not own:
            continue
        alike = {(avals[v].shape, avals[v].dtype) for v in (*own, *eqn.outputs)}
        if eqn.name not in _AFFINE or len(alike) > 1:
            return False
        once = eqn.inputs[:1] if eqn.name == "div" else eqn.inputs
        if eqn.name in ("div", "mul") and (len(own) > 1 or own[0] not in once):
            return False
        moved.update(eqn.outputs)
    return all(is_real(avals[v]) for v in moved)


def _with_ends(
    plan: Sequence[tuple[bool, list[Equation], dict[int, Atom]]],
    varying: set[int],
    inputs: Sequence[int],
    wanted: Sequence[Atom],
) -> tuple[Stage, ...]:
    """What every stage reads from others and makes for others."""
    made = [{v for eqn in equations for v in eqn.outputs} for _, equations, _ in plan]
    varying = varying.union(*made)
    read = [variables_of(equations, states.values()) & varying for _, equations, states in plan]
    stages = []
    for i, (loop, equations, states) in enumerate(plan):
        elsewhere = set(wanted).union(*(r for j, r in enumerate(read) if j != i))
        outputs: list[Atom] = [v for eqn in equations for v in eqn.outputs if v in elsewhere]
        if i == len(plan) - 1:  # the rest: constants, weights
            outputs += [a for a in wanted if a not in varying]
        given = read[i] - made[i] - (set(states) if loop else set())
        if equations or states or outputs:
            ends = tuple(sorted(given)) or tuple(inputs)
            stages.append(
                Stage(loop, tuple(equations), tuple(states.items()), ends, tuple(outputs))
            )
    return tuple(stages)
