"""An algorithm's pure functions over a sequence, mapped over its samples where it needs that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import brainstate
import jax
import jax.numpy as jnp

from core.algorithms.base import OnlineAlgorithm, Params
from core.analysis.graph import Graph
from core.data import check_numbers, lengths
from core.drivers.losses import Losses, StepLoss
from core.equations.program import aval_of
from core.errors import InvalidArgument, check_flags
from core.execution.derivative import once
from core.execution.rollout import Carry


def check_samples(xs: Any) -> None:
    """Refuse arrays without an element, and what is no array."""
    check_numbers("inputs", xs)
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(xs)]
    if any(0 in shape for shape in shapes):
        raise InvalidArgument(
            "at least one step, one sample and one number in each",
            f"shapes {shapes}",
            "Leave out what is empty.",
        )


class Stepper:
    """A sequence for an algorithm: how many steps and samples it has, and its functions for them.

    An algorithm that was compiled for single samples is mapped over the batch. After `losses` the
    functions are those of the graph that the loss and the environment need.

    Attributes:
      n_steps: T.
      samples: (B,) when the step is mapped over the samples, else ().
    """

    def __init__(self, algo: OnlineAlgorithm, xs: Any) -> None:
        check_samples(xs)
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(xs)]
        compiled = [algo.graph.program.avals[v].ndim for v in algo.graph.arg_vars]
        pairs = zip(shapes, compiled, strict=False)
        leads = {shape[: max(0, len(shape) - n)] for shape, n in pairs}
        lead = leads.pop() if len(leads) == 1 else ()
        if len(lead) not in (1, 2):
            raise InvalidArgument(
                "inputs of one number of steps, and of samples, [T, ...] or [T, B, ...] over the"
                f" compiled {compiled} axes a step",
                f"shapes {shapes}",
                "Put time first, then the batch, and cut or pad them.",
            )
        self.n_steps, self.samples = lead[0], lead[1:]
        self.args = algo.input_leaves((xs,), len(lead))
        self.algo = algo.over_samples(*self.samples) if self.samples else algo
        self.owner = algo

    def adapt(self, loss: StepLoss, *, fresh: bool, credit: bool = True) -> Losses:
        """Look at the loss, and take the graph that it and the environment's settings need; without
        `credit` the step as it is will do."""
        per_step = False if loss.per_step is None else loss.per_step
        check_flags(fresh=fresh, has_aux=loss.has_aux, per_step_targets=per_step)
        check_numbers("targets", loss.targets)
        leads = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(loss.targets)}
        if loss.per_step and leads - {(self.n_steps,)}:  # a longer one would be cut unnoticed
            raise InvalidArgument(
                f"per-step targets of {self.n_steps} steps, as the input",
                f"leading axes {sorted(leads)}",
                "Put time first in all of them, or take per_step_targets=False.",
            )
        algo = self.owner
        graph = algo.graph_for(credit=False)
        # The clock is one and the same for all samples.
        now = jax.tree.map(lambda a: jax.ShapeDtypeStruct((), a.dtype), dict(algo.clock.value))
        outputs = graph.out_atoms[: graph.out_tree.num_leaves]
        avals = [aval_of(graph.program.avals, a) for a in outputs]
        structs = [jax.ShapeDtypeStruct((*self.samples, *a.shape), a.dtype) for a in avals]
        if loss.per_step is None:
            self._check_constant(loss.targets, structs)
        out = jax.tree.unflatten(graph.out_tree, structs)
        found = Losses(loss, out, algo.model.states(), now)
        if credit:
            found.check_differentiable()
            algo.adapt(found.watched, fresh=fresh, samples=self.samples)
        else:
            algo = algo.with_graph(algo.graph_for(found.watched, credit=False))
        self.owner = algo
        return found

    def _check_constant(self, targets: Any, outs: Sequence[jax.ShapeDtypeStruct]) -> None:
        """An axis of time would be broadcast against the outputs without a word."""
        shapes = [a.shape for a in outs]
        for leaf in jax.tree.leaves(targets):
            given, classes = jnp.shape(leaf), jnp.issubdtype(jnp.result_type(leaf), jnp.integer)
            a_step = [*shapes, *(shape[:-1] for shape in shapes if classes)]
            if given[:1] == (self.n_steps,) and given[1:] in a_step and given not in a_step:
                raise InvalidArgument(
                    "per_step_targets to be said of targets that may have an axis of time",
                    f"targets {given} beside {self.n_steps} outputs {shapes}",
                    "per_step_targets=True takes one of them a step, False gives all of them to"
                    " each.",
                )

    def losses(
        self, loss: StepLoss, reset: Any = None, *, fresh: bool, credit: bool = True
    ) -> Losses:
        """As `adapt`, and begin: states, parameters and clock are taken as they are now."""
        found = self.adapt(loss, fresh=fresh, credit=credit)
        algo = self.owner
        self.params, self.carry = algo.params_and_carry()
        self.algo = algo.over_samples(*self.samples) if self.samples else algo
        self.algo.check_states(self.carry)
        extra, clock = algo.extra_leaves(
            self.n_steps, fresh=fresh, anew=fresh, samples=self.samples, reset=reset,
            timed=found.reads_clock,
        )  # fmt: skip
        self.args += extra
        if credit and not algo.differentiable:
            self.params, self.carry, self.args = once((self.params, self.carry, self.args))
        self.clock = jax.tree.map(lambda a: a.reshape(self.n_steps, -1)[:, 0], clock)
        if self.samples:
            self._check_shared(algo.graph)
        return found

    @property
    def batch(self) -> int | None:
        """B, when the input has an axis for it."""
        single = self.owner.single and not self.samples
        return None if single else next(iter(lengths(self.args, 1)), None)

    @property
    def trained(self) -> dict[int, Any]:
        """The parameter arrays that are differentiated, floats, by variable."""
        return {v: self.params[v] for v in self.algo.graph.trained}

    def seen(
        self, params: Params, carry: Carry, outs: tuple[Any, ...]
    ) -> tuple[Any, dict[int, list[tuple[Any, bool]]]]:
        """What a loss sees of a window: the outputs [K, ...], and by id the arrays of the
        model's states, and whether they have steps, [K, ...]."""
        graph = self.algo.graph
        n = graph.out_tree.num_leaves
        known = {v: (a, False) for v, a in {**carry.constants, **params}.items()}
        known |= {v: (a, True) for v, a in zip(graph.shown, outs[n:], strict=True)}
        values = {
            id(state): [known[v] for v in variables]
            for state, variables in zip(graph.states, graph.state_vars, strict=True)
            if all(v in known for v in variables)
        }
        return jax.tree.unflatten(graph.out_tree, outs[:n]), values

    def _check_shared(self, graph: Graph) -> None:
        """A written state that the samples share has no one value after a mapped step."""
        shared = [
            graph.names[v]
            for v, _ in graph.others
            if jnp.ndim(self.carry.states[v]) == graph.program.avals[v].ndim
        ]
        if shared:
            raise InvalidArgument(
                "every state that a step writes to hold the batch",
                f"{', '.join(shared)}, which the samples share",
                'Batch manually: core.initialise(..., batching="manual"); or create it in'
                " init_state, so that each sample has its own.",
            )

    def named(self, grads: dict[int, Any]) -> dict[Any, Any]:
        """Gradient arrays as the values of the model's ParamStates."""
        graph, found = self.algo.graph, {}
        of = dict(zip(map(id, graph.states), graph.state_vars, strict=True))
        for path, state in self.algo.model.states(brainstate.ParamState).items():
            leaves, tree = jax.tree.flatten(state.value)
            own = of.get(id(state), (None,) * len(leaves))  # None of what the step does not read
            pairs = zip(own, leaves, strict=True)
            made = [grads[v] if v in grads else jnp.zeros_like(leaf) for v, leaf in pairs]
            found[path] = jax.tree.unflatten(tree, made)
        return found
