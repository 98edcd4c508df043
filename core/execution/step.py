"""Run one step of a graph, whole or with chosen paths cut.

- `part`: equations of the step as the user wrote it.
- `computed`: what the step makes of anything in it. Where every operation's output y is *given*,
  derivatives of the new states are D_t = dh_t/dh_{t-1} and f_t = dh_t/dy_t, element-wise; no matrix
  product is left in it.
- `output_run`: the outputs when every y is given and the operand x of an operation sees the
  previous states of its own group, and of groups downstream, as constants. Its derivatives are
  the credit inside the step: the L_t of D-RTRL.

All take plain arrays and are ordinary differentiable functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from core.analysis.graph import Graph
from core.equations.program import Atom, Equation, bind, evaluate, needed, read

__all__ = ["StepInput", "computed", "output_run", "part", "prelude"]


Values = Mapping[int, Any]  # by variable, of `prelude`
Arrays = Sequence[Any]  # one for each state or operation of a graph


class StepInput(NamedTuple):
    """What one step reads, apart from weights and hidden states."""

    args: tuple[Any, ...]  # leaves of the input
    others: tuple[Any, ...]  # states that carry no gradient


def prelude(graph: Graph, params: Sequence[Any], constants: Mapping[int, Any]) -> dict[int, Any]:
    """Values that depend on parameters and constants alone, by variable."""
    env = {
        **graph.program.constants,
        **constants,
        **dict(zip(graph.param_vars, params, strict=True)),
    }
    apart = _per_sample(graph, constants) if graph.sample is not None else {}
    evaluate([eqn for eqn in graph.prelude if not apart.keys() & {*eqn.outputs}], env)
    if apart:
        equations = list({id(eqn): eqn for eqn in apart.values() if eqn is not None}.values())
        made = [v for v, eqn in apart.items() if eqn is not None]

        def of_one(constants: dict[int, Any]) -> list[Any]:
            found = evaluate(equations, {**env, **constants})
            return [found[v] for v in made]

        batched = {v: env[v] for v, eqn in apart.items() if eqn is None}
        env.update(zip(made, jax.vmap(of_one)(batched), strict=True))
    env.update((copy, env[v]) for copy, v in graph.copies.items())
    return env


def _per_sample(graph: Graph, constants: Mapping[int, Any]) -> dict[int, Equation | None]:
    """Variables of the prelude that differ from sample to sample: read-only states that hold the
    batch of a mapped step, and what equations make of them."""
    avals = graph.program.avals
    found: dict[int, Equation | None] = {
        v: None for v, value in constants.items() if jnp.ndim(value) > avals[v].ndim
    }
    for eqn in graph.prelude:
        if not found.keys().isdisjoint(eqn.variables):
            found.update(dict.fromkeys(eqn.outputs, eqn))
    return found


def _environment(graph: Graph, values: Values, hidden: Arrays, step: StepInput) -> dict[int, Any]:
    """What is known at the beginning of a step."""
    env = dict(values)
    env.update((h.var, v) for h, v in zip(graph.hidden, hidden, strict=True))
    env.update(zip(graph.arg_vars, step.args, strict=True))
    env.update(zip((v for v, _ in graph.others), step.others, strict=True))
    return env


def _over_samples(graph: Graph, run: Callable[..., Any], values: Values, *arrays: Any) -> Any:
    """A function of a step, mapped over the batch when the graph is of a mapped step. What has more
    axes than the model's own variable, constants or element-wise parameters, holds the batch."""
    if graph.sample is None:
        return run(values, *arrays)
    avals = graph.program.avals
    axes = {v: 0 if jnp.ndim(a) > avals[v].ndim else None for v, a in values.items()}
    return jax.vmap(run, in_axes=(axes, *(0 for _ in arrays)))(dict(values), *arrays)


def part(
    graph: Graph,
    values: Values,
    equations: Sequence[Equation],
    outputs: Sequence[Atom],
    inputs: Values,
) -> tuple[Any, ...]:
    """`outputs` of some equations of the step, exactly as `model.update` computes them, from all
    that varies from step to step."""

    def run(values: Values, inputs: Values) -> tuple[Any, ...]:
        env = evaluate(equations, {**values, **inputs})
        return tuple(read(env, a) for a in outputs)

    return _over_samples(graph, run, values, dict(inputs))


def computed(
    graph: Graph,
    values: Values,
    atoms: Sequence[Atom],
    hidden: Arrays,
    step: StepInput,
    ys: Arrays | None = None,
    d_ys: Arrays | None = None,
) -> tuple[Any, ...]:
    """What the step makes of `atoms`: where operations have the outputs `ys`, or the step's own
    moved by `d_ys`."""

    def run(values: Values, hidden: Any, step: Any, ys: Any, d_ys: Any) -> tuple[Any, ...]:
        env = _environment(graph, values, hidden, step)
        if ys is not None:
            env.update(zip((op.y for op in graph.operations), ys, strict=True))
        moved = {}
        if d_ys is not None:
            moved = dict(zip((id(op.eqn) for op in graph.operations), d_ys, strict=True))

        def product(eqn: Equation, env: dict[int, Any]) -> list[Any] | None:
            if id(eqn) not in moved:
                return None
            return [bind(eqn, [read(env, a) for a in eqn.inputs])[0] + moved[id(eqn)]]

        evaluate(needed(graph.body, atoms, given=env), env, product)
        return tuple(read(env, a) for a in atoms)

    return _over_samples(graph, run, values, hidden, step, ys, d_ys)


def output_run(
    graph: Graph, values: Values, hidden: Arrays, ys: Arrays, step: StepInput
) -> tuple[Any, ...]:
    """Outputs of the step, differentiable along paths inside the step only."""

    def run(values: Values, hidden: Any, ys: Any, step: Any) -> tuple[Any, ...]:
        env = _environment(graph, values, hidden, step)
        env.update((copy, lax.stop_gradient(env[v])) for copy, v in graph.credit.stopped.items())

        def product(eqn: Equation, env: dict[int, Any]) -> list[Any] | None:
            known = graph.credit.products.get(id(eqn))
            if known is None:
                return None
            op, y = graph.operations[known.operation], ys[known.operation]
            xs = tuple(env[v] for v in eqn.variables)
            apply = partial(op.joined, columns=known.columns)
            return [_given(apply, y, xs, lax.stop_gradient(env[op.w]))]

        evaluate(graph.credit.equations, env, product)
        return tuple(read(env, a) for a in graph.out_atoms)

    return _over_samples(graph, run, values, hidden, ys, step)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _given(product: Callable[..., Any], y: Any, xs: tuple[Any, ...], w: Any) -> Any:
    """y, known already, with the derivative of `y = product(xs, w=w)` with respect to xs."""
    return y


def _given_jvp(product: Any, primals: Any, tangents: Any) -> Any:
    y, xs, w = primals
    dy, dxs, _ = tangents
    zero = jax.custom_derivatives.SymbolicZero
    dy = jnp.zeros(y.shape, y.dtype) if isinstance(dy, zero) else dy
    if all(isinstance(dx, zero) for dx in dxs):
        return y, dy
    moved = tuple(
        jnp.zeros_like(x) if isinstance(dx, zero) else dx for x, dx in zip(xs, dxs, strict=True)
    )
    return y, dy + product(moved, w=w)


_given.defjvp(_given_jvp, symbolic_zeros=True)
