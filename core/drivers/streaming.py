"""Learning from a stream, step by step, called from Python.

    stream = core.Stream(algo, loss, optimizer)
    for x, target in source:
        value, out = stream(x, target)
    stream.store()

A call is one step, its gradient and an update. It is compiled at the first; from then on all that
changes, states, traces, weights and the optimizer's own, is handed from call to call as it is, so
that nothing is flattened, copied or checked again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, PyTree

from core.algorithms.base import OnlineAlgorithm
from core.data import check_numbers
from core.drivers.sequence import apply, check_norm, check_optimizer, gradient
from core.errors import InvalidArgument


class Stream:
    """An algorithm that learns from one step after another.

    The environment's settings (`dt`, `fit`, precision and others that the model or the loss reads)
    are those of the first call: it is compiled then, and a later change of them goes unseen, after
    `store` too. Make another Stream for other settings.

    Args:
      algo: initialised (`core.initialise`), for a batch or for single samples.
      loss: `loss(out, target)` -> scalar, of one step.
      optimizer: braintools optimizer with the model's ParamStates registered.
      clip_norm: the global norm that a gradient is scaled down to before an update; None for none.

    Raises:
      InvalidArgument: an optimizer of another kind, a norm that is not positive.
    """

    def __init__(
        self,
        algo: OnlineAlgorithm,
        loss: Callable[..., Float[Array, ""]],
        optimizer: Any,
        *,
        clip_norm: float | None = None,
    ) -> None:
        check_optimizer(optimizer, algo)
        check_norm(clip_norm)

        def step(x: Any, target: Any, reset: Any) -> Any:
            x, target, reset = jax.tree.map(lambda a: jnp.asarray(a)[None], (x, target, reset))
            options: dict[str, Any] = {"per_step_targets": True, "fresh": False, "outputs": True}
            found = gradient(algo, loss, x, target, reset=reset, **options)
            apply(optimizer, found.grads, clip_norm)
            return jax.tree.map(lambda a: a[0], (found.losses, found.outputs))

        self._algo, self._traces = algo, None
        self._step = brainstate.transform.StatefulFunction(step, return_only_write=False)
        self._run = jax.jit(self._of_leaves, donate_argnums=0)
        self._states: tuple[Any, ...] = ()
        self._values: Any = None
        self._tree: Any = None
        self._restarts = False

    def __call__(
        self, x: PyTree[ArrayLike], target: PyTree, reset: Bool[ArrayLike, "*B"] | None = None
    ) -> tuple[Float[Array, ""], PyTree[Array]]:
        """One step, and what is learned from it.

        Args:
          x: input, [B, ...] or [...].
          target: passed to the loss.
          reset: booleans, [B] or []: which samples start anew before this step, as in `gradient`.
            To give it at some calls only costs a copy of all states at each change.

        Returns:
          The loss before the update, and the output.

        Raises:
          InvalidArgument: the algorithm has been initialised or compiled anew since the first call.
        """
        traces = getattr(self._algo, "trace", None)
        if self._states and traces is not self._traces:  # the states are others, unknown to it
            raise InvalidArgument(
                "the states that the stream began with",
                "those of an algorithm that has been initialised or compiled anew",
                "Make another core.Stream (`store` keeps what was learned), or say by reset which"
                " samples start anew.",
            )
        given = x, target, reset
        if (reset is not None) is not self._restarts:  # a program with other states
            self.store()
        if self._values is None:
            check_numbers("inputs, targets and resets", given)
            self._restarts = reset is not None
            self._step.make_jaxpr(*given)
            self._states, self._traces = tuple(self._step.get_states(*given)), traces
            leaves, self._tree = jax.tree.flatten(tuple(s.value for s in self._states))
            self._values = [jnp.array(a) for a in leaves]  # copies: what is handed on is given away
        try:
            self._values, found = self._run(self._values, *given)
        except TypeError:  # to look beforehand would take time
            check_numbers("inputs, targets and resets", given)
            raise
        return found

    def __reduce_ex__(self, protocol: Any) -> Any:
        """For copies and pickle: two streams would give away the same arrays."""
        raise InvalidArgument(
            "one stream of an algorithm",
            "a copy of it",
            "Call store, copy the algorithm (copy.deepcopy) or save its states' values, and make"
            " another core.Stream.",
        )

    def _of_leaves(self, leaves: list[Any], *given: Any) -> tuple[list[Any], Any]:
        """The step, from leaves to leaves: to flatten the states takes 9 us of a call."""
        values, found = self._step.jaxpr_call(jax.tree.unflatten(self._tree, leaves), *given)
        return jax.tree.leaves(values), found

    def store(self) -> None:
        """Write all that has changed back into the model, the algorithm and the optimizer.

        The next call begins with what they hold then.
        """
        if self._values is None:  # nothing has changed since the last time
            return
        values = jax.tree.unflatten(self._tree, self._values)
        for state, value in zip(self._states, values, strict=True):
            state.value = value
        self._values = None
