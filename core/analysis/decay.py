"""What is left of a state after a step, where that is one number for all neurons and all times.

A leaky integrator v_t = a v_{t-1} + f y_t has such an a, and an f that no data change: what a
weight has done to v then only fades. With `held`, spikes (all functions that have a derivative rule
of their own) count as constants, so that a neuron that is reset by its own spikes still has the
decay of its membrane.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from core.analysis.graph import Graph
from core.equations.differential import RULES
from core.equations.links import reached
from core.equations.program import (
    Equation,
    bind,
    evaluate,
    like,
    needed,
    program_of,
    read,
    variables_of,
)

SPIKES = (*RULES, "heaviside_surrogate_gradient")  # the last one is braintools'


def constant_decay(graph: Graph, group: int, held: bool = False) -> Any:
    """dh_t/dh_{t-1} of a group of one live state, every operation's output held fixed.

    Returns:
      None where it depends on data or weights, differs from neuron to neuron, where several states
      carry credit, or where dh_t/dy_t of what drives it depends on data. Zero where no state
      carries credit. An array that is being traced is taken to be alike for all neurons.
    """
    graph = graph.sample or graph
    own = graph.groups[group]
    if len(own.live) != 1:
        return None if own.live else 0.0
    h = graph.hidden[own.states[own.live[0]]]
    known = graph.program.constants
    given = {*known, *(op.y for op in graph.operations)}
    equations = needed((*graph.prelude, *graph.body), [h.new], given=given)
    made = {v for eqn in equations for v in eqn.outputs}
    read_by = variables_of(equations, (h.var, h.new))
    free = {v: like(graph.program.avals, v) for v in read_by - made - set(known)}

    def hold(eqn: Equation, env: dict[int, Any]) -> list[Any] | None:
        if not held or eqn.name not in SPIKES:
            return None
        return [lax.stop_gradient(o) for o in bind(eqn, [read(env, a) for a in eqn.inputs])]

    driving = [op.y for op in graph.operations if op.y in free]

    def derivative(values: dict[int, Any]) -> Any:
        def new(moved: dict[int, Any]) -> Any:
            return read(evaluate(equations, {**known, **values, **moved}, hold), h.new)

        after, pull = jax.vjp(new, {v: values[v] for v in (h.var, *driving)})
        (found,) = pull(jnp.ones_like(after))
        return found[h.var], *(found[v] for v in driving)

    program = program_of(derivative, free)
    end, *inflow = list[Any](program.outputs)
    inputs = dict(zip(sorted(free), program.inputs, strict=True))
    varying = {*graph.arg_vars, *(v.var for v in graph.hidden), *(v for v, _ in graph.others)}
    data = {inputs[v] for v in varying.union(driving) & free.keys()}
    by = reached(program.equations, {v: frozenset([v]) for v in program.inputs})
    if by.get(end) or any(data & by.get(a, frozenset()) for a in inflow):
        return None

    def settled() -> Any:
        return read(evaluate(needed(program.equations, [end]), dict(program.constants)), end)

    if any(isinstance(a, jax.core.Tracer) for a in program.constants.values()):
        return settled().reshape(-1)[0]  # of a model made inside of jit
    with jax.ensure_compile_time_eval():
        found = np.asarray(settled())
    return float(found.flat[0]) if found.size and (found == found.flat[0]).all() else None
