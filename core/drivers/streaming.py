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

from core.algorithms.base import OnlineAlgorithm
from core.drivers.sequence import apply, check_optimizer, gradient

__all__ = ["Stream"]


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
      InvalidArgument: an optimizer of another kind.
    """

    def __init__(
        self,
        algo: OnlineAlgorithm,
        loss: Callable[..., Any],
        optimizer: Any,
        *,
        clip_norm: float | None = None,
    ) -> None:
        check_optimizer(optimizer, algo)

        def step(x: Any, target: Any) -> Any:
            one = jax.tree.map(lambda a: jnp.asarray(a)[None], (x, target))
            found = gradient(algo, loss, *one, per_step_targets=True, fresh=False, outputs=True)
            apply(optimizer, found.grads, clip_norm)
            return jax.tree.map(lambda a: a[0], (found.losses, found.outputs))

        self._step = brainstate.transform.StatefulFunction(step, return_only_write=False)
        self._run = jax.jit(self._step.jaxpr_call, donate_argnums=0)
        self._states: tuple[Any, ...] = ()
        self._values: Any = None

    def __call__(self, x: Any, target: Any) -> tuple[Any, Any]:
        """One step: x [B, ...] or [...], its target. Returns the loss before the update, and the
        output."""
        if self._values is None:
            self._step.make_jaxpr(x, target)
            self._states = tuple(self._step.get_states(x, target))
            # Copies: what is handed on is given away.
            self._values = jax.tree.map(jnp.array, [s.value for s in self._states])
        self._values, found = self._run(self._values, x, target)
        return found

    def store(self) -> None:
        """Write all that has changed back into the model, the algorithm and the optimizer.

        The next call begins with what they hold then.
        """
        if self._values is None:  # nothing has changed since the last time
            return
        for state, value in zip(self._states, self._values, strict=True):
            state.value = value
        self._values = None
