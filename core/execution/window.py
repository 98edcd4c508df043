"""A window of K steps that has been run, with every step of it linearised at the same time.

Only the forward run is sequential. Given h_{t-1} and y_t of every step, the derivatives
D_t = dh_t/dh_{t-1}, f_t = dh_t/dy_t and the within-step map to the outputs are independent of one
another, so they are computed for all t at once; what remains sequential is the element-wise
recurrence dh_t = D_t dh_{t-1} + u_t. Axes: K steps, lead (batch), n neurons, I inputs, H outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from core.analysis.graph import Graph
from core.analysis.operation import Operation, Parameter
from core.equations.program import needed, variables_of
from core.execution.axes import over_time
from core.execution.rollout import Record
from core.execution.step import Values, computed, output_run

# How a change of the weights moves the network: dh_tm1 by hidden array, dy by source.
Moved = tuple[dict[int, Shaped[Array, "K ... n"]], list[Shaped[Array, "K ... width"]]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Derivatives:
    """Element-wise derivatives at every step.

    transition[g][s, p]: dh[s]/dh_tm1[p], [K, lead, n], for live states s, p of group g.
    f[k, b][s]: dh[s]/dy of block b of the k-th source, [K, lead, width]; y is an operation's output
      or an element-wise parameter.
    x[k]: the operand of the k-th source, [K, lead, I]; None for an element-wise parameter.
    own: what a rule wants of each step beside these, arrays [K, ...].
    """

    transition: tuple[dict[tuple[int, int], Any], ...]
    f: dict[tuple[int, int], dict[int, Any]]
    x: tuple[Any, ...]
    keep: Any  # of the Window
    n_steps: int = field(metadata={"static": True})
    own: Any = None


def derivatives(graph: Graph, values: Values, record: Record, keep: Any = None) -> Derivatives:
    """Of each component of h_t by h_{t-1} and y_t, for all t at once."""
    transition: list[dict[tuple[int, int], Any]] = [{} for _ in graph.groups]
    sources = enumerate(graph.sources)
    f: dict[Any, dict[int, Any]] = {(k, b): {} for k, s in sources for b in range(len(s.blocks))}
    for g, group in enumerate(graph.groups):
        for s in group.live:
            new = graph.hidden[group.states[s]].new
            by_state, by_source = reading(graph, values, record, new, g)
            transition[g].update(((s, p), d) for p, d in by_state.items() if (s, p) in group.reads)
            for (k, b), into in f.items():
                block = graph.sources[k].blocks[b]
                if block.group == g and s in block.components:
                    into[s] = by_source[k][..., block.columns].astype(graph.dtype(g))
    ops = graph.trained_operations
    xs = zip(ops, _at_steps(graph, values, record, [op.x for op in ops])({}), strict=True)
    x = tuple(op.with_one(a).astype(graph.operand_dtype(op)) for op, a in xs)
    operands = (*x, *(None for _ in graph.parameters))
    return Derivatives(tuple(transition), f, operands, keep, record.n_steps)


def reading(
    graph: Graph, values: Values, record: Record, atom: Any, g: int
) -> tuple[dict[int, Any], dict[int, Any]]:
    """Derivatives of what the steps make of an atom, no element of it of two neurons of a group.

    Returns:
      By h_{t-1}, by live state of the group, [K, lead, n]; by y, by source that feeds it, [K, lead,
      width].
    """
    moving, group = _moving(graph, values, record), graph.groups[g]
    read = variables_of(needed(graph.body, [atom], given=record.ys), [atom])
    own = {v: a for v, a in moving.items() if v in read}
    made, pull = jax.vjp(_at_steps(graph, values, record, [atom]), own)
    (found,) = pull(jax.tree.map(jnp.ones_like, made))

    def at(v: int) -> Any:
        return found[v] if v in found else jnp.zeros_like(moving[v])

    pulled = {p: at(graph.hidden[group.states[p]].var) for p in group.live}
    shape, dtype = (record.n_steps, *group.lead, group.n), graph.dtype(g)
    by_state = {p: d.reshape(shape).astype(dtype) for p, d in pulled.items()}
    fed = [(k, s) for k, s in enumerate(graph.sources) if any(b.group == g for b in s.blocks)]
    return by_state, {k: _of_source(source, at) for k, source in fed}


def whole_step(
    graph: Graph, values: Values, record: Record
) -> tuple[tuple[Any, ...], Callable[[Any], Any], Callable[[Any], list[Any]]]:
    """A window of one step that has been run, with nothing cut.

    Returns:
      h_t; s -> dh_t/dh_{t-1} s, with s by variable; c -> c . dh_t/dW of each sample, by source,
      [lead, I, H] of an operation.
    """
    moving = _moving(graph, values, record._replace(ys={}))
    read, ys, moving = jax.tree.map(lambda a: a[0], (record.read, record.ys, moving))

    def last(moving: Any, d_ys: Any) -> Any:
        return computed(graph, values, [h.new for h in graph.hidden], {**read, **moving}, d_ys)

    still = jax.tree.map(jnp.zeros_like, (moving, ys))
    new, pulled = jax.vjp(last, moving, still[1])
    # A derivative rule may exist in reverse alone; transposed, it is the forward one.
    pushed = jax.linear_transpose(pulled, new)
    ops = graph.trained_operations
    operands = computed(graph, values, [op.x for op in ops], {**read, **ys})
    xs = [op.with_one(x) for op, x in zip(ops, operands, strict=True)]

    def pull(c: Any) -> list[Any]:
        d_moving, d_ys = pulled(c)
        found = {**d_moving, **d_ys}
        d = [_of_source(source, found.__getitem__) for source in graph.sources]
        of_operations = zip(xs, d, strict=False)
        return [x[..., :, None] * dy[..., None, :] for x, dy in of_operations] + d[len(xs) :]

    return new, lambda s: pushed(({**still[0], **s}, still[1]))[0], pull


def _moving(graph: Graph, values: Values, record: Record) -> dict[int, Any]:
    """What derivatives of the steps are taken by: h_{t-1}, y_t, and the element-wise parameters,
    one copy per step, sample and neuron."""
    hidden = {h.var: record.read[h.var] for h in graph.hidden}
    parameters = {
        p.w: jnp.broadcast_to(values[p.w], (record.n_steps, *p.shape)) for p in graph.parameters
    }
    return {**hidden, **record.ys, **parameters}


def _at_steps(
    graph: Graph, values: Values, record: Record, atoms: Sequence[Any]
) -> Callable[[Any], tuple[Any, ...]]:
    """What every step makes of `atoms`, [K, ...], by `_moving`; every y is given."""
    step = over_time(partial(computed, graph, values, atoms), not graph.one_by_one)
    return lambda moving: step({**record.read, **record.ys, **moving})


def _of_source(source: Operation | Parameter, at: Callable[[int], Any]) -> Any:
    """What has been pulled back to an output y or a parameter, [..., lead, H]; `at` by variable."""
    d = at(source.y)
    return d.reshape(*d.shape[: d.ndim - len(source.shape)], *source.lead, source.width)


def push(
    graph: Graph,
    values: Values,
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
      d_args: of those leaves of the input that move, by variable.
    """
    moved = {graph.hidden[i].var: d for i, d in dh.items()} | dict(d_args)
    moved |= {source.y: d for source, d in zip(graph.sources, dy, strict=True)}
    known = {**record.read, **_moving(graph, values, record)}
    plain = {v: values[v] for v in graph.plain}
    d_plain = {v: d_weights.get(v, jnp.zeros_like(w)) for v, w in plain.items()}
    here = {v: known[v] for v in moved}
    d_here = {v: d.reshape(here[v].shape).astype(here[v].dtype) for v, d in moved.items()}

    def outputs(here: Any, plain: Any) -> Any:
        own = {**values, **plain}
        step = over_time(lambda known: output_run(graph, own, known), not graph.one_by_one)
        return step({**known, **here})

    return jax.linearize(outputs, here, plain)[1](d_here, d_plain)
