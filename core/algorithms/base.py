"""What every algorithm shares: compile the graph once, keep the traces, run windows.

An algorithm is a brainstate module around the user's model. Its mathematics is in pure functions
of (params, carry, inputs); `update` only reads and writes the States around them. Calls work under
`brainstate.transform.{jit, grad, scan, vmap_new_states}` and `brainstate.nn.Vmap`.
"""

from __future__ import annotations

import abc
import copy
from typing import Any, NamedTuple

import brainstate
import jax
import jax.numpy as jnp

from core.build import build_graph
from core.data import split_steps
from core.errors import InvalidArgument, NotCompiled
from core.graph import Graph
from core.rollout import Restart, run
from core.step import prelude
from core.traces import EligibilityTrace, trace_bytes

__all__ = ["Arrays", "Carry", "OnlineAlgorithm", "Window", "check_window"]

Arrays = tuple[Any, ...]


class Carry(NamedTuple):
    """What passes from window to window."""

    hidden: tuple[Any, ...]  # one array per Graph.hidden
    others: tuple[Any, ...]  # written states without gradient
    constants: dict[int, Any]  # states that a step only reads, by variable
    traces: Any  # the algorithm's own


class Window(NamedTuple):
    """The steps that an algorithm is given at once."""

    args: tuple[Any, ...]  # leaves of the input, [K, ...]
    fresh: bool = False  # the traces are known to be zero
    keep: bool = True  # whether the traces are wanted at the end
    restart: Restart | None = None  # samples that start anew on the way

    @property
    def goes_on(self) -> Any:
        """Restart.keep: zero where a sample starts anew before a step; None where none does."""
        return None if self.restart is None else self.restart.keep


