"""A model that has been compiled: its graphs, one for each way in which it is used, and its states.

Which graph a call needs depends on what the model reads from the environment and on which states
are looked at after a step. `compile_graph` makes the first; others are traced when they are needed.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Self, TypeVar

import brainstate
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, PyTree

from core.analysis.beginning import Beginning, learned_beginning, restoring
from core.analysis.capture import trace_step
from core.analysis.graph import Graph, starts_anew
from core.data import lengths, split_steps
from core.environment import clock_now, clock_over, given_clock, settings_are
from core.errors import InvalidArgument, NotCompiled
from core.execution.axes import along
from core.execution.rollout import Carry
from core.traces.full import EligibilityTrace

Call = TypeVar("Call", bound=Callable[..., Any])


def check_algorithm(algo: Any) -> None:
    """Refuse a model, or a class, in the place of an algorithm."""
    if isinstance(algo, type) or not hasattr(algo, "compile_graph"):
        came = f"the class {algo.__name__}" if isinstance(algo, type) else type(algo).__name__
        raise InvalidArgument(
            "an algorithm around a model", came, "Make one, for example core.D_RTRL(model)."
        )


def all_or_nothing(call: Call) -> Call:
    """A function of an algorithm that leaves it, its model and an optimizer as they were if it
    fails: the clock, who has begun, traces made ready for a loop, moments. A call that is put right
    goes on from there."""

    @functools.wraps(call)
    def whole(algo: Any, *args: Any, **options: Any) -> Any:
        check_algorithm(algo)
        given = (algo, *args, *options.values())
        restore = restoring(*(a for a in given if isinstance(a, brainstate.graph.Node)))
        try:
            return call(algo, *args, **options)
        except BaseException:
            restore()
            raise

    return whole  # type: ignore[return-value]


def check_named(named: Mapping[str, Any]) -> None:
    """An input that is named would have no place among those that were compiled."""
    if named:
        raise InvalidArgument(
            "a step's inputs in the order of the model's update",
            f"{', '.join(named)} by name",
            "Leave the name out; what is no input (a flag) goes into brainstate.environ or the"
            " model.",
        )


class Known(NamedTuple):
    """A graph of the model and what it was traced for, beside its settings."""

    graph: Graph
    watched: frozenset[int]  # ids of states that are looked at after a step
    credit: bool  # the algorithm's own, not only the step as it is


class Compiled(brainstate.nn.Module):
    """A model, the graphs of its step, and the states around them."""

    def __init__(self, model: Any, mode: Any = None) -> None:
        super().__init__()
        if not isinstance(model, brainstate.nn.Module) or isinstance(model, Compiled):
            raise InvalidArgument(
                "a brainstate.nn.Module as model",
                type(model).__name__,
                "Derive the model from brainstate.nn.Module.",
            )
        del mode  # batch axes are read off the shapes
        self.model = model
        self.stepped: Any = model  # what is traced: the model, and what stands around its step
        self._graph: Graph | None = None
        self._known: list[Known] = []
        self._example: Any = None
        self._model_states: dict[int, list[int]] = {}
        self.single = False  # whether it is known that its states have no axis of samples

    @all_or_nothing
    def compile_graph(self, *args: PyTree[ArrayLike], **named: Any) -> None:
        """Trace the model for one step's input and create zero traces.

        Call it after the model's states are initialised; again whenever their shapes change.

        Args:
          args: one step's input, `[B, I]` with batched states, `[I]` for single samples.
          named: none: inputs are given in the order of the model's `update`.
        """
        check_named(named)
        args, n_steps = split_steps(args)
        if n_steps is not None:
            args = jax.tree.map(lambda a: a[0], args)
        self.stepped = learned_beginning(self.model, lengths(args)) or self.model
        self._example = jax.eval_shape(lambda *args: args, *args)
        graph = self.make_graph(self._inputs(args))
        self.trace = EligibilityTrace(self.init_traces(graph))  # what has no trace is refused
        self._graph, self._known = graph, [Known(graph, frozenset(), True)]
        self.single = False
        states = self.model.states()
        self._model_states = {
            id(s): [jnp.ndim(leaf) for leaf in jax.tree.leaves(s.value)] for s in states.values()
        }
        starting = {key: s for key, s in self._every_state().items() if starts_anew(s)}
        # By identity: a list of States would give those of the model another name in `states()`.
        self._starting = list(starting)
        # Where a restarted sample begins.
        self.initial = EligibilityTrace(tuple(s.value for s in starting.values()))
        clock, given = jax.tree.map(jnp.asarray, clock_now()), given_clock()
        self.clock = brainstate.ShortTermState(clock)
        # What the environment said last, and whether it did: a State, as a loop or a compiled
        # function meets it more often than Python.
        said = {key: (value, jnp.asarray(key in given)) for key, value in clock.items()}
        self.said = brainstate.ShortTermState(said)
        if isinstance(self.stepped, Beginning):
            self.begun = brainstate.ShortTermState(jnp.zeros(self.stepped.lead, bool))

    def _every_state(self) -> dict[int, brainstate.State]:
        return {id(s): s for s in (*self.graph.states, *self.model.states().values())}

    def make_graph(self, args: tuple[Any, ...], watched: Sequence[Any] = ()) -> Graph:
        """Trace the step as it is: every model can be run and differentiated."""
        return trace_step(self.stepped, args, watched)

    def _inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The step's arguments: the model's own, and who begins."""
        if not isinstance(self.stepped, Beginning):
            return args
        return (*args, jax.ShapeDtypeStruct(self.stepped.lead, bool))

    def extra_leaves(
        self,
        n_steps: int,
        *,
        fresh: bool,
        anew: bool,
        samples: tuple[int, ...] = (),
        reset: Any = None,
        timed: bool = False,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Inputs [K, ...] of the next steps behind the model's own, which say which samples begin
        and what time it is, and the clock, if it is read in the step or `timed`.

        Args:
          fresh: samples whose states are the initial ones begin, whatever has been run before.
          anew: as of `take_clock`.
          samples: how many samples a step is mapped over.
          reset: [K, B] or [K], before which steps samples begin again.
        """
        leaves: tuple[Any, ...] = ()
        if isinstance(self.stepped, Beginning):
            shape = (*samples, *self.stepped.lead)
            initial = dict(zip(self._starting, self.initial.value, strict=True))
            begins = self.stepped.begins(initial, len(shape))
            if not fresh:
                begins &= ~self.begun.value
            self.begun.value = jnp.ones_like(self.begun.value)
            row = jnp.broadcast_to(begins, shape)[None]
            rows = jnp.concatenate([row, jnp.zeros((n_steps - 1, *shape), bool)])
            again = reset is not None and along(reset.astype(bool), rows)
            leaves += (rows | again,)
        clock = self.take_clock(n_steps, anew=anew) if self.graph.clock or timed else {}
        read = {key: clock[key] for key in self.graph.clock}
        cast = jax.tree.map(lambda a, e: jnp.asarray(a, e.dtype), read, dict(self.graph.clock))
        timing = jax.tree.leaves(cast)
        if samples:
            ones = (a.reshape(n_steps, -1)[:, :1] for a in timing)
            timing = [jnp.broadcast_to(a, (n_steps, *samples)) for a in ones]
        return (*leaves, *timing), clock

    def adapt(
        self, watched: Sequence[Any] = (), *, fresh: bool = False, samples: tuple[int, ...] = ()
    ) -> None:
        """Make the graph that of the environment's present settings, and of the states that are
        `watched` after a step. Where `fresh`, the traces are not needed any more."""
        graph = self.graph_for(watched)
        before = self.graph
        if graph is before:
            return
        if not self.same_traces(before, graph):
            if not fresh:
                raise InvalidArgument(
                    "the same settings and the same states in the loss while traces go on",
                    "others, through which credit takes other ways",
                    "Start with fresh=True, or call compile_graph under these settings.",
                )
            self.trace.value = self.init_traces(graph.over_samples(*samples) if samples else graph)
        self._graph = graph

    def same_traces(self, one: Graph, other: Graph) -> bool:
        """Whether the traces of one graph are those of the other."""
        old, new = (jax.eval_shape(lambda g=g: self.init_traces(g)) for g in (one, other))
        return str(old) == str(new)

    def readable(self) -> tuple[Any, ...]:
        """States whose derivative after `update` is that of an output of the step; none where
        those that `window` returns have theirs already."""
        return ()

    def graph_for(self, watched: Sequence[Any] = (), *, credit: bool = True) -> Graph:
        """The graph under the present settings, traced once; without `credit` the plain step."""
        wanted = frozenset(map(id, watched))
        known = sorted(self._known, key=lambda k: k.graph is not self.graph)
        for graph, seen, credited in known:
            if seen == wanted and credited >= credit and settings_are(graph.settings):
                return graph
        with self._of_one_sample():
            make = self.make_graph if credit else lambda *a: trace_step(self.stepped, *a)
            graph = make(self._inputs(self._example), tuple(watched))
        self._known.append(Known(graph, wanted, credit))
        return graph

    def with_graph(self, graph: Graph) -> Self:
        """The same algorithm on another graph of the same model."""
        other = copy.copy(self)
        other._graph = graph
        return other

    @contextmanager
    def _of_one_sample(self) -> Iterator[None]:
        """States as they were when the graph was compiled, without the axis that samples add."""
        before = []
        for state in self.model.states().values():
            compiled = iter(self._model_states.get(id(state), ()))
            value = state.value
            one = jax.tree.map(
                lambda a, c=compiled: a[0] if jnp.ndim(a) > next(c, jnp.ndim(a)) else a, value
            )
            if any(a is not b for a, b in zip(*map(jax.tree.leaves, (one, value)), strict=True)):
                before.append((state, value))
                state.restore_value(one)
        try:
            yield
        finally:
            for state, value in before:
                state.restore_value(value)

    @property
    def graph(self) -> Graph:
        """Which operation feeds which state, and what its trace costs; print it."""
        if self._graph is None:
            raise NotCompiled(
                "a compiled algorithm",
                f"{type(self).__name__} before compile_graph",
                "Call core.initialise(algo, x) with one step's input, or algo.compile_graph(x)"
                " after initialising the states.",
            )
        return self._graph

    @property
    def trace_bytes(self) -> dict[str, int]:
        """Bytes of the eligibility traces carried from step to step, by name."""
        self.graph  # noqa: B018  raises before compile_graph
        return {
            name: sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(trace))
            for name, trace in self.trace.value.items()
        }

    def reset_traces(self) -> None:
        """Zero the traces and their step counters; the model's states are the model's to reset.

        Samples whose states are then the initial ones begin once more, and the clock where the
        environment says.
        """
        self.graph  # noqa: B018  raises before compile_graph
        self.trace.value = jax.tree.map(jnp.zeros_like, self.trace.value)
        self.said.value = {
            key: (last, jnp.zeros_like(told)) for key, (last, told) in self.said.value.items()
        }
        if isinstance(self.stepped, Beginning):
            self.begun.value = jnp.zeros_like(self.begun.value)

    def init_traces(self, graph: Graph) -> dict[str, PyTree[Array]]:
        """Zero traces by name; none unless an algorithm has some."""
        return {}

    # -- the clock

    def take_clock(self, n_steps: int, *, anew: bool) -> dict[str, Any]:
        """`i` and `t` of the next steps, [n_steps, ...], which have then passed: from the last
        call on, or from where the environment says, at each call with `anew`, and else when it
        says something new."""
        given, start, said = given_clock(), dict(self.clock.value), dict(self.said.value)
        for key, (last, told) in said.items():
            value = last
            if key in given:
                value = 0 * last + given[key]  # in the same unit
                (now,), (before,) = jax.tree.leaves(value), jax.tree.leaves(last)
                new = jnp.asarray(anew) | ~told | (now != before)
                start[key] = jax.tree.map(functools.partial(jnp.where, new), value, start[key])
            said[key] = value, jnp.full_like(told, key in given)
        start |= {key: value for key, value in given.items() if key not in said}
        steps = clock_over(start, n_steps)
        ends = {key: jax.tree.map(lambda a: a[-1], steps[key]) for key in said}
        self.said.value = jax.tree.map(_held_as, said, self.said.value)
        self.clock.value = jax.tree.map(_held_as, ends, dict(self.clock.value))
        return jax.tree.map(lambda a: a[:-1], steps)

    # -- states

    def params_and_carry(self) -> tuple[dict[int, Any], Carry]:
        """The parameter arrays by variable; the present states and traces."""
        graph, known = self.graph, self._state_leaves()
        written = (*(h.var for h in graph.hidden), *(v for v, _ in graph.others))
        params, states = ({v: known.pop(v) for v in own} for own in (graph.param_vars, written))
        return params, Carry(states, known, self.trace.value, {})

    def beginning(self) -> dict[int, Any]:
        """What a sample that starts anew begins with, by variable of Graph.restarting."""
        graph = self.graph
        known = graph.arrays(dict(zip(self._starting, self.initial.value, strict=True)))
        return {v: known[v] for v in graph.restarting}

    def set_carry(self, carry: Carry) -> None:
        """Write states and traces back."""
        graph = self.graph
        new = graph.together(dict(carry.states))
        for state, variables in zip(graph.states, graph.state_vars, strict=True):
            if any(v in new for v in variables):
                tree = jax.tree.structure(state.value)
                state.value = jax.tree.unflatten(tree, [new[v] for v in variables])
        self.trace.value = carry.traces

    def _state_leaves(self) -> dict[int, Any]:
        graph = self.graph
        anew = [
            ".".join(map(str, path))
            for path, state in self.model.states().items()
            if id(state) not in self._model_states
        ]
        if anew:
            raise NotCompiled(
                "the states that the graph was compiled with",
                f"new ones: {', '.join(anew)}",
                "Call core.initialise again, or compile_graph after init_all_states, or start again"
                " with brainstate.nn.reset_all_states, which keeps the states. Another algorithm's"
                " core.initialise makes new ones too.",
            )
        values = {id(state): state.value for state in graph.states}
        for state, variables in zip(graph.states, graph.state_vars, strict=True):
            wanted = [graph.program.avals[v] for v in variables]
            leaves = jax.tree.leaves(values[id(state)])
            weight = isinstance(state, brainstate.ParamState)
            pairs = zip(leaves, wanted, strict=False)
            if len(leaves) != len(wanted) or not all(_alike(*pair, weight) for pair in pairs):
                raise NotCompiled(
                    f"{graph.names[variables[0]].split('.')[0]} as it was compiled,"
                    f" {', '.join(a.str_short() for a in wanted)}",
                    ", ".join(jax.typeof(a).str_short() for a in leaves[:4]),
                    "Write values of this shape and dtype, or call compile_graph once more.",
                )
        return graph.arrays(values)


def _held_as(new: Any, old: Any) -> Any:
    """A new value of a State in the shape and dtype that loops carry it in."""
    return jnp.broadcast_to(new, old.shape).astype(old.dtype)


def _alike(a: Any, aval: Any, weight: bool) -> bool:
    """Whether an array of a state is as it was compiled: of its dtype; a weight of any precision,
    of its shape, behind an axis that samples may add."""
    dtype, shape = jax.dtypes.result_type(a), jnp.shape(a)[max(0, jnp.ndim(a) - aval.ndim) :]
    floats = all(jnp.issubdtype(d, jnp.floating) for d in (dtype, aval.dtype))
    return (dtype == aval.dtype or (weight and floats)) and (not weight or shape == aval.shape)
