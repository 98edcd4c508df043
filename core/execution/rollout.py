"""Run the steps of a window forward and record them.

Only what feeds back into its own state goes step after step; see `core.analysis.schedule`. Of
that, what is affine in the state is composed on a GPU (`core.execution.recurrence`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree, Shaped

from core.analysis.graph import Graph
from core.analysis.schedule import Stage, is_affine
from core.execution.axes import along, finite, forget, over_time, scan
from core.execution.recurrence import accumulate, composes
from core.execution.step import computed


class Carry(NamedTuple):
    """What passes from window to window; states are arrays by variable."""

    states: dict[int, Array]  # that a step writes
    constants: dict[int, Array]  # that it only reads
    traces: PyTree  # the algorithm's own
    initial: dict[int, Array]  # of Graph.restarting, where samples start anew on the way


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Window:
    """The steps that an algorithm is given at once; every array leads with them."""

    args: tuple[Shaped[Array, "K ..."], ...]  # leaves of the input
    # Which samples start anew, [K, B] or [K]; None where none does.
    keep: Any = None  # zero where a sample starts anew before the step, else one
    idle: Any = None  # steps from which on nothing counts until it starts anew
    # Whether the traces are known to be zero, and not wanted at the end.
    alone: bool = field(default=False, metadata={"static": True})

    @property
    def n_steps(self) -> int:
        return int(self.args[0].shape[0])

    def past(self, traces: PyTree) -> PyTree:
        """Traces where the window begins, without what no longer counts."""
        keep, idle = jax.tree.map(lambda a: a[0], (self.keep, self.idle))
        return jax.tree.map(lambda a: finite(a, idle), forget(traces, keep))


class Record(NamedTuple):
    """What the forward run leaves behind of every step, [K, ...] by variable."""

    read: dict[int, Any]  # inputs, and states as the step reads them
    ys: dict[int, Any]  # y_t of every operation

    @property
    def n_steps(self) -> int:
        return int(jax.tree.leaves(self)[0].shape[0])


def run(
    graph: Graph, values: Mapping[int, Any], carry: Carry, window: Window
) -> tuple[tuple[Any, ...], Carry, Record]:
    """Forward over a window; traces stand still.

    Returns:
      Outputs [K, ...], the carry at the end, record.
    """

    again = window.keep, window.idle

    def restarted(state: int, value: Any, again: tuple[Any, Any]) -> Any:
        if state not in carry.initial:
            return value
        keep, idle = again
        if keep is not None and value.shape[: keep.ndim] == keep.shape:
            value = jnp.where(along(keep, value) > 0, value, carry.initial[state])
        return finite(value, idle, carry.initial[state])

    def compute(stage: Stage, inputs: Mapping[int, Any]) -> tuple[dict[int, Any], tuple[Any, ...]]:
        """The new states of a stage, by the variable of the old, and its outputs."""
        atoms = (*(after for _, after in stage.states), *stage.outputs)
        found = computed(graph, values, atoms, inputs, equations=stage.equations)
        after = {v: new for (v, _), new in zip(stage.states, found, strict=False)}
        return after, found[len(after) :]

    def loop(stage: Stage, inputs: dict[int, Any], start: dict[int, Any]) -> Any:
        def tick(states: dict[int, Any], given: Any) -> Any:
            inputs_t, again = given
            before = {v: restarted(v, value, again) for v, value in states.items()}
            after, outputs = compute(stage, {**inputs_t, **before})
            return after, (before, outputs)

        last, (before, outputs) = scan(tick, start, (inputs, again))
        return last, before, outputs

    def composed(stage: Stage, inputs: dict[int, Any], start: dict[int, Any]) -> Any:
        def new(states: dict[int, Any]) -> Any:
            return over_time(lambda inputs: compute(stage, inputs)[0])({**inputs, **states})

        n_steps = jax.tree.leaves(inputs)[0].shape[0]
        zero = {v: jnp.zeros((n_steps, *a.shape), a.dtype) for v, a in start.items()}
        inflow, pull = jax.vjp(new, zero)
        pulled = {s: pull({v: jnp.full_like(zero[v], v == s) for v in zero})[0] for s in zero}
        transition = {(s, p): d for s, found in pulled.items() for p, d in found.items()}
        before, last = accumulate(transition, start, inflow)
        outputs = over_time(lambda inputs: compute(stage, inputs)[1])({**inputs, **before})
        return last, before, outputs

    def at_once(stage: Stage, inputs: dict[int, Any], start: dict[int, Any]) -> Any:
        after, outputs = over_time(lambda inputs: compute(stage, inputs))(inputs)
        before = {
            v: restarted(v, jnp.concatenate([start[v][None], new[:-1]]), again)
            for v, new in after.items()
        }
        return {v: new[-1] for v, new in after.items()}, before, outputs

    known: dict[Any, Any] = dict(zip(graph.arg_vars, window.args, strict=True))  # [K, ...]
    last: dict[int, Any] = {}
    avals = graph.program.avals
    for stage in graph.stages:
        way = loop if stage.loop else at_once
        if way is loop and composes() and not carry.initial and is_affine(stage, avals):
            way = composed
        inputs = {v: known[v] for v in stage.inputs}
        ends, before, outputs = way(stage, inputs, {v: carry.states[v] for v, _ in stage.states})
        last |= ends
        known |= before
        known.update(zip(stage.outputs, outputs, strict=True))
    read = {v: known[v] for v in (*graph.arg_vars, *carry.states)}
    ys = {op.y: known[op.y] for op in graph.operations}
    after = carry._replace(states={v: last[v] for v in carry.states})
    return tuple(known[a] for a in graph.out_atoms), after, Record(read, ys)
