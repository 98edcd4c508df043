"""Run the steps of a window forward and record them.

Only what feeds back into its own state goes step after step; see `core.analysis.schedule`. Of
that, what is affine in the state is composed on a GPU (`core.execution.recurrence`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from core.analysis.graph import Graph
from core.analysis.schedule import Stage, is_affine
from core.execution.axes import along, finite, over_time, scan
from core.execution.recurrence import accumulate, composes
from core.execution.step import StepInput, part

__all__ = ["Record", "Restart", "run"]


class Restart(NamedTuple):
    """Samples that start anew within a window."""

    keep: Any  # [K, B] or [K]: zero where a sample starts anew before the step, else one; or None
    states: tuple[Any, ...]  # what it starts from, one per Graph.restarting
    idle: Any = None  # [K, B] or [K]: steps from which on nothing counts until it starts anew


class Record(NamedTuple):
    """What the forward run leaves behind; every leaf has a leading axis K."""

    hidden: tuple[Any, ...]  # h_{t-1} as the step reads it, one per Graph.hidden
    ys: tuple[Any, ...]  # y_t, one per Graph.operations
    step: StepInput

    @property
    def n_steps(self) -> int:
        return int(jax.tree.leaves(self)[0].shape[0])


def run(
    graph: Graph,
    values: Mapping[int, Any],
    hidden: tuple[Any, ...],
    others: tuple[Any, ...],
    args: tuple[Any, ...],
    restart: Restart | None = None,
) -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...], Record]:
    """Forward over `args` [K, ...]; `restart` names samples that start anew on the way.

    Returns:
      Outputs [K, ...], last hidden and other states, record.
    """
    hidden_vars = tuple(h.var for h in graph.hidden)
    other_vars = tuple(v for v, _ in graph.others)
    start = dict(zip(hidden_vars + other_vars, hidden + others, strict=True))
    anew = {} if restart is None else dict(zip(graph.restarting, restart.states, strict=True))
    again = (None, None) if restart is None else (restart.keep, restart.idle)

    def restarted(state: int, value: Any, again: Any) -> Any:
        keep, idle = again
        if state in anew and keep is not None and value.shape[: keep.ndim] == keep.shape:
            value = jnp.where(along(keep, value) > 0, value, anew[state])
        return finite(value, idle, anew[state]) if state in anew else value

    def compute(stage: Stage, inputs: Mapping[int, Any]) -> tuple[dict[int, Any], tuple[Any, ...]]:
        """The new states of a stage, by the variable of the old, and its outputs."""
        atoms = (*(after for _, after in stage.states), *stage.outputs)
        found = part(graph, values, stage.equations, atoms, inputs)
        after = {v: new for (v, _), new in zip(stage.states, found, strict=False)}
        return after, found[len(after) :]

    def loop(stage: Stage, inputs: dict[int, Any]) -> Any:
        def tick(states: dict[int, Any], given: Any) -> Any:
            inputs_t, again_t = given
            before = {v: restarted(v, value, again_t) for v, value in states.items()}
            after, outputs = compute(stage, {**inputs_t, **before})
            return after, (before, outputs)

        states = {v: start[v] for v, _ in stage.states}
        last, (before, outputs) = scan(tick, states, (inputs, again))
        return last, before, outputs

    def composed(stage: Stage, inputs: dict[int, Any]) -> Any:
        def new(states: dict[int, Any]) -> Any:
            step = over_time(lambda states, inputs: compute(stage, {**inputs, **states})[0])
            return step(states, inputs)

        n_steps = jax.tree.leaves(inputs)[0].shape[0]
        states = {v: start[v] for v, _ in stage.states}
        zero = {v: jnp.zeros((n_steps, *a.shape), a.dtype) for v, a in states.items()}
        inflow, pull = jax.vjp(new, zero)
        pulled = {s: pull({v: jnp.full_like(zero[v], v == s) for v in zero})[0] for s in zero}
        transition = {(s, p): d for s, found in pulled.items() for p, d in found.items()}
        before, last = accumulate(transition, states, inflow)
        outputs = over_time(lambda inputs: compute(stage, inputs)[1])({**inputs, **before})
        return last, before, outputs

    def at_once(stage: Stage, inputs: dict[int, Any]) -> Any:
        after, outputs = over_time(lambda inputs: compute(stage, inputs))(inputs)
        before = {
            v: restarted(v, jnp.concatenate([start[v][None], new[:-1]]), again)
            for v, new in after.items()
        }
        return {v: new[-1] for v, new in after.items()}, before, outputs

    known: dict[Any, Any] = dict(zip(graph.arg_vars, args, strict=True))  # [K, ...] by variable
    last: dict[int, Any] = {}
    for stage in graph.stages:
        inputs = {v: known[v] for v in stage.inputs}
        way = loop if stage.loop else at_once
        if stage.loop and composes() and restart is None and is_affine(stage, graph.program.avals):
            way = composed
        ends, before, outputs = way(stage, inputs)
        last |= ends
        known |= before
        known.update(zip(stage.outputs, outputs, strict=True))
    return (
        tuple(known[a] for a in graph.out_atoms),
        tuple(last[v] for v in hidden_vars),
        tuple(last[v] for v in other_vars),
        Record(
            tuple(known[v] for v in hidden_vars),
            tuple(known[op.y] for op in graph.operations),
            StepInput(args, tuple(known[v] for v in other_vars)),
        ),
    )
