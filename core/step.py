"""Run one step of a graph, whole or with chosen paths cut.

- `part`: equations of the step as the user wrote it.
- `carry_run`: the new states when every operation's output y is *given*. Its derivatives are
  D_t = dh_t/dh_{t-1} and f_t = dh_t/dy_t, element-wise; no matrix product is left in it.
- `output_run`: the outputs when every y is given and the operand x of an operation sees the
  previous states of its own group, and of groups downstream, as constants. Its derivatives are
  the credit inside the step: the L_t of D-RTRL.
- `operands`: the x of every operation.

All take plain arrays and are ordinary differentiable functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from core.graph import Graph
from core.labels import carries_gradient, is_real
from core.operation import Operation
from core.program import Atom, Equation, bind, evaluate, needed, read

__all__ = ["StepInput", "carry_run", "credited_states", "operands", "output_run", "part"]


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
    graph: Graph, values: Mapping[int, Any], hidden: Sequence[Any], step: StepInput
) -> dict[int, Any]:
    env = dict(values)
    env.update((h.var, v) for h, v in zip(graph.hidden, hidden, strict=True))
    env.update(zip(graph.arg_vars, step.args, strict=True))
    env.update(zip((v for v, _ in graph.others), step.others, strict=True))
    return env


def _over_samples(run: Callable[..., Any]) -> Callable[..., Any]:
    """Map a function of a step over the batch when the graph is of a mapped step. What has more
    axes than the model's own variable, constants or element-wise parameters, holds the batch."""

    @wraps(run)
    def mapped(graph: Graph, values: Mapping[int, Any], *arrays: Any) -> Any:
        if graph.sample is None:
            return run(graph, values, *arrays)
        avals = graph.program.avals
        axes = {v: 0 if jnp.ndim(a) > avals[v].ndim else None for v, a in values.items()}
        one = partial(run, graph.sample)
        return jax.vmap(one, in_axes=(axes, *(0 for _ in arrays)))(dict(values), *arrays)

    return mapped


def part(
    graph: Graph,
    values: Mapping[int, Any],
    equations: Sequence[Equation],
    outputs: Sequence[Atom],
    inputs: Mapping[int, Any],
) -> tuple[Any, ...]:
    """Some equations of the step, exactly as `model.update` computes them.

    Args:
      outputs: what is wanted of them.
      inputs: by variable, all that varies from step to step.
    """

    @_over_samples
    def run(graph: Graph, values: Mapping[int, Any], inputs: Mapping[int, Any]) -> tuple[Any, ...]:
        env = evaluate(equations, {**values, **inputs})
        return tuple(read(env, a) for a in outputs)

    return run(graph, values, dict(inputs))


@_over_samples
def carry_run(
    graph: Graph,
    values: Mapping[int, Any],
    hidden: Sequence[Any],
    ys: Sequence[Any],
    step: StepInput,
) -> tuple[Any, ...]:
    """New hidden states with the operations' outputs given."""
    env = _environment(graph, values, hidden, step)
    env.update((op.y, y) for op, y in zip(graph.operations, ys, strict=True))
    new = [h.new for h in graph.hidden]
    env = evaluate(needed(graph.body, new, given=env), env)
    return tuple(env[v] for v in new)


@_over_samples
def operands(
    graph: Graph,
    values: Mapping[int, Any],
    hidden: Sequence[Any],
    ys: Sequence[Any],
    step: StepInput,
) -> tuple[Any, ...]:
    """The operand x of every trainable operation, [lead, I]."""
    env = _environment(graph, values, hidden, step)
    env.update((op.y, y) for op, y in zip(graph.operations, ys, strict=True))
    wanted = [op for op in graph.operations if op.trainable]
    env = evaluate(needed(graph.body, [op.x for op in wanted], given=env), env)
    return tuple(op.canonical_x(env[op.x]) for op in wanted)


@_over_samples
def output_run(
    graph: Graph,
    values: Mapping[int, Any],
    hidden: Sequence[Any],
    ys: Sequence[Any],
    step: StepInput,
) -> tuple[Any, ...]:
    """Outputs of the step, differentiable along paths inside the step only."""

    def apply_operation(op: Operation, y: Any, x: Any, w: Any) -> Any:
        return _given(op.apply, y, x, lax.stop_gradient(w))

    env = _environment(graph, values, hidden, step)
    given = {op.y: y for op, y in zip(graph.operations, ys, strict=True)}
    return _run_with_cuts(graph, env, given, bind, lax.stop_gradient, apply_operation)


