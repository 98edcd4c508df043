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
from jax import lax

from core.build import build_graph, join_biases
from core.data import split_steps
from core.derivative import with_derivative
from core.errors import InvalidArgument, NotCompiled
from core.graph import Graph
from core.step import prelude
from core.traces import EligibilityTrace, trace_bytes
from core.window import Derivatives, Perturbation, Record, Restart, derivatives, push, run

__all__ = ["Carry", "OnlineAlgorithm", "WindowedAlgorithm", "check_window", "with_derivative"]


class Carry(NamedTuple):
    """What passes from window to window."""

    hidden: tuple[Any, ...]  # one array per Graph.hidden
    others: tuple[Any, ...]  # written states without gradient
    constants: dict[int, Any]  # states that a step only reads, by variable
    traces: Any  # the algorithm's own


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
        self.initial = EligibilityTrace(self.carry().hidden)  # where a restarted sample begins

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
        outs, carry = self.window(self.params(), self.carry(), leaves)
        self.set_carry(carry)
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
        return tuple(
            jnp.asarray(leaf, graph.program.avals[v].dtype)
            for leaf, v in zip(leaves, graph.arg_vars, strict=True)
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
    def window(
        self,
        params: tuple[Any, ...],
        carry: Carry,
        args: tuple[Any, ...],
        *,
        fresh: bool = False,
        keep: bool = True,
        restart: Restart | None = None,
    ) -> tuple[tuple[Any, ...], Carry]:
        """Run the steps in `args` [K, ...].

        Args:
          params: parameter arrays; the outputs are differentiable with respect to them.
          carry: states and traces at the start.
          args: leaves of the input.
          fresh: the traces are known to be zero.
          keep: whether the traces are wanted at the end.
          restart: samples that start anew on the way.

        Returns:
          The leaves of the output [K, ...] and the next carry.
        """

    def forward(
        self,
        params: tuple[Any, ...],
        carry: Carry,
        args: tuple[Any, ...],
        restart: Restart | None = None,
    ) -> tuple[tuple[Any, ...], Carry]:
        """The plain steps, with their full derivative; traces stand still."""
        graph = self.graph
        values = prelude(graph, params, carry.constants)
        outs, hidden, others, _ = run(graph, values, carry.hidden, carry.others, args, restart)
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


class WindowedAlgorithm(OnlineAlgorithm):
    """Algorithms whose gradient is the derivative of a linear recurrence over the window.

    Subclasses say how the traces advance (`walk`) and how a change of the weights moves the states
    (`direction`).

    Args:
      model: any brainstate module.
      window: steps per window of the sequence driver: a number, "sequence", or "auto": as many as
        keep the step buffers below max(a quarter of the traces, 8 MiB), so that memory is flat in
        the length of the sequence. It changes speed and memory, never the gradient.
      mode: accepted for compatibility; the shapes tell.
    """

    def __init__(self, model: Any, *, window: int | str = "auto", mode: Any = None) -> None:
        super().__init__(model, mode)
        self.window_size = check_window(window, ("auto", "sequence"))

    def make_graph(self, args: tuple[Any, ...]) -> Graph:
        """D-RTRL's analysis of the model, biases with their operations."""
        return join_biases(build_graph(self.model, args))

    def steps_per_window(self, n_steps: int) -> int:
        if self.window_size == "sequence":
            return n_steps
        if self.window_size != "auto":
            return min(int(self.window_size), n_steps)
        budget = max(sum(self.trace_bytes.values()) / 4, 8 * 2**20)
        most = max(1, int(budget / self.graph.step_bytes()))
        if most >= n_steps:
            return n_steps
        # A window that divides the sequence needs one compiled body instead of two.
        divisors = [k for k in range(1, most + 1) if n_steps % k == 0]
        return divisors[-1] if 2 * divisors[-1] > most else most

    def values_and_weights(
        self, params: tuple[Any, ...], carry: Carry
    ) -> tuple[dict[int, Any], tuple[Any, ...]]:
        """What the step reads of parameters and constants, and the weights among it."""
        values = prelude(self.graph, params, carry.constants)
        return values, tuple(values[v] for v in self.graph.weights)

    def window(
        self,
        params: tuple[Any, ...],
        carry: Carry,
        args: tuple[Any, ...],
        *,
        fresh: bool = False,
        keep: bool = True,
        restart: Restart | None = None,
    ) -> tuple[tuple[Any, ...], Carry]:
        graph = self.graph
        values, weights = self.values_and_weights(params, carry)
        fixed, start, inputs = lax.stop_gradient((values, carry, args))
        if fresh:
            start = start._replace(traces=None)
        outs, after, record, past = self.walk(graph, fixed, start, inputs, keep, restart)
        local = derivatives(graph, fixed, record, None if restart is None else restart.keep)
        real = [i for i, o in enumerate(outs) if jnp.issubdtype(o.dtype, jnp.inexact)]

        def tangent(residual: Any, moved: tuple[dict[int, Any], dict[int, Any]]) -> Any:
            fixed, record, local, past = residual
            d_out = push(
                graph,
                fixed,
                record,
                self._perturbation(fixed, record, local, past, moved[0]),
                moved[1],
            )
            return tuple(d_out[i] for i in real)

        credited = with_derivative(
            tangent,
            tuple(outs[i] for i in real),
            (fixed, record, local, past),
            (dict(zip(graph.weights, weights, strict=True)), dict(enumerate(args))),
        )
        by_position = dict(enumerate(outs)) | dict(zip(real, credited, strict=True))
        outs = tuple(by_position.values())
        return outs, after if keep else after._replace(traces=carry.traces)

    def _perturbation(
        self, values: Any, record: Any, local: Derivatives, past: Any, d_weights: dict[int, Any]
    ) -> Perturbation:
        """`direction` in the shapes of the graph's own arrays."""
        graph = self.graph
        dh, dq = self.direction(graph, local, past, d_weights)
        operations = [op for op in graph.operations if op.trainable]
        split = len(operations)
        return Perturbation(
            tuple(dh[i].reshape(record.hidden[i].shape) for i in graph.live),
            tuple(op.native_y(q) for op, q in zip(operations, dq[:split], strict=True)),
            tuple(
                q.reshape(record.n_steps, *p.shape)
                for p, q in zip(graph.parameters, dq[split:], strict=True)
            ),
            tuple(d_weights.get(v, jnp.zeros_like(values[v])) for v in graph.plain),
        )

    @abc.abstractmethod
    def walk(
        self,
        graph: Graph,
        values: dict[int, Any],
        start: Carry,
        args: tuple[Any, ...],
        keep: bool,
        restart: Restart | None,
    ) -> tuple[tuple[Any, ...], Carry, Record, Any]:
        """Run the window forward and bring the traces along.

        Args:
          values: what the step reads of parameters and constants.
          start: its traces are None when they are zero.
          keep: whether the traces are wanted at the end.

        Returns:
          Outputs, the carry at the end, the record, and what `direction` needs of the past.
        """

    @abc.abstractmethod
    def direction(
        self, graph: Graph, local: Derivatives, past: Any, d_weights: dict[int, Any]
    ) -> tuple[dict[int, Any], list[Any]]:
        """How a change of the weights moves the network, linear in `d_weights`.

        Args:
          local: derivatives of every step.
          past: from `walk`.
          d_weights: by weight variable; a weight that does not change is missing.

        Returns:
          dh_tm1 by hidden array, [K, lead, n]; dy by source, [K, lead, width].
        """


def check_window(window: Any, words: tuple[str, ...]) -> int | str:
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
            "window to be a positive number of steps"
            + (f" or one of {', '.join(words)}" if words else ""),
            repr(window),
            "Set window accordingly.",
        )
    return window