class OnlineAlgorithm(brainstate.nn.Module, abc.ABC):
    """A model together with the rule that credits its weights.

    Subclasses implement `init_traces` and `window`, both pure.
    """

    def __init__(self, model: Any, mode: Any = None) -> None:
        super().__init__()
        if not isinstance(model, brainstate.nn.Module):
            raise InvalidArgument(
                "a brainstate.nn.Module as model",
                type(model).__name__,
                "Derive the model from brainstate.nn.Module.",
            )
        del mode  # batch axes are read off the shapes
        self.model = model
        self._graph: Graph | None = None
        self._example: Any = None
        self._model_states: frozenset[int] = frozenset()

    # -- set-up

    def compile_graph(self, *args: Any) -> None:
        """Trace the model for one step's input and create zero traces.

        Call it after the model's states are initialised; again whenever their shapes change.

        Args:
          args: one step's input, `[B, I]` with batched states, `[I]` for single samples.
        """
        args, n_steps = split_steps(args)
        if n_steps is not None:
            args = jax.tree.map(lambda a: a[0], args)
        self._graph = self.make_graph(args)
        self._model_states = frozenset(map(id, self.model.states().values()))
        self._example = jax.tree.map(jax.typeof, args)
        self.trace = EligibilityTrace(self.init_traces(self._graph))
        self.initial = EligibilityTrace(self._standing())  # where a restarted sample begins

    def make_graph(self, args: tuple[Any, ...]) -> Graph:
        """Trace the model. Algorithms that need less than D-RTRL's analysis refuse less."""
        return build_graph(self.model, args)

    @property
    def graph(self) -> Graph:
        """Which operation feeds which state, and what its trace costs; print it."""
        if self._graph is None:
            raise NotCompiled(
                "a compiled algorithm",
                f"{type(self).__name__} before compile_graph",
                "Call algo.compile_graph(x) with one step's input after initialising the states.",
            )
        return self._graph

    @property
    def trace_bytes(self) -> dict[str, int]:
        """Bytes of the eligibility traces carried from step to step, by name."""
        self.graph  # noqa: B018  raises before compile_graph
        return trace_bytes(self.trace.value)

    def reset_traces(self) -> None:
        """Zero the traces and their step counters; the model's states are the model's to reset."""
        self.trace.value = jax.tree.map(jnp.zeros_like, self.trace.value)

    # -- running

    def update(self, *args: Any) -> Any:
        """Advance one step, or one window for `MultiStepData`, and return the output(s).

        Differentiate a loss of the output with respect to the model's ParamStates to get the
        algorithm's gradient of this step (or window).
        """
        inputs, n_steps = split_steps(args)
        leaves = self.input_leaves(inputs, n_steps is not None)
        if n_steps is None:
            leaves = tuple(leaf[None] for leaf in leaves)
        start = self.carry()
        self.check_states(start)
        outs, carry = self.window(self.params(), start, Window(leaves))
        self.set_carry(self.settle(carry))
        if n_steps is None:
            outs = tuple(o[0] for o in outs)
        return jax.tree.unflatten(self.graph.out_tree, outs)

    def input_leaves(self, args: Any, multi_step: bool) -> tuple[Any, ...]:
        """Flatten inputs and check them against the compiled shapes."""
        graph = self.graph
        leaves, tree = jax.tree.flatten(args)
        expected, expected_tree = jax.tree.flatten(self._example)
        shapes = [jnp.shape(leaf)[1 if multi_step else 0 :] for leaf in leaves]
        if str(tree) != str(expected_tree) or shapes != [e.shape for e in expected]:
            raise InvalidArgument(
                f"inputs of the compiled shapes {[e.shape for e in expected]} per step",
                f"{shapes}",
                "Call compile_graph again for new shapes, or brainstate.nn.Vmap for a batch.",
            )
        dtypes = [graph.program.avals[v].dtype for v in graph.arg_vars]
        came = [jax.dtypes.result_type(leaf) for leaf in leaves]
        if any(_kind(c) > _kind(d) for c, d in zip(came, dtypes, strict=True)):
            raise InvalidArgument(
                f"inputs of the compiled dtypes {[d.name for d in dtypes]}",
                f"{[c.name for c in came]}",
                "Call compile_graph again with inputs of this dtype.",
            )
        return tuple(jnp.asarray(leaf, d) for leaf, d in zip(leaves, dtypes, strict=True))

    def check_states(self, carry: Carry, samples: tuple[int, ...] = ()) -> None:
        """States have the compiled shapes, behind the axis of `samples` that a step is mapped over.

        Raises:
          InvalidArgument: naming those of another shape.
        """
        wrong = {
            h.name: jnp.shape(value)
            for h, value in zip(self.graph.hidden, carry.hidden, strict=True)
            if jnp.shape(value) != (*samples, *h.shape)
        }
        if wrong:
            wanted = {h.name: (*samples, *h.shape) for h in self.graph.hidden if h.name in wrong}
            raise InvalidArgument(
                f"states of shapes {wanted} for this input",
                f"{wrong}",
                "Call core.initialise with the batch (size and kind) of the input, or call the"
                " algorithm through brainstate.nn.Vmap.",
            )

    def params(self) -> tuple[Any, ...]:
        """The parameter arrays in the graph's order."""
        graph = self.graph
        known = self._state_leaves()
        return tuple(known[v] for v in graph.param_vars)

    def carry(self) -> Carry:
        """The present states and traces."""
        graph, known = self.graph, self._state_leaves()
        hidden = tuple(known.pop(h.var) for h in graph.hidden)
        others = tuple(known.pop(v) for v, _ in graph.others)
        for v in graph.param_vars:
            known.pop(v)
        return Carry(hidden, others, known, self.trace.value)

    def _standing(self) -> tuple[Any, ...]:
        """The present values of what a sample that starts anew begins with."""
        known = self._state_leaves()
        return tuple(known[v] for v in self.graph.restarting)

    def set_carry(self, carry: Carry) -> None:
        """Write states and traces back."""
        graph = self.graph
        new = dict(zip((h.var for h in graph.hidden), carry.hidden, strict=True))
        new.update(zip((v for v, _ in graph.others), carry.others, strict=True))
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
                "Call compile_graph after init_all_states, or start again with"
                " brainstate.nn.reset_all_states, which keeps the states.",
            )
        return {
            v: leaf
            for state, variables in zip(graph.states, graph.state_vars, strict=True)
            for v, leaf in zip(variables, jax.tree.leaves(state.value), strict=True)
        }

    # -- the algorithm

    @abc.abstractmethod
    def init_traces(self, graph: Graph) -> dict[str, Any]:
        """Zero traces by name."""

    @abc.abstractmethod
    def window(self, params: Arrays, carry: Carry, window: Window) -> tuple[Arrays, Carry]:
        """Run the steps of a window.

        Args:
          params: parameter arrays; the outputs are differentiable with respect to them.
          carry: states and traces at the start.

        Returns:
          The leaves of the output [K, ...] and the next carry, to be given to `settle`.
        """

    def settle(self, carry: Carry, gradient: Any = None) -> Carry:
        """Finish what `window` left open in its carry.

        Args:
          carry: of `window`.
          gradient: what has been computed from the old traces, which need not outlive it.
        """
        return carry

    def forward(self, params: Arrays, carry: Carry, window: Window) -> tuple[Arrays, Carry]:
        """The plain steps, with their full derivative; traces stand still."""
        graph = self.graph
        values = prelude(graph, params, carry.constants)
        outs, hidden, others, _ = run(
            graph, values, carry.hidden, carry.others, window.args, window.restart
        )
        return outs, carry._replace(hidden=hidden, others=others)

    @abc.abstractmethod
    def steps_per_window(self, n_steps: int) -> int:
        """How many steps the sequence driver should give to one `window`, at most `n_steps`."""

    def over_samples(self, size: int) -> OnlineAlgorithm:
        """The same algorithm with its pure functions mapped over `size` samples.

        For an algorithm that was compiled for single samples and whose states hold a batch.
        """
        mapped = copy.copy(self)
        mapped._graph = self.graph.over_samples(size)
        return mapped


def _kind(dtype: Any) -> int:
    """Booleans, integers, floats and complex numbers in this order."""
    return next(
        (
            i
            for i, kind in enumerate((jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating))
            if jnp.issubdtype(dtype, kind)
        ),
        0,
    )


def check_window(window: Any, words: tuple[str, ...], name: str = "window") -> int | str:
    """A positive number of steps or one of `words`.

    Raises:
      InvalidArgument: for anything else.
    """
    valid = (
        window in words
        if isinstance(window, str)
        else (isinstance(window, int) and not isinstance(window, bool) and window >= 1)
    )
    if not valid:
        raise InvalidArgument(
            f"{name} to be a positive number of steps"
            + (f" or one of {', '.join(words)}" if words else ""),
            repr(window),
            f"Set {name} accordingly.",
        )
    return window
