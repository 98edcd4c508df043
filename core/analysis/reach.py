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

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from core.analysis.build import covered, labels_of
from core.analysis.graph import Graph, Hidden
from core.analysis.operation import Block, Operation, Parameter, pieces
from core.analysis.other_states import dependencies
from core.equations.differential import RULES
from core.equations.elements import Elements
from core.equations.links import NONE, reached
from core.equations.program import (
    Equation,
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


def reaching(graph: Graph) -> set[int]:
    """Variables that reach a new state in a step, by any path."""
    equations = needed(graph.body, [h.new for h in graph.hidden])
    return variables_of(equations, [v for eqn in equations for v in eqn.outputs])


def credited(graph: Graph) -> list[Operation | Parameter]:
    """Sources that reach a state in a step."""
    there = reaching(graph)
    return [s for s in graph.sources if s.y in there]


def _read(graph: Graph, atoms: Sequence[int]) -> set[int]:
    """Variables of which these are made in a step."""
    return variables_of(needed(graph.body, atoms), atoms)


def read_back(graph: Graph, op: Operation, block: Block) -> list[int]:
    """The states of the group that a block feeds that its operation reads in turn."""
    there, group = _read(graph, [op.x]), graph.groups[block.group]
    return [p for p in group.live if graph.hidden[group.states[p]].var in there]


def mixed_axes(graph: Graph, op: Operation, block: Block) -> list[int]:
    """The axes of its lead, from the last, along which an operation reads the states that it feeds
    not only where it feeds them: a recurrent convolution, a mean over places."""
    group = graph.groups[block.group]
    hidden = [graph.hidden[group.states[s]] for s in read_back(graph, op, block)]
    start, ends = {h.var: h.shape for h in hidden}, {op.x: op.x_shape}
    return [axis for axis in range(-len(op.lead), 0) if mixes(graph, op.lead, axis, start, ends)]


Shapes = Mapping[int, tuple[int, ...]]  # by variable


def mixes(graph: Graph, lead: tuple[int, ...], axis: int, start: Shapes, ends: Shapes) -> bool:
    """Whether something of `start`, [lead, ...], reaches `ends` at another place along an axis of
    `lead`, counted from its last."""
    # Two sets for each binary digit of a place: of those that have it, and of the others.
    digits, place = range((lead[axis] - 1).bit_length()), np.arange(lead[axis])
    own = sum((1 << (2 * k + (place >> k & 1)) for k in digits), 0 * place)
    rows = own.reshape(-1, *(1,) * (-1 - axis)) + np.zeros(lead, int)

    def every(shape: tuple[int, ...]) -> np.ndarray:
        own = np.broadcast_to(rows[..., None], (*lead, math.prod(shape) // math.prod(lead)))
        return own.reshape(shape)

    marked, step = {v: every(shape) for v, shape in start.items()}, graph.elements
    found = Elements(step.equations, step.links, 2 * len(digits)).forward(
        marked, lambda v, mask: mask | marked[v] if v in marked else mask
    )
    return any((found.get(v, 0) & ~every(shape)).any() for v, shape in ends.items())


def with_own_products(graph: Graph) -> Graph:
    """Traces of all states that a source moves, also through the products of its own group.

    Raises:
      NotRepresentable: such a product whose weights are not trained.
    """
    reads = [set(group.reads) for group in graph.groups]
    for op in graph.operations:
        for block in op.blocks:
            back = read_back(graph, op, block)
            _check_kind(graph, op, block, back)
            if back and not op.trainable:
                raise NotRepresentable(
                    "recurrent products whose weights are trained, for SnAp",
                    f"{op.name}, which is constant",
                    "Make it a ParamState, or use core.RTRL or core.D_RTRL.",
                )
            reads[block.group].update((s, p) for s in block.components for p in back)
    return covered(graph, reads)


def _check_kind(graph: Graph, op: Operation, block: Block, back: Sequence[int]) -> None:
    """What passes from a complex state through a real number is no complex derivative."""
    if not back or not jnp.issubdtype(graph.dtype(block.group), jnp.complexfloating):
        return
    step, states = graph.differential, graph.groups[block.group].states
    start = {graph.hidden[states[p]].var: frozenset([p]) for p in back}
    found = reached(step.equations, start, step.avals)
    for eqn in needed(step.equations, [op.y]):
        moved = [v for v in (*eqn.variables, *eqn.outputs) if found.get(v)]
        kinds = [jnp.issubdtype(step.avals[v].dtype, jnp.complexfloating) for v in moved]
        if (moved and eqn.name == "conj") or not all(kinds):
            raise NotRepresentable(
                "products that read complex states as complex numbers alone, for SnAp",
                f"{op.name}, which reads '{eqn.name}' of one, at {eqn.source}",
                "Use core.D_RTRL or core.BPTT.",
            )


def read_places(graph: Graph, op: Operation) -> dict[int, np.ndarray]:
    """Which element of all that an operation reads, x [lead, I], each element of a state [lead, n]
    or of the y [lead, H] of another operation is at, or NONE; by their variable.

    Raises:
      NotRepresentable: it reads a mixture of neurons.
    """
    dtype = graph.program.avals[op.x].dtype
    x = Hidden(f"what {op.name} reads", op.x, op.x, op.x_shape, dtype)
    labels = labels_of(graph, x, dependencies(graph))
    width = {below.y: below.width for below in graph.operations}
    width |= {graph.hidden[s].var: group.n for group in graph.groups for s in group.states}
    return {v: label.reshape(-1, width[v]) for v, label in labels.items() if v in width}


def _of_one(places: np.ndarray, step: int) -> np.ndarray | None:
    """The first row of places, where every other has the same, `step` further from row to row."""
    expected = np.where(places[0] == NONE, NONE, places[0] + step * np.arange(len(places))[:, None])
    return places[0] if places[0].max() < step and (places == expected).all() else None


def neurons_in_reach(graph: Graph, g: int, n: int) -> np.ndarray:
    """The neurons that each neuron of a group reaches in at most `n` - 1 steps, itself first,
    [neurons, most], filled up with NONE."""
    size = graph.groups[g].n
    one = np.eye(size, dtype=bool)
    for op in graph.operations if n > 1 else ():
        for block in op.blocks:
            if block.group == g and read_back(graph, op, block):
                one[block.of_neurons(np.arange(size))] |= _moved_by(graph, op, g)[block.columns]
    within = np.eye(size, dtype=bool)  # [reached, from]
    for _ in range(n - 1):
        within = one.astype(int) @ within > 0
    order = [[j, *(i for i in np.flatnonzero(row) if i != j)] for j, row in enumerate(within.T)]
    most = max(map(len, order))
    return np.array([own + [NONE] * (most - len(own)) for own in order])


def _moved_by(graph: Graph, op: Operation, g: int) -> np.ndarray:
    """Whether y of an operation is moved by a neuron of a group within the step, [H, n]."""
    group, x = graph.groups[g], np.zeros((op.n_in, graph.groups[g].n), bool)
    places = dict[int, np.ndarray]()
    try:
        for v, label in read_places(graph, op).items():
            place = _of_one(label, op.n_in)
            if place is None:  # those of other rows
                x[:] = True
            else:
                places[v] = place
    except NotRepresentable:  # a mixture of neurons
        x[:] = True
    for s in group.states:
        place = places.get(graph.hidden[s].var, np.full(group.n, NONE))
        x[place[place != NONE], np.flatnonzero(place != NONE)] = True
    for below in graph.operations:
        if below.y in places and below is not op:
            place = places[below.y]
            moved = _moved_by(graph, below, g)
            np.logical_or.at(x, place[place != NONE], moved[place != NONE])
    return _occupied(graph, op.w).T.astype(int) @ x > 0


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

    def settled() -> Any:
        return read(evaluate(needed(program.equations, [end]), dict(program.constants)), end)

    if any(isinstance(a, jax.core.Tracer) for a in program.constants.values()):
        return settled().reshape(-1)[0]  # of a model made inside of jit
    with jax.ensure_compile_time_eval():
        found = np.asarray(settled())
    return found.flat[0].item() if found.size and (found == found.flat[0]).all() else None


def _is_spike(eqn: Equation) -> bool:
    """Whether the derivative is that of a rule alone: the value is a step and has none. (A relu has
    a rule too, which is its own derivative.)"""
    if eqn.name not in RULES:
        return eqn.name == "heaviside_surrogate_gradient"  # braintools'
    value = flatten_jaxpr(eqn.params["call_jaxpr"])
    own = [inner for inner in value.equations if not _is_spike(inner)]
    moved = reached(own, {v: frozenset([v]) for v in value.inputs}, value.avals)
    return not any(moved.get(a) for a in value.outputs if isinstance(a, int))


class Reader(NamedTuple):
    """An operation through which a leaky group reads another, neuron by neuron."""

    op: Operation
    source: int  # its place in Graph.sources
    block: int  # of the operation, which feeds the group
    columns: slice  # of the block
    decay: Any  # of that group
    below: int  # the group that it reads
    axes: int  # of that group, from the last, which it reads in an order of its own
    x_shape: tuple[int, ...]  # what it makes of these
    feature: np.ndarray  # for each of their elements its place there, or NONE

    def passed(self, z: Any, matrix: Any) -> Any:
        """z W of the neurons that it reads, [lead, n] -> [lead, width] of its columns, with W [I,
        H]."""
        z = z.reshape(*z.shape[: z.ndim - self.axes], -1)
        reads, matrix = self.feature != NONE, matrix[:, self.columns].astype(z.dtype)
        read, places = z[..., np.flatnonzero(reads)], self.feature[reads]
        if len(self.x_shape) == 1:
            return read @ matrix[places]
        x = jnp.zeros((*z.shape[:-1], math.prod(self.x_shape)), z.dtype).at[..., places].add(read)
        return x.reshape(*z.shape[:-1], *self.x_shape) @ matrix


def readers(graph: Graph, decays: Sequence[Any], *, once: bool = False) -> list[Reader]:
    """All that feed a group with a decay; `decays` are by group, or None.

    Args:
      once: whether a column that feeds several groups is there for the first of them alone.

    Raises:
      NotRepresentable: one that reads a mixture of neurons, or a neuron twice.
    """
    found = list[Reader]()
    for k, op in enumerate(graph.trained_operations):
        runs = [(block.columns, b) for b, block in enumerate(op.blocks)]
        if once:
            runs = [(columns, fed[0]) for columns, fed in pieces(op.blocks, op.width) if fed]
        groups = {b: op.blocks[b].group for _, b in runs}
        leaky = {b: g for b, g in groups.items() if decays[g] is not None and graph.groups[g].live}
        for below, order in _read_below(graph, op) if leaky else ():
            own = [(columns, b) for columns, b in runs if leaky.get(b, below) != below]
            found += [Reader(op, k, b, run, decays[leaky[b]], below, *order) for run, b in own]
    return found


def _read_below(graph: Graph, op: Operation) -> list[tuple[int, tuple[Any, ...]]]:
    """The groups that an operation reads, and how: the last of what a Reader holds."""
    places, found = read_places(graph, op), []
    for below, group in enumerate(graph.groups):
        at = np.full((math.prod(group.lead), group.n), NONE)

        def enter(neurons: Any, new: np.ndarray, at: np.ndarray = at) -> None:
            old = at[:, neurons]
            if ((old != new) & (old != NONE) & (new != NONE)).any():
                raise NotRepresentable(
                    "leaky readouts that read each neuron once",
                    f"{op.name}, which reads some at two places, now and as they were before",
                    "Give what is read late a state and a product of its own, or use core.D_RTRL.",
                )
            at[:, neurons] = np.maximum(old, new)

        for s in group.states:
            if graph.hidden[s].var in places:
                enter(slice(None), places[graph.hidden[s].var])
        for source in graph.operations:
            for block in source.blocks if source.y in places else ():
                if block.group == below:
                    neurons = block.of_neurons(np.arange(group.n))
                    enter(neurons, places[source.y][:, block.columns])
        if (at != NONE).any():
            found.append((below, _order(at, group.lead, op.x_shape)))
    return found


def _order(
    at: np.ndarray, lead: tuple[int, ...], x_shape: tuple[int, ...]
) -> tuple[int, tuple[int, ...], np.ndarray]:
    """`axes`, `x_shape` and `feature` of a Reader, with as many axes of samples as both have."""
    alike = [a == b for a, b in zip(lead, x_shape, strict=False)]
    for n in range(len([*itertools.takewhile(bool, alike)]), 0, -1):
        feature = _of_one(at.reshape(math.prod(lead[:n]), -1), math.prod(x_shape[n:]))
        if feature is not None:
            return len(lead) - n + 1, x_shape[n:], feature
    return len(lead) + 1, x_shape, at.reshape(-1)


def is_read(graph: Graph, group: int) -> bool:
    """Whether an operation reads the group, one that feeds no state included."""
    own = {graph.hidden[s].var for s in graph.groups[group].states}
    return not own.isdisjoint(_read(graph, [op.x for op in graph.operations]))


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
