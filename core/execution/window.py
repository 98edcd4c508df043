"""A window of K steps that has been run, with every step of it linearised at the same time.

Only the forward run is sequential. Given h_{t-1} and y_t of every step, the derivatives
D_t = dh_t/dh_{t-1}, f_t = dh_t/dy_t and the within-step map to the outputs are independent of one
another, so they are computed for all t at once; what remains sequential is the element-wise
recurrence dh_t = D_t dh_{t-1} + u_t. Axes: K steps, lead (batch), n neurons, I inputs, H outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from core.analysis.graph import Graph
from core.analysis.operation import Operation
from core.execution.axes import over_time
from core.execution.rollout import Record
from core.execution.step import StepInput, computed, output_run

__all__ = ["Derivatives", "WholeStep", "derivatives", "push", "reading", "whole_step"]


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
    """Pull ones on each component of h_t back to h_{t-1} and y_t, for all t at once."""
    thetas = _stretched(graph, values, record.n_steps)
    step = _at_steps(graph, values, record, [graph.hidden[i].new for i in graph.live])
    new, pull = jax.vjp(step, record.hidden, record.ys, thetas)
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
        d_hidden, *d_rest = pull(ones)
        for g, s in pulled.items():
            group = graph.groups[g]
            for p in group.live:
                if (s, p) in group.reads:
                    d = d_hidden[group.states[p]]
                    d = d.reshape(record.n_steps, *group.lead, group.n)
                    transition[g][s, p] = d.astype(graph.dtype(g))
        for source, blocks, d in zip(graph.sources, f, _by_source(graph, *d_rest), strict=True):
            for block, into in zip(source.blocks, blocks, strict=True):
                fed = pulled.get(block.group)
                if fed is not None and fed in block.components:
                    into[fed] = d[..., block.columns].astype(graph.dtype(block.group))
    trained = [op for op in graph.operations if op.trainable]
    read = _at_steps(graph, values, record, [op.x for op in trained])
    xs = zip(trained, read(record.hidden, record.ys), strict=True)
    x = tuple(op.with_one(a).astype(graph.operand_dtype(op)) for op, a in xs)
    operands = (*x, *(None for _ in graph.parameters))
    return Derivatives(tuple(transition), tuple(f), operands, keep, record.n_steps)


def reading(
    graph: Graph, values: Mapping[int, Any], record: Record, op: Operation
) -> tuple[tuple[Any, ...], list[Any]]:
    """Derivatives of the operand z_t of an operation, one neuron of which no two elements read.

    Returns:
      dz/dh_{t-1} by hidden array, [K, *its shape], and dz/dy by source, [K, lead, width].
    """
    thetas = _stretched(graph, values, record.n_steps)
    step = _at_steps(graph, values, record, [op.x])
    z, pull = jax.vjp(step, record.hidden, record.ys, thetas)
    d_hidden, *d_rest = pull(jax.tree.map(jnp.ones_like, z))
    return d_hidden, _by_source(graph, *d_rest)


class WholeStep(NamedTuple):
    """Derivatives of one step with nothing cut, and of each sample by each weight."""

    push: Callable[[Any], Any]  # s -> dh_t/dh_{t-1} s, both one array a state
    pull: Callable[[Any], list[Any]]  # c -> c . dh_t/dW by source, [lead, I, H] of an operation
    new: tuple[Any, ...]  # h_t


def whole_step(graph: Graph, values: Mapping[int, Any], record: Record) -> WholeStep:
    """Of a window of one step that has been run."""
    hidden, ys, step = jax.tree.map(lambda a: a[0], tuple(record))
    thetas = tuple(a[0] for a in _stretched(graph, values, 1))

    def last(hidden: Any, d_ys: Any, thetas: Any) -> Any:
        own = graph.with_parameters(values, thetas)
        return computed(graph, own, [h.new for h in graph.hidden], hidden, step, d_ys=d_ys)

    still = jax.tree.map(jnp.zeros_like, (ys, thetas))
    new, pulled = jax.vjp(last, hidden, still[0], thetas)
    # A derivative rule may exist in reverse alone; transposed, it is the forward one.
    pushed = jax.linear_transpose(pulled, new)
    trained = [op for op in graph.operations if op.trainable]
    read = computed(graph, values, [op.x for op in trained], hidden, step, ys)
    xs = [op.with_one(x) for op, x in zip(trained, read, strict=True)]

    def pull(c: Any) -> list[Any]:
        d = _by_source(graph, *pulled(c)[1:])
        of_operations = zip(xs, d, strict=False)
        return [x[..., :, None] * dy[..., None, :] for x, dy in of_operations] + d[len(xs) :]

    return WholeStep(lambda s: pushed((s, *still))[0], pull, new)


def _at_steps(
    graph: Graph, values: Mapping[int, Any], record: Record, atoms: Sequence[Any]
) -> Callable[..., tuple[Any, ...]]:
    """What every step makes of `atoms`, [K, ...], by h_{t-1}, by the y_t that are given, and by the
    element-wise parameters where each step has its own."""

    def step(hidden: Any, ys: Any, thetas: Any = None) -> Any:
        def one(h: Any, y: Any, theta: Any, given: StepInput) -> Any:
            own = values if theta is None else graph.with_parameters(values, theta)
            return computed(graph, own, atoms, h, given, y)

        return over_time(one)(hidden, ys, thetas, record.step)

    return step


def _by_source(graph: Graph, d_ys: Sequence[Any], d_thetas: Sequence[Any]) -> list[Any]:
    """What has been pulled back to the outputs of operations and to parameters, [..., lead, H]."""
    operations = zip(graph.operations, d_ys, strict=True)
    found = [d for op, d in operations if op.trainable]
    for p, d in zip(graph.parameters, d_thetas, strict=True):
        found.append(d.reshape(*d.shape[: d.ndim - len(p.shape)], *p.lead, p.width))
    return found


def _pulls(graph: Graph) -> list[dict[int, int]]:
    """Live states, by group, whose derivatives can be told apart when they are pulled at once:
    one of each group, as groups do not meet where the y are given; those that one source feeds
    take turns."""
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


def _stretched(graph: Graph, values: Mapping[int, Any], n_steps: int) -> tuple[Any, ...]:
    """Every element-wise parameter, one copy per step, sample and neuron."""
    return tuple(jnp.broadcast_to(values[p.w], (n_steps, *p.shape)) for p in graph.parameters)


def push(
    graph: Graph,
    values: Mapping[int, Any],
    record: Record,
    dh: Mapping[int, Any],
    dy: Sequence[Any],
    d_weights: Mapping[int, Any],
    d_args: Mapping[int, Any],
) -> tuple[Any, ...]:
    """d outputs [K, ...], within each step only. Linear in all that moves; jax transposes it into
    the within-step gradient.

    Args:
      dh: of h_{t-1} by hidden array, [K, lead, n].
      dy: of y by source, [K, lead, width].
      d_weights: by variable; of the plain weights alone.
      d_args: of those leaves of the input that move, by position.
    """
    trained = [k for k, op in enumerate(graph.operations) if op.trainable]
    here = (
        {i: record.hidden[i] for i in graph.live},
        {k: record.ys[k] for k in trained},
        _stretched(graph, values, record.n_steps),
        {v: values[v] for v in graph.plain},
        {i: record.step.args[i] for i in d_args},
    )
    of_operations, of_parameters = dy[: len(trained)], dy[len(trained) :]
    direction = (
        {i: dh[i].reshape(h.shape).astype(h.dtype) for i, h in here[0].items()},
        {k: d.astype(record.ys[k].dtype) for k, d in zip(trained, of_operations, strict=True)},
        tuple(
            d.reshape(theta.shape).astype(theta.dtype)
            for theta, d in zip(here[2], of_parameters, strict=True)
        ),
        {v: d_weights.get(v, jnp.zeros_like(w)) for v, w in here[3].items()},
        dict(d_args),
    )

    def outputs(hidden: Any, ys: Any, thetas: Any, plain: Any, args: Any) -> Any:
        def one(hidden: Any, ys: Any, thetas: Any, args: Any, known: Record) -> Any:
            own = {**graph.with_parameters(values, thetas), **plain}
            h = [hidden.get(i, a) for i, a in enumerate(known.hidden)]
            y = [ys.get(k, a) for k, a in enumerate(known.ys)]
            x = tuple(args.get(i, a) for i, a in enumerate(known.step.args))
            return output_run(graph, own, h, y, StepInput(x, known.step.others))

        return over_time(one)(hidden, ys, thetas, args, record)

    return jax.linearize(outputs, *here)[1](*direction)
