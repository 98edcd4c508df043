"""Algorithms whose gradient is the derivative of a linear recurrence over a window of steps."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import brainstate
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PyTree

from core.algorithms.base import Arrays, OnlineAlgorithm, Params, check_window
from core.analysis.build import build_graph, join_biases
from core.analysis.graph import Graph
from core.equations.differential import is_real
from core.errors import NotRepresentable
from core.execution.derivative import with_derivative, without_derivative
from core.execution.feedback import Feedback
from core.execution.rollout import Carry, Record, Window, run
from core.execution.step import Values, prelude
from core.execution.window import Derivatives, Moved, derivatives, push

T = TypeVar("T")


# Where a loop costs the same however little a step computes, a window may always take so much.
ACCELERATOR_BUFFER = 2**27


def once_a_graph(find: Callable[[Any, Graph], T]) -> Callable[[Any, Graph], T]:
    """A method that finds something of the graph of a single sample, looked for once a graph."""

    @functools.wraps(find)
    def found(self: WindowedAlgorithm, graph: Graph) -> T:
        own = graph.sample or graph
        value: Any
        known, value = self._once.get(find.__name__, (None, None))
        if known is not own:
            value = find(self, own)
            if not any(isinstance(a, jax.core.Tracer) for a in jax.tree.leaves(value)):
                self._once[find.__name__] = own, value
        return value

    return found


class WindowedAlgorithm(OnlineAlgorithm):
    """Algorithms whose gradient is the derivative of a linear recurrence over the window.

    Subclasses say how the traces follow a window (`follow`) and how a change of the weights moves
    the states (`direction`).

    Args:
      model: any brainstate module.
      window: steps per window of the sequence driver: a number, "sequence", or "auto": as many as
        keep the step buffers near max(a quarter of the traces, `least_buffer`; 128 MiB on a GPU),
        so that memory is flat in the length of the sequence. It changes speed and memory, never the
        gradient.
      feedback: as of D-RTRL.
      seed: as of D-RTRL.
      mode: as of D-RTRL.

    Attributes:
      least_buffer: bytes of step buffers that a window may always take. Large for a trace that is
        as costly to advance as a step, and best not carried at all.
    """

    least_buffer = 8 * 2**20

    def __init__(
        self,
        model: Any,
        *,
        window: int | str = "auto",
        feedback: str = "symmetric",
        seed: int = 0,
        mode: Any = None,
    ) -> None:
        super().__init__(model, mode)
        self.feedback = Feedback(feedback, seed)
        self.window_size = check_window(window, ("auto", "sequence"))
        self._once: dict[str, tuple[Graph, Any]] = {}

    def make_graph(self, args: tuple[Any, ...], watched: Sequence[Any] = ()) -> Graph:
        """D-RTRL's analysis of the model, biases with their operations."""
        return join_biases(build_graph(self.stepped, args, watched))

    def readable(self) -> tuple[Any, ...]:
        plain = self.graph_for()
        return tuple(plain.states[i] for i in self._readable(plain))

    @once_a_graph
    def _readable(self, plain: Graph) -> list[int]:
        """Places of the HiddenStates whose derivative the plain graph's traces give: of all, or of
        those in groups."""
        hidden = {h.var for h in plain.hidden}
        grouped = {plain.hidden[s].var for group in plain.groups for s in group.states}
        for variables in (hidden, grouped):
            chosen = [
                i
                for i, (state, own) in enumerate(zip(plain.states, plain.state_vars, strict=True))
                if isinstance(state, brainstate.HiddenState)
                and variables.issuperset(p for v in own for p in plain.parts.get(v, (v,)))
            ]
            with suppress(NotRepresentable):  # of a state that nothing but a loss would read
                if self.same_traces(plain, self.graph_for([plain.states[i] for i in chosen])):
                    return chosen
        return []

    def steps_per_window(self, n_steps: int) -> int:
        if self.window_size != "auto":
            return super().steps_per_window(n_steps)
        budget = max(sum(self.trace_bytes.values()) / 4, self.least_buffer)
        if jax.default_backend() != "cpu":
            budget = max(budget, ACCELERATOR_BUFFER)
        held = self.traced(self.graph).step_bytes()  # nothing of a step without credit
        most = max(1, int(budget / max(1, held)))
        if most >= n_steps:
            return n_steps
        # A window that divides the sequence needs one compiled body instead of two: a shorter one,
        # or one that is longer by up to a quarter.
        divisors = [k for k in range(most // 2 + 1, most + most // 4 + 1) if n_steps % k == 0]
        return max(divisors, key=lambda k: (k <= most, k), default=most)

    def traced(self, graph: Graph) -> Graph:
        """The graph as traces see it: a rule that follows more of a neuron adds components."""
        return graph

    def values_and_weights(
        self, params: Params, carry: Carry
    ) -> tuple[dict[int, Any], dict[int, Any]]:
        """What the step reads of parameters and constants, and the weights among it."""
        values = prelude(self.graph, params, carry.constants)
        for op in self.graph.operations:
            for v in op.weights:
                if jnp.ndim(values[v]) > self.graph.program.avals[v].ndim:
                    raise NotRepresentable(
                        "one weight for all samples",
                        f"{op.name}, made with a state that differs from sample to sample",
                        "Create that state outside of vmap_new_states, or train with core.BPTT.",
                    )
        return values, {v: values[v] for v in self.graph.weights}

    def window(self, params: Params, carry: Carry, window: Window) -> tuple[Arrays, Carry]:
        graph = self.graph
        values, weights = self.values_and_weights(params, carry)
        inputs = dict(zip(graph.arg_vars, window.args, strict=True))
        fixed, start, args = lax.stop_gradient((values, carry, window.args))
        outs, after, record = run(graph, fixed, start, replace(window, args=args))
        local, n_steps = self.linearised(fixed, record, window.keep), record.n_steps
        old = None if window.alone else window.past(start.traces)
        traces, past = self.follow(graph, local, old)
        real = {i: o for i, o in enumerate(outs) if is_real(o)}

        def tangent(residual: Any, moved: tuple[dict[int, Any], dict[int, Any]]) -> Any:
            if moved[1] and n_steps > 1 and graph.live:
                raise NotRepresentable(
                    "a derivative with respect to weights, over several steps at once",
                    "one with respect to the inputs, whose credit in time has no trace",
                    "Make what the inputs come from part of the model, call the algorithm step by"
                    " step, or use core.BPTT.",
                )
            backwards, record, local, past = residual
            dh, dy = self.direction(graph, local, past, moved[0])
            d_out = push(graph, backwards, record, dh, dy, *moved)
            return {i: d_out[i] for i in real}

        backwards = self.feedback.of(graph, fixed)
        variables, residual = (weights, inputs), (backwards, record, local, past)
        credited = with_derivative(tangent, real, residual, variables)
        outs = tuple(credited.get(i, o) for i, o in enumerate(outs))
        states = after.states | {
            h.var: without_derivative(h.name, after.states[h.var], variables) for h in graph.hidden
        }
        traces = carry.traces if window.alone else traces
        return outs, start._replace(states=states, traces=traces)

    def linearised(self, values: Any, record: Record, keep: Any) -> Derivatives:
        """Element-wise derivatives of every step of a window."""
        return derivatives(self.graph, values, record, keep)

    @abc.abstractmethod
    def follow(self, graph: Graph, local: Derivatives, traces: PyTree) -> tuple[PyTree, PyTree]:
        """Follow a window with the traces.

        Args:
          local: derivatives of every step.
          traces: where the window begins; None when they are zero, and not wanted at the end.

        Returns:
          The traces at the end, and what `direction` needs of the past.
        """

    @abc.abstractmethod
    def direction(self, graph: Graph, local: Derivatives, past: PyTree, d_weights: Values) -> Moved:
        """How a change of the weights moves the network, linear in `d_weights`.

        Args:
          local: derivatives of every step.
          past: from `follow`.
          d_weights: by weight variable; a weight that does not change is missing.

        Returns:
          dh_tm1 by hidden array, [K, lead, n]; dy by source, [K, lead, width].
        """