def credited_states(graph: Graph) -> frozenset[int]:
    """Hidden states whose previous value reaches an output along the paths of `output_run`.

    The same walk as `output_run`, over sets of sources instead of arrays.
    """
    empty: frozenset[int] = frozenset()
    env: dict[int, Any] = {h.var: frozenset([i]) for i, h in enumerate(graph.hidden)}

    def union(eqn: Equation, sets: Sequence[Any]) -> list[Any]:
        reached = empty.union(*(s for s in sets if isinstance(s, frozenset)))
        gradient = carries_gradient(eqn, graph.program.avals)
        return [
            reached if gradient and is_real(graph.program.avals[v]) else empty for v in eqn.outputs
        ]

    class Everywhere(dict[int, Any]):
        """Weights, inputs and other states carry no credit from a previous state."""

        def __missing__(self, _: int) -> frozenset[int]:
            return empty

    outs = _run_with_cuts(
        graph,
        Everywhere(env),
        dict.fromkeys((op.y for op in graph.operations), empty),
        union,
        lambda _: frozenset(),
        lambda op, y, x, w: x,
    )
    return empty.union(*(o for o in outs if isinstance(o, frozenset)))


def _run_with_cuts(
    graph: Graph,
    live: dict[int, Any],
    given: Mapping[int, Any],
    apply: Callable[[Equation, list[Any]], list[Any]],
    stop: Callable[[Any], Any],
    apply_operation: Callable[[Operation, Any, Any, Any], Any],
) -> tuple[Any, ...]:
    """Evaluate the outputs in several environments at once.

    For every cut C (a set of groups) `seen[C]` holds the variables whose value under C differs
    from the live one; it starts with the stopped previous states of the groups in C. A new state
    takes its live value in every environment, so credit inside the step passes through the states
    of this step into higher layers.
    """
    cut_sets = graph.cut_sets
    seen: dict[frozenset[int], dict[int, Any]] = {c: {} for c in cut_sets}
    for c in cut_sets:
        for g in c:
            for s in graph.groups[g].states:
                var = graph.hidden[s].var
                seen[c][var] = stop(live[var])
    new_states = {h.new for h in graph.hidden}
    operation_of = {id(op.eqn): op for op in graph.operations}

    def look(c: frozenset[int], atom: Any) -> Any:
        if isinstance(atom, int) and c and atom in seen[c]:
            return seen[c][atom]
        return read(live, atom)

    for eqn in needed(graph.body, graph.out_atoms):
        op = operation_of.get(id(eqn))
        if op is not None:
            y, w = given[op.y], live[op.w]
            live[op.y] = apply_operation(op, y, look(op.cut, op.x), w)
            for c in cut_sets:
                joint = c | op.cut
                if joint != op.cut and op.x in seen[joint]:
                    seen[c][op.y] = apply_operation(op, y, look(joint, op.x), w)
        else:
            live.update(
                zip(eqn.outputs, apply(eqn, [read(live, a) for a in eqn.inputs]), strict=True)
            )
            for c in cut_sets:
                if any(v in seen[c] for v in eqn.variables):
                    out = apply(eqn, [look(c, a) for a in eqn.inputs])
                    seen[c].update(zip(eqn.outputs, out, strict=True))
        for v in new_states.intersection(eqn.outputs):
            for c in cut_sets:
                seen[c].pop(v, None)
    return tuple(read(live, a) for a in graph.out_atoms)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _given(product: Callable[[Any, Any], Any], y: Any, x: Any, w: Any) -> Any:
    """y, known already, with the derivative of `y = product(x, w)` with respect to x."""
    return y


def _given_jvp(product: Any, primals: Any, tangents: Any) -> Any:
    y, _, w = primals
    dy, dx, _ = tangents
    zero = jax.custom_derivatives.SymbolicZero
    dy = jnp.zeros(y.shape, y.dtype) if isinstance(dy, zero) else dy
    return y, dy if isinstance(dx, zero) else dy + product(dx, w)


_given.defjvp(_given_jvp, symbolic_zeros=True)
