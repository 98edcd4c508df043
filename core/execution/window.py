"""A window of K steps that has been run, with every step of it linearised at the same time.

Only the forward run is sequential. Given h_{t-1} and y_t of every step, the derivatives
D_t = dh_t/dh_{t-1}, f_t = dh_t/dy_t and the within-step map to the outputs are independent of one
another, so they are computed for all t at once; what remains sequential is the element-wise
recurrence dh_t = D_t dh_{t-1} + u_t. Axes: K steps, lead (batch), n neurons, I inputs, H outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from core.analysis.graph import Graph
from core.execution.axes import over_time
from core.execution.rollout import Record
from core.execution.step import StepInput, carry_run, operands, output_run

__all__ = ["Derivatives", "Perturbation", "derivatives", "push"]


@partial(
    jax.tree_util.register_dataclass,
    meta_fields=["n_steps"],
    data_fields=["transition", "f", "x", "keep", "own"],
)
@dataclass(frozen=True)
class Derivatives:
    """Element-wise derivatives at every step.

    transition[g][s, p]: dh[s]/dh_tm1[p], [K, lead, n], for live states s, p of group g.
    f[k][b][s]: dh[s]/dy of block b of the k-th source, [K, lead, width]; y is an operation's output
      or an element-wise parameter.
    x[k]: the operand of the k-th source, [K, lead, I]; None for an element-wise parameter.
    own: what a rule wants of each step beside these, arrays [K, ...].
    """

    transition: tuple[dict[tuple[int, int], Any], ...]
    f: tuple[tuple[dict[int, Any], ...], ...]
    x: tuple[Any, ...]
    keep: Any  # of a Restart, or None
    n_steps: int
    own: Any = None


def derivatives(
    graph: Graph, values: Mapping[int, Any], record: Record, keep: Any = None
) -> Derivatives:
    """Pull ones on each component of h_t back through `carry_run`, for all t at once."""
    n_steps = record.n_steps
    thetas = stretched(graph, values, n_steps)

    def carry(hidden: Any, ys: Any, thetas: Any) -> Any:
        def one(h: Any, y: Any, theta: Any, step: StepInput) -> Any:
            return carry_run(graph, graph.with_parameters(values, theta), h, y, step)

        return over_time(one)(hidden, ys, thetas, record.step)

    new, pull = jax.vjp(carry, record.hidden, record.ys, thetas)
    transition: list[dict[tuple[int, int], Any]] = [{} for _ in graph.groups]
    f: list[tuple[dict[int, Any], ...]] = [
        tuple({} for _ in source.blocks) for source in graph.sources
    ]
    for pulled in _pulls(graph):
        chosen = {graph.groups[g].states[s] for g, s in pulled.items()}
        ones = tuple(
            jnp.ones_like(h) if i in chosen else jnp.zeros_like(h)
            for i, h in zip(graph.live, new, strict=True)
        )
        d_hidden, d_ys, d_thetas = pull(ones)
        for g, s in pulled.items():
            group = graph.groups[g]
            for p in group.live:
                if (s, p) in group.reads:
                    d = d_hidden[group.states[p]]
                    d = d.reshape(n_steps, *group.lead, group.n)
                    transition[g][s, p] = d.astype(graph.dtype(g))
        d_by_source = [d for op, d in zip(graph.operations, d_ys, strict=True) if op.trainable] + [
            d.reshape(n_steps, *p.lead, p.width)
            for p, d in zip(graph.parameters, d_thetas, strict=True)
        ]
        for source, blocks, d in zip(graph.sources, f, d_by_source, strict=True):
            for block, into in zip(source.blocks, blocks, strict=True):
                fed = pulled.get(block.group)
                if fed is not None and fed in block.components:
                    into[fed] = d[..., block.columns].astype(graph.dtype(block.group))
    x = over_time(lambda h, y, step: operands(graph, values, h, y, step))(*record)
    trained = [op for op in graph.operations if op.trainable]
    x = tuple(a.astype(graph.operand_dtype(op)) for op, a in zip(trained, x, strict=True))
    operands_of = (*x, *(None for _ in graph.parameters))
    return Derivatives(tuple(transition), tuple(f), operands_of, keep, n_steps)


def _pulls(graph: Graph) -> list[dict[int, int]]:
    """Live states, by group, whose derivatives can be told apart when they are pulled at once.

    Groups do not meet in `carry_run`, so one pull serves one state of each; groups that one source
    feeds take turns.
    """
    together = [{block.group for block in source.blocks} for source in graph.sources]
    pulls: list[dict[int, int]] = []
    for g, group in enumerate(graph.groups):
        apart = {g}.union(*(fed for fed in together if g in fed))
        for s in group.live:
            free = [pull for pull in pulls if apart.isdisjoint(pull)]
            if not free:
                free = [{}]
                pulls += free
            free[0][g] = s
    return pulls


def stretched(graph: Graph, values: Mapping[int, Any], n_steps: int) -> tuple[Any, ...]:
    """Every element-wise parameter, one copy per step, sample and neuron."""
    return tuple(jnp.broadcast_to(values[p.w], (n_steps, *p.shape)) for p in graph.parameters)


class Perturbation(NamedTuple):
    """A direction in which the outputs are differentiated; steps lead every array but `plain`."""

    hidden: tuple[Any, ...]  # dh_tm1 of the live states, in the order of Graph.live
    ys: tuple[Any, ...]  # dy of the trainable operations, [K, lead, H]
    thetas: tuple[Any, ...]  # d of the element-wise parameters, as broadcast
    plain: tuple[Any, ...]  # d of the plain weights


def push(
    graph: Graph,
    values: Mapping[int, Any],
    record: Record,
    direction: Perturbation,
    d_args: dict[int, Any],
) -> tuple[Any, ...]:
    """d outputs [K, ...] along `direction` and along inputs, within each step only.

    Linear in its last two arguments; jax transposes it into the within-step gradient.

    Args:
      d_args: directions of those leaves of the input that move, by position.
    """

    def outputs(direction: Perturbation, moved: dict[int, Any]) -> Any:
        args = tuple(moved.get(i, a) for i, a in enumerate(record.step.args))

        def one(live: Any, ys: Any, thetas: Any, h: Any, y: Any, a: Any, others: Any) -> Any:
            h, y = list(h), list(y)
            for i, value in zip(graph.live, live, strict=True):
                h[i] = value
            trained = iter(ys)
            y = [
                next(trained) if op.trainable else v
                for op, v in zip(graph.operations, y, strict=True)
            ]
            own = graph.with_parameters(values, thetas)
            own.update(zip(graph.plain, direction.plain, strict=True))
            return output_run(graph, own, h, y, StepInput(a, others))

        return over_time(one)(
            direction.hidden,
            direction.ys,
            direction.thetas,
            record.hidden,
            record.ys,
            args,
            record.step.others,
        )

    here = Perturbation(
        tuple(record.hidden[i] for i in graph.live),
        tuple(y for op, y in zip(graph.operations, record.ys, strict=True) if op.trainable),
        stretched(graph, values, record.n_steps),
        tuple(values[v] for v in graph.plain),
    )
    moved = {i: record.step.args[i] for i in d_args}
    return jax.linearize(outputs, here, moved)[1](direction, d_args)
