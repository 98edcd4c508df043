"""What rules beside D-RTRL ask of a graph: who reaches whom, neuron by neuron.

The neurons of a group reach one another through the group's own products (SnAp). Zeros of a weight
count where they are there whatever the parameters are: a mask, a sparse product, one group of a
grouped one.

Leaky integrators read the neurons of another group one by one: readouts, layers above. With z_t
what their product y = z W reads, r_t = k r_{t-1} + f y_t remembers sum_s k^{t-s} z_s: a rule that
credits what earlier spikes have left in r (e-prop, OTPE) follows one such sum for each neuron.
What a weight has done to such a state only fades, by one number k for all neurons and all times.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from core.analysis.build import covered, labels_of
from core.analysis.graph import Graph, Hidden
from core.analysis.operation import Block, Operation, Parameter
from core.analysis.other_states import dependencies
from core.equations.differential import RULES
from core.equations.elements import Elements
from core.equations.labels import one_row
from core.equations.links import NONE, reached
from core.equations.program import (
    Equation,
    Program,
    Settled,
    bind,
    evaluate,
    flatten_jaxpr,
    like,
    needed,
    program_of,
    read,
    variables_of,
)
from core.errors import NotRepresentable


def credited(graph: Graph) -> list[Operation | Parameter]:
    """Sources that reach a state in a step."""
    there = making(graph, [h.new for h in graph.hidden])
    return [s for s in graph.sources if s.y in there]


def making(graph: Graph, atoms: Sequence[int]) -> set[int]:
    """Variables of which these are made in a step."""
    return variables_of(needed(graph.body, atoms), atoms)


def read_back(graph: Graph, op: Operation, block: Block) -> list[int]:
    """The states of the group that a block feeds that its operation reads in turn."""
    there, group = making(graph, [op.x]), graph.groups[block.group]
    return [p for p in group.live if graph.hidden[group.states[p]].var in there]


Shapes = Mapping[int, tuple[int, ...]]  # by variable


def mixes(graph: Graph, lead: tuple[int, ...], start: Shapes, ends: Shapes) -> bool:
    """Whether something of `start`, [lead, ...], reaches `ends` in another row of the `lead`."""
    # Two sets for each binary digit of a row's number: of those that have it, and of the others.
    row = np.arange(math.prod(lead)).reshape(*lead, 1)
    digits = range((row.size - 1).bit_length())
    own = sum((1 << (2 * k + (row >> k & 1)) for k in digits), 0 * row)

    def every(shape: tuple[int, ...]) -> np.ndarray:
        return np.broadcast_to(own, (*lead, math.prod(shape) // row.size)).reshape(shape)

    marked, step = {v: every(shape) for v, shape in start.items()}, graph.elements
    found = Elements(step.equations, step.links, 2 * len(digits)).forward(
        marked, lambda v, mask: mask | marked[v] if v in marked else mask
    )
    return any((found.get(v, 0) & ~every(shape)).any() for v, shape in ends.items())


def with_own_products(graph: Graph) -> Graph:
    """Traces of all states that a source moves, also through the products of its own group.

    Raises:
      NotRepresentable: such a product whose weights are not trained, of complex states, or that
        reads other rows than its own.
    """
    reads = [set(group.reads) for group in graph.groups]
    for op in graph.operations:
        for block in op.blocks:
            back, states = read_back(graph, op, block), graph.groups[block.group].states
            start = {h.var: h.shape for h in (graph.hidden[states[p]] for p in back)}
            is_complex = jnp.issubdtype(graph.dtype(block.group), jnp.complexfloating)
            wrong = {
                "which is constant": not op.trainable,
                "which feeds complex ones": is_complex,
                "which reads other rows (a recurrent convolution)": back
                and mixes(graph, op.lead, start, {op.x: op.x_shape}),
            }
            for came in (words for words, so in wrong.items() if back and so):
                raise NotRepresentable(
                    "trained products of real states that read their own row alone, for SnAp",
                    f"{op.name}, {came}",
                    "Use core.D_RTRL or core.BPTT.",
                )
            reads[block.group].update((s, p) for s in block.components for p in back)
    return covered(graph, reads)


def neurons_in_reach(graph: Graph, g: int, n: int) -> np.ndarray:
    """The neurons that each neuron of a group reaches in at most `n` - 1 steps, itself first,
    [neurons, most], filled up with NONE."""
    size = graph.groups[g].n
    one = np.eye(size, dtype=bool)
    for op, moved in _moved_by(graph, g) if n > 1 else ():
        for block in op.blocks:
            if block.group == g:
                one[block.of_neurons(np.arange(size))] |= moved[block.columns]
    within = np.eye(size, dtype=bool)  # [reached, from]
    for _ in range(n - 1):
        within = one.astype(int) @ within > 0
    order = [[j, *(i for i in np.flatnonzero(row) if i != j)] for j, row in enumerate(within.T)]
    most = max(map(len, order))
    return np.array([own + [NONE] * (most - len(own)) for own in order])


def _moved_by(graph: Graph, g: int) -> list[tuple[Operation, np.ndarray]]:
    """Whether y of each operation is moved by a neuron of a group within the step, [H, n]."""
    group, step = graph.groups[g], graph.elements
    sets, found = Elements(step.equations, step.links, group.n), []
    own = np.array([1 << j for j in range(group.n)], sets.dtype)
    states = [graph.hidden[s] for s in group.states]
    marked = {h.var: np.broadcast_to(own, (*group.lead, group.n)).reshape(h.shape) for h in states}
    for op in graph.operations:
        x = sets.forward(marked, lambda v, mask: marked.get(v, mask)).get(op.x, 0)
        row = np.broadcast_to(x, op.x_shape).reshape(-1, op.n_in)[0]  # all are alike
        y = np.bitwise_or.reduce(np.where(_occupied(graph, op.w), row[:, None], 0), axis=0)
        marked[op.y] = np.broadcast_to(y, op.shape)
        found.append((op, np.stack([y >> j & 1 for j in range(group.n)], axis=1).astype(bool)))
    return found


def _occupied(graph: Graph, w: int) -> np.ndarray:
    """Where a weight is not zero whatever the parameters are."""
    aval, known = graph.program.avals[w], graph.program.constants
    equations = needed(graph.prelude, [w], given=known)
    made = {v for eqn in equations for v in eqn.outputs}
    given = variables_of(equations, [w]) - made
    if any(isinstance(known.get(v), jax.core.Tracer) for v in given):
        return np.ones(aval.shape, bool)
    found, draw = np.zeros(aval.shape, bool), np.random.default_rng(0)
    with jax.ensure_compile_time_eval():
        for sign in (1, -1):  # of all parameters: a weight may be made positive on the way
            env = dict(known)
            for v in given - set(known):
                own = graph.program.avals[v]
                env[v] = jnp.asarray(sign * draw.uniform(1, 2, own.shape), own.dtype)
            found |= np.asarray(evaluate(equations, env)[w]) != 0
    return found


def constant_decay(graph: Graph, group: int, held: bool = False, never: Sequence[int] = ()) -> Any:
    """dh_t/dh_{t-1} of a group of one live state, every operation's output held fixed.

    Args:
      held: whether spikes are too, unless something drives the state through them alone.
      never: variables that are taken to be false.

    Returns:
      None where it depends on data or weights, differs from neuron to neuron, where several states
      carry credit, or where dh_t/dy_t of what drives it depends on data. Zero where no state
      carries credit. An array that is being traced is taken to be alike for all neurons.
    """
    own = graph.groups[group]
    if len(own.live) != 1:
        return None if own.live else 0.0
    h = graph.hidden[own.states[own.live[0]]]
    avals, held = graph.program.avals, held and _driven(graph, h.new)
    known = {**graph.program.constants, **{v: jnp.zeros(avals[v].shape, bool) for v in never}}
    given = {*known, *(op.y for op in graph.operations)}
    equations = needed((*graph.prelude, *graph.body), [h.new], given=given)
    made = {v for eqn in equations for v in eqn.outputs}
    read_by = variables_of(equations, (h.var, h.new))
    free = {v: like(avals, v) for v in read_by - made - set(known)}

    def hold(eqn: Equation, env: dict[int, Any]) -> list[Any] | None:
        if not held or not _is_spike(eqn):
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

    found = Settled(program.constants, program.equations).value(end)
    if found is None:  # of a model made inside of jit
        made_there = evaluate(needed(program.equations, [end]), dict(program.constants))
        return read(made_there, end).reshape(-1)[0]
    return found.flat[0].item() if found.size and (found == found.flat[0]).all() else None


def _driven(graph: Graph, new: Any) -> bool:
    """Whether no operation reaches an element of a new state through spikes alone."""
    ys, spikes = {op.y for op in graph.operations}, set[int]()
    spikes.update(v for eqn in graph.body if _is_spike(eqn) for v in eqn.outputs)

    def reached_by(y: int, shape: tuple[int, ...], ends: set[int]) -> Any:
        start = {y: np.ones(shape, graph.elements.dtype)}
        found = graph.elements.forward(start, lambda v, mask: 0 if v in ends - {y} else mask)
        return np.broadcast_to(found.get(new, 0), graph.program.avals[new].shape)

    ways = ((op.y, op.shape) for op in graph.operations if spikes)
    return all((reached_by(*y, ys) == reached_by(*y, ys | spikes)).all() for y in ways)


def _is_spike(eqn: Equation) -> bool:
    """Whether the derivative is that of a rule alone: the value is a step and has none. (A relu has
    a rule too, which is its own derivative.)"""
    if eqn.name not in RULES:
        return eqn.name == "heaviside_surrogate_gradient"  # braintools'
    value = flatten_jaxpr(eqn.params["call_jaxpr"])
    own = [_but_nan(value, inner) for inner in value.equations if not _is_spike(inner)]
    moved = reached(own, {v: frozenset([v]) for v in value.inputs}, value.avals)
    return not any(moved.get(a) for a in value.outputs if isinstance(a, int))


def _but_nan(value: Program, eqn: Equation) -> Equation:
    """A choice that is made where something is no number (jax.numpy.heaviside), without that."""
    nan = {e.outputs[0] for e in value.equations if e.name == "ne" and len({*e.inputs}) == 1}
    chosen = eqn.name == "select_n" and eqn.inputs[0] in nan
    return replace(eqn, inputs=eqn.inputs[:2]) if chosen else eqn


class Reader(NamedTuple):
    """An operation through which a leaky group reads another, neuron by neuron."""

    op: Operation
    source: int  # its place in Graph.sources
    block: int  # of the operation, which feeds the group
    decay: Any  # of that group
    below: int  # the group that it reads
    feature: np.ndarray  # for each of its neurons the place in a row of x, or NONE

    def passed(self, z: Any, matrix: Any) -> Any:
        """z W of the neurons that it reads, [lead, n] -> [lead, width] of its block, with W [I,
        H]."""
        reads, columns = self.feature != NONE, self.op.blocks[self.block].columns
        matrix = matrix[self.feature[reads], columns].astype(z.dtype)
        return z[..., np.flatnonzero(reads)] @ matrix


def with_constant_readers(graph: Graph, decays: Sequence[Any]) -> Graph:
    """Leaky layers whose weights are constant among those that read others."""

    def reads(op: Operation) -> bool:
        leaky = any(decays[block.group] is not None for block in op.blocks)
        return leaky and any(_read_below(graph, op))

    found = {id(op) for op in graph.operations if not op.trainable and reads(op)}
    if not found:
        return graph
    return graph.with_sources(lambda s: replace(s, trainable=True) if id(s) in found else s)


def readers(graph: Graph, decays: Sequence[Any]) -> list[Reader]:
    """All that feed a group with a decay; `decays` are by group, or None.

    Raises:
      NotRepresentable: one that reads a mixture of neurons, a neuron twice, or another row.
    """
    found = list[Reader]()
    for k, op in enumerate(graph.trained_operations):
        groups = [(b, block.group) for b, block in enumerate(op.blocks)]
        leaky = [(b, g) for b, g in groups if decays[g] is not None and graph.groups[g].live]
        for below, feature in _read_below(graph, op) if leaky else ():
            found += [Reader(op, k, b, decays[g], below, feature) for b, g in leaky if g != below]
    return found


def _read_below(graph: Graph, op: Operation) -> Iterator[tuple[int, np.ndarray]]:
    """The groups that an operation reads, and the feature of each neuron, as of a Reader."""
    dtype = graph.program.avals[op.x].dtype
    x = Hidden(f"what {op.name} reads", op.x, op.x, op.x_shape, dtype)
    places = labels_of(graph, x, dependencies(graph))  # in x, of each element by variable
    fed = {source.y: np.zeros(source.width, int) for source in graph.operations}  # how often
    for below, group in enumerate(graph.groups):
        states = [graph.hidden[s].var for s in group.states]
        read = [places[v] for v in states if v in places]
        for source in graph.operations:
            for block in source.blocks if source.y in places else ():
                if block.group == below:
                    label = np.full((math.prod(group.lead), group.n), NONE)
                    columns = places[source.y].reshape(-1, source.width)[:, block.columns]
                    label[:, block.of_neurons(np.arange(group.n))] = columns
                    fed[source.y][block.columns] += (columns != NONE).any(axis=0)
                    read.append(label)
        if all((label == NONE).all() for label in read):
            continue
        alike = group.lead == op.lead and all((n < 2).all() for n in fed.values())
        feature = one_row(read, math.prod(group.lead), op.n_in) if alike else None
        if feature is None:
            raise NotRepresentable(
                "leaky readouts that read each neuron, and what drives it, once, in its own row",
                f"{op.name}, which reads some at two places (now and as they were before), by way"
                " of two layers, or in another row (a convolution)",
                "Give what is read late a state and a product of its own, or use core.D_RTRL.",
            )
        yield below, feature


def is_read(graph: Graph, group: int) -> bool:
    """Whether an operation reads the group, one that feeds no state included."""
    own = {graph.hidden[s].var for s in graph.groups[group].states}
    return not own.isdisjoint(making(graph, [op.x for op in graph.operations]))


def with_components(graph: Graph, group: int, states: Sequence[int]) -> Graph:
    """More live components of the neurons of a group, in all traces of what feeds it; `states` are
    the places in Graph.hidden of a state of the kind of each."""
    old = graph.groups[group]
    new = tuple(range(len(old.states), len(old.states) + len(states)))
    groups = list(graph.groups)
    groups[group] = replace(old, states=(*old.states, *states), live=(*old.live, *new))

    def of(block: Block) -> Block:
        own = (*block.components, *new) if block.group == group else block.components
        return replace(block, components=own)

    return replace(graph, groups=tuple(groups)).with_blocks(of)
