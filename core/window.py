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
import numpy as np
from jax import lax

from core.graph import Graph
from core.rollout import Record, along, forget, over_time, scan
from core.step import StepInput, carry_run, operands, output_run

__all__ = [
    "Derivatives",
    "Perturbation",
    "accumulate",
    "derivatives",
    "faded_sum",
    "low_pass",
    "products",
    "push",
    "remembered",
]


@partial(
    jax.tree_util.register_dataclass,
    meta_fields=["n_steps"],
    data_fields=["transition", "f", "x", "keep"],
)
@dataclass(frozen=True)
class Derivatives:
    """Element-wise derivatives at every step.

    transition[g][s, p]: dh[s]/dh_tm1[p], [K, lead, n], for live states s, p of group g.
    f[k][b][s]: dh[s]/dy of block b of the k-th source, [K, lead, width]; y is an operation's output
      or an element-wise parameter.
    x[k]: the operand of the k-th source, [K, lead, I]; None for an element-wise parameter.
    """

    transition: tuple[dict[tuple[int, int], Any], ...]
    f: tuple[tuple[dict[int, Any], ...], ...]
    x: tuple[Any, ...]
    keep: Any  # of a Restart, or None
    n_steps: int


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
        d_by_source = [
            op.canonical_y(d) for op, d in zip(graph.operations, d_ys, strict=True) if op.trainable
        ] + [
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
    ys: tuple[Any, ...]  # dy of the trainable operations, native order of axes
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


def accumulate(
    transition: Mapping[tuple[Any, Any], Any],
    start: Mapping[Any, Any],
    inflow: Mapping[Any, Any],
    keep: Any = None,
) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """The recurrence z_t[s] = sum_p D_t[s, p] z_{t-1}[p] + u_t[s] over a window.

    Args:
      transition: D, [K, ...] for each pair that is not zero.
      start: z_0 by component.
      inflow: u, [K, ...].
      keep: [K, B] or [K], zero where a sample forgets z_{t-1}.

    Returns:
      z_{t-1} as step t reads it, [K, ...], and the last z.
    """

    different = {id(d): d for d in transition.values()}  # what several pairs share is read once

    def tick(z: Any, inputs: Any) -> Any:
        d, u, keep_t = inputs
        z = forget(z, keep_t)
        new = dict(u)
        for (s, p), value in transition.items():
            new[s] = new[s] + d[id(value)] * z[p]
        return new, z

    if not start:  # no state of the group carries credit in time
        return {}, {}
    last, before = scan(tick, dict(start), (different, dict(inflow), keep))
    return before, last


def low_pass(decay: float, inflow: Any, keep: Any = None) -> Any:
    """z_t = decay z_{t-1} + u_t of every step, from z_0 = 0.

    Args:
      inflow: u, a pytree of [K, ...].
      keep: as in `accumulate`.
    """

    def tick(z: Any, inputs: Any) -> Any:
        u, keep_t = inputs
        z = jax.tree.map(lambda z, u: decay * z + u, forget(z, keep_t), u)
        return z, z

    if not inflow:
        return inflow
    return scan(tick, jax.tree.map(lambda u: jnp.zeros_like(u[0]), inflow), (inflow, keep))[1]


def faded_sum(decay: float, inflow: Any, keep: Any = None) -> Any:
    """The last of `low_pass` alone: sum_t decay^(K - t) u_t, of samples that do not forget."""
    n_steps = inflow.shape[0]
    weights = jnp.asarray(decay ** np.arange(n_steps - 1.0, -1.0, -1.0), inflow.dtype)
    if keep is None:
        return jnp.tensordot(weights, inflow, 1, precision=lax.Precision.HIGHEST)
    inflow = forget(inflow, remembered(keep))
    return (along(weights, inflow) * inflow).sum(axis=0)


def remembered(keep: Any) -> Any:
    """Whether a sample has not started anew after a step of the window, [K, B]: what comes after a
    step decides whether it still counts at the end."""
    later = jnp.concatenate([keep[1:], jnp.ones_like(keep[:1])])
    return lax.cumprod(later, reverse=True)


def products(
    transition: Mapping[tuple[int, int], Any], zero: Mapping[int, Any], keep: Any = None
) -> tuple[dict[tuple[int, int], Any], dict[tuple[int, int], Any]]:
    """A_t = D_K ... D_{t+1}: how state p after step t still moves state s at the end.

    Args:
      transition: D, [K, ...] by pair.
      zero: zeros [K, ...] by component.
      keep: as in `accumulate`.

    Returns:
      A_t[s, p] for t = 1..K, [K, ...], and A_0[s, p].
    """

    def tick(a: Any, inputs: Any) -> Any:
        d, keep_t = inputs
        new = jax.tree.map(jnp.zeros_like, a)
        for (q, p), value in d.items():
            for s in zero:
                new[s, p] = new[s, p] + a[s, q] * value
        return forget(new, keep_t), a

    end = {(s, p): jnp.full_like(zero[p][0], s == p) for s in zero for p in zero}
    if not end:
        return {}, {}
    n_steps = next(iter(zero.values())).shape[0]
    steps = jnp.arange(n_steps)  # keeps the scan's length when nothing is coupled
    first, after = scan(lambda a, i: tick(a, i[:2]), end, (dict(transition), keep, steps), True)
    return after, first
