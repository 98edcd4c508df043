"""Run one step of a graph, whole or with chosen paths cut.

All goes by variable: `values` are what parameters and constants make (`prelude`), `known` is what
varies from step to step.

- `computed`: what the step makes of anything in it. Where the outputs y of all operations are
  *given*, derivatives of the new states are D_t = dh_t/dh_{t-1} and f_t = dh_t/dy_t, element-wise;
  no matrix product is left in it.
- `output_run`: the outputs when every y is given and the operand x of an operation sees the
  previous states of its own group, and of groups downstream, as constants. Its derivatives are
  the credit inside the step: the L_t of D-RTRL.

Both take plain arrays and are ordinary differentiable functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from core.analysis.graph import Graph
from core.equations.links import reached
from core.equations.program import Atom, Equation, bind, evaluate, needed, read
from core.execution.derivative import with_derivative

Values = Mapping[int, Any]  # arrays by variable


def prelude(graph: Graph, params: Values, constants: Values) -> dict[int, Any]:
    """Values that depend on parameters and constants alone."""
    env = {**graph.program.constants, **constants, **params}
    apart = _per_sample(graph, constants)
    evaluate([eqn for eqn in graph.prelude if eqn not in apart], env)
    if apart:

        def of_one(values: Values) -> dict[int, Any]:
            found = evaluate(apart, dict(values))
            return {v: found[v] for eqn in apart for v in eqn.outputs}

        env.update(_over_samples(graph, of_one, env))
    return env


def _per_sample(graph: Graph, constants: Values) -> list[Equation]:
    """Equations of the prelude that differ from sample to sample: they read states that hold the
    batch of a mapped step, or what such equations make."""
    avals = graph.program.avals
    varying = {v: frozenset([v]) for v, a in constants.items() if jnp.ndim(a) > avals[v].ndim}
    found = reached(graph.prelude, varying)
    return [eqn for eqn in graph.prelude if any(found.get(v) for v in eqn.variables)]


def _over_samples(graph: Graph, run: Callable[..., Any], values: Values, *known: Values) -> Any:
    """A function of a step, mapped over the batch when the graph is of a mapped step. Of `values`,
    what has more axes than the model's own variable holds the batch."""
    if graph.sample is None:
        return run(values, *known)
    avals = graph.program.avals
    axes = {v: 0 if jnp.ndim(a) > avals[v].ndim else None for v, a in values.items()}
    return jax.vmap(run, in_axes=(axes, *(0 for _ in known)))(dict(values), *map(dict, known))


def computed(
    graph: Graph,
    values: Values,
    atoms: Sequence[Atom],
    known: Values,
    moved: Values | None = None,
    equations: Sequence[Equation] | None = None,
) -> tuple[Any, ...]:
    """What the step makes of `atoms`, exactly as `model.update` does.

    Args:
      known: previous states and inputs; an operation whose y is among it has this output.
      moved: by how much the outputs of operations differ from what the step makes them.
      equations: those to run, or else what `atoms` need.
    """

    def run(values: Values, known: Values, moved: Values) -> tuple[Any, ...]:
        env = {**values, **known}

        def product(eqn: Equation, env: dict[int, Any]) -> list[Any] | None:
            if moved.keys().isdisjoint(eqn.outputs):
                return None
            (y,) = eqn.outputs
            return [bind(eqn, [read(env, a) for a in eqn.inputs])[0] + moved[y]]

        chosen = needed(graph.body, atoms, given=env) if equations is None else equations
        evaluate(chosen, env, product if moved else None)
        return tuple(read(env, a) for a in atoms)

    return _over_samples(graph, run, values, known, moved or {})


def output_run(graph: Graph, values: Values, known: Values) -> tuple[Any, ...]:
    """Outputs of the step, differentiable along paths inside the step only; every y is known."""

    def run(values: Values, known: Values) -> tuple[Any, ...]:
        ys = {op.y: known[op.y] for op in graph.operations}
        env = {v: a for v, a in {**values, **known}.items() if v not in ys}
        env.update((copy, lax.stop_gradient(env[v])) for copy, v in graph.credit.stopped.items())

        def product(eqn: Equation, env: dict[int, Any]) -> list[Any] | None:
            found = graph.credit.products.get(id(eqn))
            if found is None:
                return None
            op, columns = graph.operations[found.operation], found.columns
            y, xs = ys[op.y], dict(enumerate(env[v] for v in eqn.variables))

            def moved_by(w: Any, moved: tuple[Values, Values]) -> Any:
                own, dxs = moved
                dy = own[op.y] if own else jnp.zeros_like(y)
                if not dxs:
                    return dy
                every = [dxs[i] if i in dxs else jnp.zeros_like(x) for i, x in xs.items()]
                return dy + op.joined(every, columns, w)

            w, variables = lax.stop_gradient(env[op.w]), ({op.y: y}, xs)
            return [with_derivative(moved_by, y, w, variables, True)]

        evaluate(graph.credit.equations, env, product)
        return tuple(read(env, a) for a in graph.out_atoms)

    return _over_samples(graph, run, values, known)
