"""The graph of one model step: which weight feeds which state. `core.analysis.build` makes it.

The equations of `model.update` are split in two: the *prelude* depends on parameters and constants
alone (masks, scalings, concatenations); the *body* sees data. Hidden states that are coupled
element by element from step to step, with the outputs y of all operations held fixed, form a
*group* (a voltage and its adaptation).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

from core.analysis.operation import Block, Operation, Parameter
from core.analysis.schedule import Stage, one_by_one, schedule
from core.equations.differential import differential, is_real
from core.equations.elements import Elements
from core.equations.links import Links
from core.equations.program import Equation, Program, Settled

NOT_OF_SAMPLES = "INIT_NO_BATCHING"  # brainstate's tag of states that have no axis of samples


@dataclass(frozen=True, eq=False)
class Hidden:
    """One array of a HiddenState: its variable before and after the step."""

    name: str
    var: int
    new: int
    shape: tuple[int, ...]
    dtype: Any


def starts_anew(state: Any) -> bool:
    """Whether a sample has a value of its own of this state, which goes with the sample.

    A delay has the axis of time first, and a pointer for all samples; it goes on.
    """
    delay = isinstance(state, brainstate.DelayState) or state.tag == NOT_OF_SAMPLES
    return isinstance(state, brainstate.ShortTermState) and not delay


def _is_key(aval: Any) -> bool:
    """Whether an array may hold a random key."""
    keys = (jax.dtypes.extended, np.unsignedinteger)
    return any(jnp.issubdtype(aval.dtype, kind) for kind in keys)


@dataclass(frozen=True)
class Group:
    """Hidden arrays coupled by D; each is [lead, n]."""

    states: tuple[int, ...]  # indices into Graph.hidden
    lead: tuple[int, ...]
    n: int
    reads: frozenset[tuple[int, int]]  # (s, p): new state s depends on previous state p
    live: tuple[int, ...] = ()  # positions in `states` whose previous value carries credit


class Product(NamedTuple):
    """An operation in the equations of `Credit`: its operands are x under the cut of each run."""

    operation: int  # its place in Graph.operations
    columns: tuple[slice, ...]  # of y, one for each operand


class Credit(NamedTuple):
    """The step as its outputs see it: equations that compute them from previous states, outputs of
    operations and weights, along the paths inside the step alone."""

    equations: tuple[Equation, ...] = ()
    products: Mapping[int, Product] = MappingProxyType({})  # by the id of the equation
    stopped: Mapping[int, int] = MappingProxyType({})  # previous states, by their constant copy


@dataclass(frozen=True, eq=False)
class Graph:
    """What one step of a model computes, as far as credit is concerned. Print it."""

    program: Program
    body: tuple[Equation, ...]
    states: tuple[Any, ...]  # brainstate States in the order of the program's inputs
    state_vars: tuple[tuple[int, ...], ...]  # the variables of each state's arrays
    arg_vars: tuple[int, ...]
    out_atoms: tuple[Any, ...]
    out_tree: Any
    param_vars: tuple[int, ...]
    hidden: tuple[Hidden, ...]
    others: tuple[tuple[int, Any], ...]  # (before, after) of written states without gradient
    names: Mapping[int, str]
    prelude: tuple[Equation, ...] = ()
    operations: tuple[Operation, ...] = ()
    parameters: tuple[Parameter, ...] = ()  # element-wise, reaching a state
    plain: tuple[int, ...] = ()  # other uses of parameters: gradient within the step only
    groups: tuple[Group, ...] = ()
    credit: Credit = field(default_factory=lambda: Credit())
    clock: Mapping[str, Any] = field(default_factory=dict)  # i and t, inputs behind the model's
    settings: Mapping[Any, Any] = field(default_factory=dict)  # what else the environment said
    shown: tuple[int, ...] = ()  # states whose new values are outputs behind the model's
    parts: Mapping[int, tuple[int, ...]] = field(default_factory=dict)  # states of one array
    sample: Graph | None = None  # of one sample, when the step is mapped over a batch

    def over_samples(self, size: int) -> Graph:
        """The graph of a step mapped over `size` samples, which lead every array but the weights.

        A model written for single samples then runs through the same computation as a batched one.
        With whole windows under `jax.vmap` instead, D-RTRL takes 1.4 to 2.1 times as long: no
        product is one over all samples, and traces are advanced all at once, beside themselves.
        """
        return replace(
            self,
            hidden=tuple(replace(h, shape=(size, *h.shape)) for h in self.hidden),
            operations=tuple(replace(o, x_shape=(size, *o.x_shape)) for o in self.operations),
            parameters=tuple(
                replace(p, shape=(size, *p.shape), lead=(size, *p.lead)) for p in self.parameters
            ),
            groups=tuple(replace(g, lead=(size, *g.lead)) for g in self.groups),
            sample=self,
        )

    def with_sources(self, of: Callable[[Any], Any]) -> Graph:
        """The graph with `of` each operation and element-wise parameter in its place."""
        operations, parameters = (tuple(map(of, s)) for s in (self.operations, self.parameters))
        return replace(self, operations=operations, parameters=parameters)

    def with_blocks(self, of: Callable[[Block], Block]) -> Graph:
        """The graph with `of` each block of its sources in place of the block."""
        return self.with_sources(lambda s: replace(s, blocks=tuple(map(of, s.blocks))))

    @cached_property
    def trained_operations(self) -> tuple[Operation, ...]:
        """Those whose weights are parameters, or made of them: the first of the sources."""
        return tuple(op for op in self.operations if op.trainable)

    @cached_property
    def sources(self) -> tuple[Operation | Parameter, ...]:
        """What traces belong to: trained operations, then element-wise parameters."""
        return (*self.trained_operations, *self.parameters)

    @cached_property
    def weights(self) -> tuple[int, ...]:
        """Variables through which gradients reach the parameters, each once (tied weights)."""
        return tuple(
            dict.fromkeys([*(v for source in self.sources for v in source.weights), *self.plain])
        )

    @cached_property
    def differential(self) -> Program:
        """The body as differentiation sees it: which element moves which; for analysis."""
        moving = {h.var for h in self.hidden}.union(self.plain)
        moving.update(v for op in self.operations for v in (op.y, op.w))
        return differential(self.program, self.body, moving)

    @cached_property
    def elements(self) -> Elements:
        """Of `differential`, which element is made of which; sets of states or of groups."""
        step = self.differential
        settled = Settled(self.program.constants, (*self.prelude, *step.equations))
        return Elements(step.equations, Links(step.avals, settled.value), len(self.hidden))

    @cached_property
    def new_states(self) -> dict[int, Any]:
        """The groups, as a bit mask, whose new states the elements of a variable hold."""
        ends: dict[int, Any] = {}
        for g, group in enumerate(self.groups):
            for new in (self.hidden[s].new for s in group.states):
                if isinstance(new, int):
                    ends[new] = ends.get(new, 0) | 1 << g
        return self.elements.copies(ends)

    @cached_property
    def previous_states(self) -> dict[int, int]:
        """The group, as a bit mask, of every state that is in one, by its variable."""
        groups = enumerate(self.groups)
        return {self.hidden[s].var: 1 << g for g, group in groups for s in group.states}

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The body in the order in which a window runs it."""
        states = {h.var: h.new for h in self.hidden} | dict(self.others)
        wanted = [*self.out_atoms, *(op.y for op in self.operations)]
        return schedule(self.body, states, self.arg_vars, wanted)

    @cached_property
    def one_by_one(self) -> list[Equation]:
        """Equations for which a window can only be run step by step."""
        return one_by_one(self.body)

    @cached_property
    def restarting(self) -> tuple[int, ...]:
        """What a sample that starts anew begins with, where its first axis is of samples: states
        that `starts_anew`, whatever their dtype."""
        pairs, avals = zip(self.states, self.state_vars, strict=True), self.program.avals
        kept = {v for s, own in pairs if starts_anew(s) for v in own if not _is_key(avals[v])}
        return (*(h.var for h in self.hidden), *(v for v, _ in self.others if v in kept))

    @cached_property
    def trained(self) -> tuple[int, ...]:
        """Parameters that can carry a gradient: floats."""
        return tuple(v for v in self.param_vars if is_real(self.program.avals[v]))

    @cached_property
    def live(self) -> tuple[int, ...]:
        """Hidden arrays whose previous value carries credit, group by group."""
        return tuple(g.states[s] for g in self.groups for s in g.live)

    def arrays(self, values: Mapping[int, Any]) -> dict[int, Any]:
        """By variable, the arrays of those states whose values are given, by id."""
        pairs = zip(self.states, self.state_vars, strict=True)
        known = [(own, values[id(state)]) for state, own in pairs if id(state) in values]
        leaves = ((own, jax.tree.leaves(value)) for own, value in known)
        return self.apart({v: a for own, of in leaves for v, a in zip(own, of, strict=True)})

    def apart(self, arrays: dict[int, Any]) -> dict[int, Any]:
        """States of one array as arrays of their own, [..., S] -> S times [...]."""
        for v, own in self.parts.items():
            if v in arrays:
                whole = arrays.pop(v)
                arrays.update((p, whole[..., k]) for k, p in enumerate(own))
        return arrays

    def together(self, arrays: dict[int, Any]) -> dict[int, Any]:
        """The reverse of `apart`."""
        for v, own in self.parts.items():
            arrays[v] = jnp.stack([arrays.pop(p) for p in own], axis=-1)
        return arrays

    def dtype(self, group: int) -> Any:
        """The dtype of a group's derivatives and traces: of the most precise of its states."""
        return jnp.result_type(*(self.hidden[s].dtype for s in self.groups[group].states))

    def operand_dtype(self, op: Operation) -> Any:
        """The dtype in which an operand enters traces and gradients: the most precise at hand."""
        avals = self.program.avals
        own = (avals[v].dtype for v in (op.x, op.w, op.y))
        return jnp.result_type(*own, *(self.dtype(block.group) for block in op.blocks))

    def zero_flow(self, n_steps: int | None) -> list[dict[int, Any]]:
        """Zeros by group and live state: [K, lead, n], or [lead, n] without steps."""
        front = () if n_steps is None else (n_steps,)
        return [
            {s: jnp.zeros((*front, *group.lead, group.n), self.dtype(g)) for s in group.live}
            for g, group in enumerate(self.groups)
        ]

    def of_states(self, flow: Sequence[Mapping[int, Any]]) -> dict[int, Any]:
        """What is given by group and component, by hidden array."""
        return {
            g.states[s]: own[s] for g, own in zip(self.groups, flow, strict=True) for s in g.live
        }

    def step_bytes(self) -> int:
        """Bytes that one step of a window keeps: states, operands, outputs and derivatives."""
        total = 0
        for g, group in enumerate(self.groups):
            size = math.prod(group.lead) * group.n * len(group.states)
            total += size * (1 + len(group.live)) * self.dtype(g).itemsize
        for source in self.sources:
            covered = sum(b.width * len(b.components) for b in source.blocks)
            row = source.width + covered + sum(source.trace_axes)
            total += math.prod(source.lead) * row * self.program.avals[source.w].dtype.itemsize
        return total

    # -- for people

    def __str__(self) -> str:
        if self.hidden and not self.groups:
            return self._listing()
        lines = ["groups of hidden states (coupled element by element from step to step)"]
        for g, group in enumerate(self.groups):
            names = [self.hidden[s].name for s in group.states]
            silent = ", ".join(n for k, n in enumerate(names) if k not in group.live)
            note = f"; no credit in time through {silent}" if silent else ""
            of = f"lead {list(group.lead)} x {group.n} neurons"
            lines.append(f"  [{g}] {', '.join(names)}   {of}{note}")
        grouped = {s for g in self.groups for s in g.states}
        stored = [h.name for i, h in enumerate(self.hidden) if i not in grouped]
        if stored:
            lines.append(f"  no group: {', '.join(stored)}; no credit passes through it")
        lines.append("operations y = x W")
        for op in self.operations:
            kind = "" if op.trainable else "   constant: cut like a trained weight"
            bias = f" + {self.names[op.bias]}" if op.bias is not None else ""
            lines.append(f"  {op.name}  [{op.n_in} x {op.width}]{bias}{kind}")
            lines += self._explain(op)
        if self.parameters or self.plain:
            lines.append("element-wise parameters")
        for p in self.parameters:
            lines.append(f"  {p.name}" + ("   additive (a bias)" if p.additive else ""))
            lines += self._explain(p)
        plain = "no trace: reaches no state element by element; exact gradient within the step"
        lines += [f"  {self.names[v]}   {plain}" for v in self.plain]
        return "\n".join(lines)

    __repr__ = __str__

    def _listing(self) -> str:
        """Of an algorithm that credits every path and asks no weight where it leads."""
        lines = ["hidden states", *(f"  {h.name}  {list(h.shape)}" for h in self.hidden)]
        lines.append("parameters, with the gradient of every path")
        params = ((self.names[v], self.program.avals[v].shape) for v in self.param_vars)
        return "\n".join([*lines, *(f"  {name}  {list(shape)}" for name, shape in params)])

    def _explain(self, source: Operation | Parameter) -> list[str]:
        lines = []
        for block in source.blocks:
            group = self.groups[block.group]
            run, whole = block.columns, block.width == source.width
            columns = "" if whole else f" (outputs {run.start}:{run.stop})"
            if not block.components:
                feeds = ", ".join(self.hidden[s].name for s in group.states)
                lines.append(f"    -> {feeds}{columns}: no trace, no credit passes in time")
            shape = [*source.lead, *source.trace_axes, block.width]  # of a full trace, D-RTRL's
            size = math.prod(shape) * jnp.dtype(self.dtype(block.group)).itemsize
            for s in block.components if source in self.sources else ():
                name = self.hidden[group.states[s]].name
                lines.append(f"    -> {name}{columns}: trace {shape}, {size:,} bytes")
        if sum(block.width for block in source.blocks) < source.width:
            which = "the other outputs" if source.blocks else "its outputs"
            lines.append(
                f"    no trace: {which} reach no state but through another operation;"
                " exact gradient within the step"
            )
        return lines
