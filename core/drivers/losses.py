"""The loss of every step, computed with what the model is at that step.

A loss may read the model, its weights (weight decay) and its states (a penalty on rates), and the
environment's `i` and `t`. It then sees the values of its step, and its gradient goes through them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import brainstate
import jax
import jax.numpy as jnp
from jax.extend import core as jex

from core.equations.differential import is_real
from core.equations.program import flatten_jaxpr, program_of, variables_of
from core.errors import InvalidArgument, Refusal
from core.execution.axes import along


class StepLoss(NamedTuple):
    """`of(out, target)` of one step; targets are of one step, or of all, [T, ...], with
    `per_step`."""

    of: Callable[..., Any]
    targets: Any
    per_step: bool | None  # None where nothing is said
    has_aux: bool


def check_aux(found: Any, has_aux: bool, what: str) -> None:
    """Refuse what a function returns that is no (loss, aux) with `has_aux`, or a tuple without."""
    length = len(found) if isinstance(found, tuple) else 0
    if length != (2 if has_aux else 0):
        came = {0: "no tuple", 2: "a tuple"}.get(length, f"a tuple of {length}")
        raise InvalidArgument(
            f"(loss, aux) of a {what} with has_aux, and a number without",
            f"{came} with has_aux={has_aux}",
            "Set has_aux accordingly.",
        )


class Losses:
    """A loss, looked at once.

    Args:
      out: the output of one step, shapes and dtypes.
      model: states of the model by path.
      clock: `i` and `t`, one step of them.

    Attributes:
      watched: states of the model that the loss reads.
      reads_clock: whether it reads `i` or `t`.
    """

    def __init__(
        self, loss: StepLoss, out: Any, model: Mapping[Any, Any], clock: Mapping[str, Any]
    ) -> None:
        self.per_step, self.has_aux = bool(loss.per_step), loss.has_aux
        of_one = jax.tree.map(_step, loss.targets) if self.per_step else loss.targets
        paths = {id(s): ".".join(map(str, path)) for path, s in model.items()}

        def call(clock: Any, out: Any, target: Any) -> Any:
            with brainstate.environ.context(**clock):
                return loss.of(out, target if self.per_step else loss.targets)

        function = brainstate.transform.StatefulFunction(call, name="loss")
        example = (dict(clock), out, of_one if self.per_step else None)
        try:
            function.make_jaxpr(*example)
        except (TypeError, ValueError, AssertionError, IndexError) as error:
            if isinstance(error, Refusal):  # of the loss itself as well
                raise
            shapes = [jnp.shape(a) for a in jax.tree.leaves(of_one)]
            raise InvalidArgument(
                f"a loss of one step's output {[a.shape for a in jax.tree.leaves(out)]} and target"
                f" {shapes}",
                f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
                "Use jnp.where in place of Python's if, and jnp in place of numpy."
                if isinstance(error, jax.errors.JAXTypeError)
                else "Give xs with time first, and targets as the loss wants them, with"
                " per_step_targets where they have time; return numbers and arrays.",
            ) from error
        written = [paths.get(id(s), type(s).__name__) for s in function.get_write_states(*example)]
        if written:
            raise InvalidArgument(
                "a loss that only reads the model",
                f"one that writes {', '.join(written)}",
                "Write it in the model's update, or return it as aux.",
            )
        self._check(function.get_out_shapes(*example)[0])
        self.states = tuple(function.get_states(*example))
        self.watched = tuple(s for s in self.states if id(s) in paths)
        self._no_clock = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), dict(clock))
        self._closed = function.get_jaxpr(*example)
        program = flatten_jaxpr(self._closed)
        read_by = variables_of(program.equations, program.outputs)
        ticking = program.inputs[: len(jax.tree.leaves(self._no_clock))]
        self.reads_clock = not read_by.isdisjoint(ticking)
        self._pure = jex.jaxpr_as_fun(self._closed)
        self._tree: Any = jax.tree.structure(function.get_out_shapes(*example)[0])

    def _check(self, found: Any) -> None:
        check_aux(found, self.has_aux, "loss")
        value = found[0] if self.has_aux else found
        shape = getattr(value, "shape", None)
        if shape != ():
            raise InvalidArgument(
                "a loss of one number a step",
                type(value).__name__ if shape is None else f"shape {shape}",
                "Sum or average it over samples and outputs inside the loss, and return it.",
            )
        self._dtype, self._unit = value.dtype, getattr(value, "unit", None)

    def check_differentiable(self) -> None:
        """Hits can be counted, but not differentiated."""
        if self._unit is not None:
            raise InvalidArgument(
                "a loss without a unit", f"one in {self._unit}", "Divide it by its unit."
            )
        if not jnp.issubdtype(self._dtype, jnp.floating):
            raise InvalidArgument(
                "a loss of a float dtype, which has a gradient",
                str(self._dtype),
                "Cast it, or use core.evaluate, which needs no gradient.",
            )

    def _check_weights_apart(self) -> None:
        """A mask of samples cannot be applied to a derivative in which all samples are summed."""
        avals, n_clock = self._closed.in_avals, len(jax.tree.leaves(self._no_clock))
        of = [s for s in self.states for _ in _leaves(s)]
        of = [None] * (len(avals) - len(of)) + of
        watched = [i for i, s in enumerate(of) if s in self.watched]
        params = [i for i in watched if isinstance(of[i], brainstate.ParamState)]
        weights = tuple(i for i in params if is_real(avals[i]))
        if not weights:
            return
        grads = jax.grad(lambda *arrays: self._pure(*arrays)[0], weights)
        program = program_of(grads, *(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals))
        read = variables_of(program.equations, program.outputs)
        samples = {*watched, *(i for i, s in enumerate(of) if s is None and i >= n_clock)}
        if any(program.inputs[i] in read for i in samples.difference(weights)):
            raise InvalidArgument(
                "a mask of steps, [T], for a loss in which a parameter meets the samples",
                "one of samples, [T, B]",
                "Weigh the samples inside the loss, or use the parameter in the model's update.",
            )

    def __call__(
        self,
        out: Any,
        targets: Any,
        values: Mapping[int, Sequence[tuple[Any, bool]]],
        clock: Mapping[str, Any],
        weight: Any = None,
    ) -> tuple[Any, Any, Any]:
        """The losses of all steps, [T], what else the loss returns, and what is differentiated.

        Args:
          targets: of all steps, [T, ...], where a step has its own.
          values: of states of the model by id: their arrays, and whether each has steps.
          weight: of the steps' losses, [T], or of samples, [T, B]; None for one.
        """
        if weight is not None and weight.ndim > 1:
            self._check_weights_apart()
        read = [values.get(id(s), [(a, False) for a in _leaves(s)]) for s in self.states]
        flat = [pair for state in read for pair in state]

        def one(w: Any, out: Any, target: Any, clock: Any, arrays: list[Any]) -> Any:
            if w is not None:
                each, shared = (w, w.mean()) if w.ndim else (w.astype(bool),) * 2
                out = jax.tree.map(lambda a: _weighted(a, each), out)
                pairs = zip(arrays, flat, strict=True)
                arrays = [_weighted(a, each if steps else shared) for a, (_, steps) in pairs]
            given = (*jax.tree.leaves((clock or self._no_clock, out, target)), *arrays)
            found = jax.tree.unflatten(self._tree, self._pure(*given)[: self._tree.num_leaves])
            value, aux = found if self.has_aux else (found, None)
            if w is None:
                return value, aux, value
            share = w.astype(bool).any() if w.ndim else w
            return value, aux, jnp.where(share.astype(bool), value * share.astype(value.dtype), 0)

        axes = [0 if steps else None for _, steps in flat]
        target, axis = (targets, 0) if self.per_step else (None, None)
        return jax.vmap(one, in_axes=(None if weight is None else 0, 0, axis, 0, axes))(
            weight, out, target, dict(clock), [a for a, _ in flat]
        )


def _weighted(a: Any, weight: Any) -> Any:
    """`a` with its derivative scaled by one weight or that of each sample [B]; zero where that is,
    also where a product with zero would not be finite."""
    if not jnp.issubdtype(jnp.result_type(a), jnp.inexact):
        return a
    if weight.ndim and jnp.shape(a)[:1] != weight.shape:
        raise InvalidArgument(
            f"outputs [B, ...] for a mask of samples, B = {len(weight)}",
            f"one of shape {jnp.shape(a)}",
            "Return what belongs to a sample along the first axis, or mask whole steps, [T].",
        )
    return _scaled(a, along(weight, a).astype(a.dtype))


@jax.custom_jvp
def _scaled(a: Any, weight: Any) -> Any:
    """`a` itself, which may be infinite; only its derivative is scaled."""
    return a


_scaled.defjvp(lambda at, d: (at[0], jnp.where(at[1] != 0, at[1] * d[0], jnp.zeros_like(d[0]))))


def _leaves(state: Any) -> list[Any]:
    return jax.tree.leaves(state.value)


def _step(a: Any) -> Any:
    return jax.ShapeDtypeStruct(jnp.shape(a)[1:], jax.dtypes.result_type(a))
