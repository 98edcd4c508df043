"""Run one step of a graph, whole or with chosen paths cut.

- `part`: equations of the step as the user wrote it.
- `carry_run`: the new states when every operation's output y is *given*. Its derivatives are
  D_t = dh_t/dh_{t-1} and f_t = dh_t/dy_t, element-wise; no matrix product is left in it.
- `output_run`: the outputs when every y is given and the operand x of an operation sees the
  previous states of its own group, and of groups downstream, as constants. Its derivatives are
  the credit inside the step: the L_t of D-RTRL.
- `operands`: the x of every operation.
- `products_run`, `whole_run`: the y of every operation, and the new states, with nothing cut.

All take plain arrays and are ordinary differentiable functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from core.analysis.graph import Graph
from core.equations.program import Atom, Equation, bind, evaluate, needed, read

__all__ = ["StepInput", "carry_run", "operands", "output_run", "part", "products_run", "whole_run"]


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


def _environment(
    graph: Graph, values: Values, hidden: Arrays, step: StepInput, ys: Arrays | None = None
) -> dict[int, Any]:
    """What is known at the beginning of a step, and every operation's output if it is given."""
    env = dict(values)
    env.update((h.var, v) for h, v in zip(graph.hidden, hidden, strict=True))
    env.update(zip(graph.arg_vars, step.args, strict=True))
    env.update(zip((v for v, _ in graph.others), step.others, strict=True))
    if ys is not None:
        env.update((op.y, y) for op, y in zip(graph.operations, ys, strict=True))
    return env


def _found(
    graph: Graph, env: dict[int, Any], atoms: Sequence[Atom], replace: Any = None
) -> tuple[Any, ...]:
    """What the body makes of it; `replace` as of `evaluate`."""
    evaluate(needed(graph.body, atoms, given=env), env, replace)
    return tuple(read(env, a) for a in atoms)


def _over_samples(run: Callable[..., Any]) -> Callable[..., Any]:
    """Map a function of a step over the batch when the graph is of a mapped step. What has more
    axes than the model's own variable, constants or element-wise parameters, holds the batch."""

    @wraps(run)
    def mapped(graph: Graph, values: Values, *arrays: Any) -> Any:
        if graph.sample is None:
            return run(graph, values, *arrays)
        avals = graph.program.avals
        axes = {v: 0 if jnp.ndim(a) > avals[v].ndim else None for v, a in values.items()}
        one = partial(run, graph.sample)
        return jax.vmap(one, in_axes=(axes, *(0 for _ in arrays)))(dict(values), *arrays)

    return mapped


def part(
    graph: Graph,
    values: Values,
    equations: Sequence[Equation],
    outputs: Sequence[Atom],
    inputs: Values,
) -> tuple[Any, ...]:
    """Some equations of the step, exactly as `model.update` computes them.

    Args:
      outputs: what is wanted of them.
      inputs: by variable, all that varies from step to step.
    """

    @_over_samples
    def run(graph: Graph, values: Values, inputs: Values) -> tuple[Any, ...]:
        env = evaluate(equations, {**values, **inputs})
        return tuple(read(env, a) for a in outputs)

    return run(graph, values, dict(inputs))


@_over_samples
def carry_run(
    graph: Graph, values: Values, hidden: Arrays, ys: Arrays, step: StepInput
) -> tuple[Any, ...]:
    """New values of the states that carry credit, in the order of Graph.live, with the operations'
    outputs given."""
    env = _environment(graph, values, hidden, step, ys)
    return _found(graph, env, [graph.hidden[i].new for i in graph.live])


@_over_samples
def operands(
    graph: Graph, values: Values, hidden: Arrays, ys: Arrays, step: StepInput
) -> tuple[Any, ...]:
    """The operand x of every trainable operation, [lead, I]."""
    wanted = [op for op in graph.operations if op.trainable]
    env = _environment(graph, values, hidden, step, ys)
    found = _found(graph, env, [op.x for op in wanted])
    return tuple(op.with_one(x) for op, x in zip(wanted, found, strict=True))


@_over_samples
def products_run(graph: Graph, values: Values, hidden: Arrays, step: StepInput) -> tuple[Any, ...]:
    """The output y of every trainable operation, [lead, H], by every path inside the step."""
    wanted = [op for op in graph.operations if op.trainable]
    return _found(graph, _environment(graph, values, hidden, step), [op.y for op in wanted])


@_over_samples
def whole_run(
    graph: Graph, values: Values, hidden: Arrays, d_ys: Arrays, step: StepInput
) -> tuple[Any, ...]:
    """New values of all states, with nothing cut, where every operation's y is moved by a dy."""
    moved = {id(op.eqn): d for op, d in zip(graph.operations, d_ys, strict=True)}

    def product(eqn: Equation, env: dict[int, Any]) -> list[Any] | None:
        if id(eqn) not in moved:
            return None
        return [bind(eqn, [read(env, a) for a in eqn.inputs])[0] + moved[id(eqn)]]

    env = _environment(graph, values, hidden, step)
    return _found(graph, env, [h.new for h in graph.hidden], product)


@_over_samples
def output_run(
    graph: Graph, values: Values, hidden: Arrays, ys: Arrays, step: StepInput
) -> tuple[Any, ...]:
    """Outputs of the step, differentiable along paths inside the step only."""
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
