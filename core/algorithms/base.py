"""What every algorithm shares: compile the graph once, keep the traces, run windows.

An algorithm is a brainstate module around the user's model. Its mathematics is in pure functions
of (params, carry, inputs); `update` only reads and writes the States around them. Calls work under
`brainstate.transform.{jit, grad, scan, vmap_new_states}` and `brainstate.nn.Vmap`.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Self

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, PyTree

from core.algorithms.compiled import Compiled, Known, all_or_nothing, check_named
from core.analysis.beginning import Beginning, learned_beginning
from core.analysis.graph import Graph
from core.data import MultiStepData, SingleStepData, split_steps
from core.errors import InvalidArgument, NotRepresentable, is_whole
from core.execution.axes import over_windows
from core.execution.derivative import differentiated_once
from core.execution.rollout import Carry, Window, run
from core.execution.step import prelude

Arrays = tuple[Array, ...]
Params = Mapping[int, Array]  # by variable


class OnlineAlgorithm(Compiled):
    """A model together with the rule that credits its weights.

    Subclasses implement `window`, and `init_traces` if they carry any; both are pure.

    Attributes:
      differentiable: whether the gradient of a sequence may be differentiated again.
      window_size: steps that the sequence driver gives to one `window`, or "sequence" for all.
    """

    differentiable = False
    window_size: int | str = "sequence"

    @all_or_nothing
    def update(
        self, *args: PyTree[ArrayLike] | SingleStepData | MultiStepData, **named: Any
    ) -> PyTree[Array]:
        """Advance one step, or one window for `MultiStepData`, and return the output(s).

        Differentiate a loss of the output, and of the states after it, with respect to the model's
        ParamStates to get the algorithm's gradient of this step (or window). The states before it
        count as constants: what they owe to the weights is in the traces.
        """
        check_named(named)
        inputs, n_steps = split_steps(args)
        self.graph  # noqa: B018  raises before compile_graph
        leaves = self.input_leaves(inputs, 0 if n_steps is None else 1)
        self.adapt(self.readable())
        if n_steps is None:
            leaves = tuple(leaf[None] for leaf in leaves)
        params, start = self.params_and_carry()
        self.check_states(start)
        leaves += self.extra_leaves(n_steps or 1, fresh=False, anew=True)[0]
        outs, carry = self.window(params, start, Window(leaves))
        graph, n = self.graph, self.graph.out_tree.num_leaves
        seen = graph.apart({v: a[-1] for v, a in zip(graph.shown, outs[n:], strict=True)})
        states = {v: seen.get(v, new) for v, new in carry.states.items()}
        self.set_carry(self.settle(carry._replace(states=states)))
        outs = outs[:n] if n_steps else tuple(o[0] for o in outs[:n])
        return jax.tree.unflatten(graph.out_tree, outs)

    def input_leaves(self, args: PyTree[ArrayLike], axes: int) -> Arrays:
        """Flatten inputs and check them against the compiled shapes behind so many `axes`."""
        leaves, tree = jax.tree.flatten(args)
        expected, expected_tree = jax.tree.flatten(self._example)
        shapes, wanted = [jnp.shape(leaf)[axes:] for leaf in leaves], [e.shape for e in expected]
        if str(tree) != str(expected_tree):
            raise InvalidArgument(
                f"inputs of the compiled structure and units {expected_tree}",
                f"{tree}",
                "Give the same, or call compile_graph again.",
            )
        if shapes != wanted:
            raise InvalidArgument(
                f"inputs of the compiled shapes {wanted} per step",
                f"{shapes}",
                ("Put time first, then the batch. " if axes else "")
                + "Call compile_graph again for new shapes, or brainstate.nn.Vmap for a batch.",
            )
        graph = self.graph
        dtypes = [graph.program.avals[v].dtype for v in graph.arg_vars[: len(expected)]]
        if any(jax.dtypes.canonicalize_dtype(d) != d for d in dtypes):
            raise InvalidArgument(
                "the jax_enable_x64 under which the model was compiled",
                "another, without 64 bits",
                "Switch it on again, or make model and states anew.",
            )
        came = [jax.dtypes.result_type(leaf) for leaf in leaves]
        if any(_kind(c) > _kind(d) for c, d in zip(came, dtypes, strict=True)):
            raise InvalidArgument(
                f"inputs of the compiled dtypes {[d.name for d in dtypes]}",
                f"{[c.name for c in came]}",
                "Call compile_graph again with inputs of this dtype.",
            )
        return tuple(jnp.asarray(leaf, d) for leaf, d in zip(leaves, dtypes, strict=True))

    def check_states(self, carry: Carry) -> None:
        """Refuse states of other than the graph's shapes."""
        came = {h: jnp.shape(carry.states[h.var]) for h in self.graph.hidden}
        wrong = [h for h, shape in came.items() if shape != h.shape]
        if wrong:
            raise InvalidArgument(
                f"states of shapes { {h.name: h.shape for h in wrong} } for this input",
                {h.name: came[h] for h in wrong},
                "Put time first, then the batch. Call core.initialise with the batch (size and"
                " kind) of the input, or call the algorithm through brainstate.nn.Vmap.",
            )

    # -- the algorithm

    @abc.abstractmethod
    def window(self, params: Params, carry: Carry, window: Window) -> tuple[Arrays, Carry]:
        """Run the steps of a window.

        Args:
          params: parameter arrays; the outputs are differentiable with respect to them.
          carry: states and traces at the start.

        Returns:
          The leaves of the output [K, ...] and the next carry, to be given to `settle`.
        """

    def settle(self, carry: Carry, gradient: PyTree = None) -> Carry:
        """Finish what `window` left open in its carry, once `gradient` has been computed from the
        old traces, which need not outlive it."""
        return carry

    def hold_traces(self, traces: PyTree, steps: int | None) -> PyTree:
        """Traces as they are best carried while windows of `steps` steps follow one another; None
        for when they are over."""
        return traces

    def forward(self, params: Params, carry: Carry, window: Window) -> tuple[Arrays, Carry]:
        """The plain steps, with their full derivative; traces stand still."""
        values = prelude(self.graph, params, carry.constants)
        return run(self.graph, values, carry, window)[:2]

    def step_by_step(
        self, one: Any, params: Params, carry: Carry, window: Window
    ) -> tuple[Arrays, Carry]:
        """A window as steps of their own, each by `one` from a carry that counts as constant."""
        if window.n_steps > 1:  # how a carry moves with what came before is not in the derivative
            params, args = differentiated_once((params, window.args))
            window = replace(window, args=args)
        if window.alone:
            zero = jax.tree.map(jnp.zeros_like, carry.traces)
            carry, window = carry._replace(traces=zero), replace(window, alone=False)

        def tick(state: Any, window: Window) -> Any:
            outs, new = one(params, lax.stop_gradient(carry._replace(**state)), window)
            return {"states": new.states, "traces": new.traces}, outs

        state = {"states": carry.states, "traces": carry.traces}
        state, outs = over_windows(tick, state, window, 1)
        return outs, carry._replace(**state)

    def __copy__(self) -> Self:
        """An algorithm of its own around the same model."""
        other: Any = object.__new__(type(self))
        vars(other).update(vars(self))
        return other

    def __reduce_ex__(self, protocol: Any) -> Any:
        """For pickle, which brainstate's modules do not allow."""
        raise InvalidArgument(
            "the states of a learner to be saved",
            f"a {type(self).__name__} itself, to be pickled",
            "Save {path: state.value for path, state in"
            " brainstate.graph.states((algo, optimizer)).items()}, and write the values into an"
            " algorithm and an optimizer that have been made alike.",
        )

    def __deepcopy__(self, memo: Any) -> Self:
        """Around a model of its own; both go on from where these are. What brainstate's modules do
        not copy knows the States of the model by identity."""
        other = super().__deepcopy__(memo)
        if self._graph is None:
            return other
        own = other.states()
        new = {id(state): own[path] for path, state in self.states().items()}

        def ids(old: Iterable[int]) -> Iterator[int]:
            return (id(new[i]) if i in new else i for i in old)

        def of(graph: Graph) -> Graph:
            return replace(graph, states=tuple(new.get(id(s), s) for s in graph.states))

        other._known = [
            Known(of(g), frozenset(ids(seen)), credit) for g, seen, credit in self._known
        ]
        present = [known.graph is self._graph for known in self._known].index(True)
        other._graph = other._known[present].graph
        other._starting = list(ids(self._starting))
        other._model_states = dict(
            zip(ids(self._model_states), self._model_states.values(), strict=True)
        )
        if isinstance(self.stepped, Beginning):
            with other._of_one_sample():
                other.stepped = learned_beginning(other.model, self.stepped.lead)
        return other

    def steps_per_window(self, n_steps: int) -> int:
        """How many steps the sequence driver should give to one `window`, at most `n_steps`."""
        return n_steps if self.window_size == "sequence" else min(int(self.window_size), n_steps)

    def over_samples(self, size: int) -> Self:
        """The same algorithm, compiled for single samples, with its pure functions mapped over
        `size`."""
        for eqn in self.graph.one_by_one:
            if "callback" not in eqn.name:
                raise NotRepresentable(
                    "operations that jax.vmap can map, for a step that is mapped over the batch",
                    f"{eqn.name} at {eqn.source}",
                    'Batch manually: core.initialise(..., batching="manual").',
                )
        return self.with_graph(self.graph.over_samples(size))


def _kind(dtype: Any) -> int:
    """Booleans, integers, floats and complex numbers in this order."""
    kinds = (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating)
    return next((i for i, kind in enumerate(kinds) if jnp.issubdtype(dtype, kind)), 0)


def check_window(window: Any, words: tuple[str, ...], name: str = "window") -> int | str:
    """A positive number of steps or one of `words`, or it is refused."""
    if not (is_whole(window, 1) or (isinstance(window, str) and window in words)):
        raise InvalidArgument(
            f"{name} to be a positive number of steps"
            + (f" or one of {', '.join(words)}" if words else ""),
            repr(window),
            f"Set {name} accordingly.",
        )
    return window
