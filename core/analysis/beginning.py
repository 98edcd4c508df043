"""Learned initial states: how HiddenStates begin with parameters that `init_state` reads.

A model whose `init_state` reads a ParamState begins with h_0(theta). Its step is then taken with
that beginning as the first operation: where a sample begins, the state that it reads is h_0(theta).
To every algorithm this is a parameter that reaches a state element by element, at that step alone,
so D-RTRL and ES-D-RTRL start its trace with dh_0/dtheta.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
from brainstate._state import TRACE_CONTEXT  # who is told of new states has no public name
from jax.extend import core as jex

from core.equations.links import reached
from core.equations.program import flatten_jaxpr
from core.errors import NotRepresentable


@dataclass(frozen=True, eq=False)
class Beginning:
    """A model that begins with its parameters; `update` takes who begins as a last argument."""

    model: Any
    hidden: Sequence[Any]  # those HiddenStates that depend on parameters
    values: Callable[[], Any]  # their initial values, of the parameters as they are now
    lead: tuple[int, ...]  # axes of the samples in the states, (B,) or ()

    def states(self, *filters: Any) -> Any:
        return self.model.states(*filters)

    def update(self, *args: Any) -> Any:
        """The model's own, from states that begin where the last argument, of shape lead, is."""
        *given, begins = args

        def chosen(new: Any, old: Any) -> Any:
            axes = tuple(range(begins.ndim, jnp.ndim(old)))
            return jnp.where(jnp.expand_dims(begins, axes), new, old)

        for state, initial in zip(self.hidden, self.values(), strict=True):
            state.value = jax.tree.map(chosen, initial, state.value)
        return self.model.update(*given)

    def begins(self, initial: Mapping[int, Any], lead: int) -> Any:
        """Which samples, of `lead` axes, are where they begin; `initial` are the values there, by
        the id of a state."""
        states = self.model.states(brainstate.HiddenState).values()

        def equal(others: Mapping[int, Any]) -> Any:
            same: Any = True
            for state in (s for s in states if id(s) in others):
                leaves = map(jax.tree.leaves, (state.value, others[id(state)]))
                for a, b in zip(*leaves, strict=True):
                    same &= jnp.all(a == b, axis=tuple(range(lead, jnp.ndim(a))))
            return same

        now = zip(map(id, self.hidden), self.values(), strict=True)
        return equal(initial) | equal({**initial, **dict(now)})


def learned_beginning(model: Any, batch_sizes: Sequence[int]) -> Beginning | None:
    """How the states of a model begin with its parameters, if `init_state` reads any. It is traced
    again, with the first batch size (none, these, or the first axis of a state) that gives states
    as they are, and leaves the model as it is.

    Raises:
      NotRepresentable: the initial states depend on parameters, and on chance; no batch size gives
        states as they are.
    """
    states = model.states(brainstate.HiddenState)
    present = [_form(s.value) for s in states.values()]
    leading = (shape[0] for _, leaves in present for shape, _ in leaves if shape)
    unlike = []
    for batch_size in dict.fromkeys((None, *batch_sizes, *leading)):
        given = {} if batch_size is None else {"batch_size": batch_size}

        def initial(given: dict[str, Any] = given) -> Any:
            brainstate.nn.init_all_states(model, **given)
            return [s.value for s in model.states(brainstate.HiddenState).values()]

        function = brainstate.transform.StatefulFunction(initial, name="init_state")
        with _left_alone(model):
            try:
                function.make_jaxpr()
            except Exception:  # it wants something else, which only its caller knows
                continue
        found = function.get_out_shapes()[0]
        lead = () if batch_size is None else (batch_size,)
        if [_form(value) for value in found] == present:
            return _beginning(model, function, found, lead)
        if len(found) == len(present):
            unlike.append((function, found, lead))
    if any(_beginning(model, *one) for one in unlike):
        raise NotRepresentable(
            "HiddenStates as init_state makes them, which begin with parameters",
            ", ".join(f"{'.'.join(map(str, k))} {s.value.shape}" for k, s in states.items()),
            "Make them by core.initialise, or by brainstate.nn.init_all_states with batch_size.",
        )
    return None


def _form(value: Any) -> Any:
    leaves, tree = jax.tree.flatten(value)
    return tree, [(jnp.shape(a), jnp.result_type(a)) for a in leaves]


def restoring(*modules: Any) -> Callable[[], None]:
    """What makes modules what they are now: attributes of their parts, and values of their
    states."""
    nodes = [node for m in modules for node in brainstate.graph.nodes(m).values()]
    parts = [(vars(node), dict(vars(node))) for node in nodes]
    # To read a State is noted by brainstate's transformations, which would carry it along.
    states = [vars(s) for m in modules for s in brainstate.graph.states(m).values()]
    values = [(state, state["_value"]) for state in states]

    def restore() -> None:
        for now, before in parts:
            now.clear()
            now.update(before)
        for now, value in values:
            now["_value"] = value

    return restore


@contextmanager
def _left_alone(model: Any) -> Any:
    """`init_state` makes new states, which nobody else is to find; the old ones come back."""
    restore = restoring(model)
    chance = np.random.get_state()  # a model may draw from it
    catchers = TRACE_CONTEXT.new_state_catcher
    TRACE_CONTEXT.new_state_catcher = []
    try:
        yield
    finally:
        TRACE_CONTEXT.new_state_catcher = catchers
        np.random.set_state(chance)
        restore()


def _beginning(model: Any, function: Any, found: Any, lead: tuple[int, ...]) -> Beginning | None:
    closed, states = function.get_jaxpr(), function.get_states()
    program = flatten_jaxpr(closed)
    of = [i for i, state in enumerate(states) for _ in jax.tree.leaves(state.value)]
    held = {v: frozenset([i]) for v, i in zip(program.inputs, of, strict=True)}
    by = reached(program.equations, held)

    present = model.states(brainstate.HiddenState)
    n, tree = len(jax.tree.leaves(found)), jax.tree.structure(found)
    made = jax.tree.unflatten(tree, program.outputs[:n])
    chosen = []
    for k, (path, value) in enumerate(zip(present, made, strict=True)):
        sources = [states[i] for a in jax.tree.leaves(value) for i in by.get(a, ())]
        if not any(isinstance(s, brainstate.ParamState) for s in sources):
            continue
        others = {type(s).__name__ for s in sources if not isinstance(s, brainstate.ParamState)}
        if others:
            raise NotRepresentable(
                "initial states that depend on parameters alone",
                f"{'.'.join(map(str, path))}, which depends on {', '.join(sorted(others))} as well",
                "Add what is drawn at random in the step, or make it no part of init_state.",
            )
        chosen.append(k)
    if not chosen:
        return None
    pure = jex.jaxpr_as_fun(closed)

    def values() -> list[Any]:
        leaves = pure(*(leaf for s in states for leaf in jax.tree.leaves(s.value)))
        every = jax.tree.unflatten(tree, leaves[:n])
        return [every[k] for k in chosen]

    every = list(present.values())
    return Beginning(model, [every[k] for k in chosen], values, lead)
