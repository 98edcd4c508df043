"""An algorithm's pure functions over a sequence, mapped over its samples where it needs that."""

from __future__ import annotations

from typing import Any

import brainstate
import jax
import jax.numpy as jnp

from core.algorithms.base import Carry, OnlineAlgorithm, Window
from core.data import leading
from core.errors import InvalidArgument
from core.graph import Graph
from core.rollout import Restart

__all__ = ["Stepper"]


class Stepper:
    """An algorithm's pure functions, mapped over the batch when it was compiled for one sample."""

    def __init__(self, algo: OnlineAlgorithm, xs: Any) -> None:
        self.params, self.carry = algo.params(), algo.carry()
        graph, leaves = algo.graph, jax.tree.leaves(xs)
        compiled = [graph.program.avals[v].ndim for v in graph.arg_vars]
        extra = {jnp.ndim(leaf) - 1 - n for leaf, n in zip(leaves, compiled, strict=False)}
        if extra not in ({0}, {1}):
            raise InvalidArgument(
                f"input axes [T, ...] or [T, B, ...] over the compiled {compiled} axes a step",
                f"shapes {[jnp.shape(leaf) for leaf in leaves]}",
                "Put time first, then the batch.",
            )
        self.n_steps = leading(xs)
        if self.n_steps < 1:
            raise InvalidArgument("a sequence of at least one step", "none", "Put time first.")
        mapped = extra == {1}
        sample = jax.tree.map(lambda a: a[:, 0], xs) if mapped else xs
        dtypes = [arg.dtype for arg in algo.input_leaves((sample,), True)]
        self.args = tuple(jnp.asarray(a, d) for a, d in zip(leaves, dtypes, strict=True))
        samples = (leaves[0].shape[1],) if mapped else ()
        algo.check_states(self.carry, samples)
        if mapped:
            self._check_shared(graph)
            algo = algo.over_samples(*samples)
        self.algo = algo

    @property
    def trained(self) -> tuple[Any, ...]:
        """The parameter arrays that are differentiated: floats."""
        graph = self.algo.graph
        return tuple(
            p for v, p in zip(graph.param_vars, self.params, strict=True) if v in graph.trained
        )

    def params_with(self, trained: tuple[Any, ...]) -> tuple[Any, ...]:
        """All parameter arrays, with others in place of the trained ones."""
        graph = self.algo.graph
        new = dict(zip(graph.trained, trained, strict=True))
        return tuple(new.get(v, p) for v, p in zip(graph.param_vars, self.params, strict=True))

    def _check_shared(self, graph: Graph) -> None:
        """A written state that the samples share has no one value after a mapped step."""
        shared = [
            graph.names[v]
            for (v, _), value in zip(graph.others, self.carry.others, strict=True)
            if jnp.ndim(value) == graph.program.avals[v].ndim
        ]
        if shared:
            raise InvalidArgument(
                "every state that a step writes to hold the batch",
                f"{', '.join(shared)}, which the samples share",
                "Create it inside vmap_new_states (core.initialise does), or batch manually.",
            )

    def window(
        self, params: Any, carry: Carry, args: Any, kept: Any, *, fresh: bool, keep: bool
    ) -> Any:
        """`algo.window`; `kept` [K, B] or None says where samples go on."""
        restart = None if kept is None else Restart(kept, self.algo.initial.value)
        return self.algo.window(params, carry, Window(args, fresh, keep, restart))

    def named(self, grads: tuple[Any, ...]) -> dict[Any, Any]:
        """Gradient arrays as the values of the model's ParamStates."""
        graph = self.algo.graph
        by_var = dict(zip(graph.trained, grads, strict=True))
        by_state = {
            id(state): jax.tree.unflatten(
                jax.tree.structure(state.value),
                [
                    by_var[v] if v in by_var else jnp.zeros_like(leaf)
                    for v, leaf in zip(variables, jax.tree.leaves(state.value), strict=True)
                ],
            )
            for state, variables in zip(graph.states, graph.state_vars, strict=True)
            if isinstance(state, brainstate.ParamState)
        }
        return {
            path: by_state.get(id(state), jax.tree.map(jnp.zeros_like, state.value))
            for path, state in self.algo.model.states(brainstate.ParamState).items()
        }
