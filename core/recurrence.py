"""The element-wise recurrences in time of a window that has been run.

Once a window has been run, what is left of it in order of time is linear: z_t = D_t z_{t-1} + u_t.
Axes: K steps, lead (batch), n neurons.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from core.rollout import along, forget, scan

__all__ = ["accumulate", "faded_sum", "low_pass", "products", "remembered"]


def accumulate(
    transition: Mapping[tuple[Any, Any], Any],
    start: Mapping[Any, Any],
    inflow: Mapping[Any, Any],
    keep: Any = None,
) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """The recurrence z_t[s] = sum_p D_t[s, p] z_{t-1}[p] + u_t[s] over a window.

    Args:
      transition: D, [K, ...] for each pair that is not zero.
      start: z_0 by component.
      inflow: u, [K, ...].
      keep: [K, B] or [K], zero where a sample forgets z_{t-1}.

    Returns:
      z_{t-1} as step t reads it, [K, ...], and the last z.
    """

    different = {id(d): d for d in transition.values()}  # what several pairs share is read once

    def tick(z: Any, inputs: Any) -> Any:
        d, u, keep_t = inputs
        z = forget(z, keep_t)
        new = dict(u)
        for (s, p), value in transition.items():
            new[s] = new[s] + d[id(value)] * z[p]
        return new, z

    if not start:  # no state of the group carries credit in time
        return {}, {}
    last, before = scan(tick, dict(start), (different, dict(inflow), keep))
    return before, last


def low_pass(decay: float, inflow: Any, keep: Any = None) -> Any:
    """z_t = decay z_{t-1} + u_t of every step, from z_0 = 0.

    Args:
      inflow: u, a pytree of [K, ...].
      keep: as in `accumulate`.
    """

    def tick(z: Any, inputs: Any) -> Any:
        u, keep_t = inputs
        z = jax.tree.map(lambda z, u: decay * z + u, forget(z, keep_t), u)
        return z, z

    if not inflow:
        return inflow
    return scan(tick, jax.tree.map(lambda u: jnp.zeros_like(u[0]), inflow), (inflow, keep))[1]


def faded_sum(decay: float, inflow: Any, keep: Any = None) -> Any:
    """The last of `low_pass` alone: sum_t decay^(K - t) u_t, of samples that do not forget."""
    n_steps = inflow.shape[0]
    weights = jnp.asarray(decay ** np.arange(n_steps - 1.0, -1.0, -1.0), inflow.dtype)
    if keep is None:
        return jnp.tensordot(weights, inflow, 1, precision=lax.Precision.HIGHEST)
    inflow = forget(inflow, remembered(keep))
    return (along(weights, inflow) * inflow).sum(axis=0)


def remembered(keep: Any) -> Any:
    """Whether a sample has not started anew after a step of the window, [K, B]: what comes after a
    step decides whether it still counts at the end."""
    later = jnp.concatenate([keep[1:], jnp.ones_like(keep[:1])])
    return lax.cumprod(later, reverse=True)


def products(
    transition: Mapping[tuple[int, int], Any], zero: Mapping[int, Any], keep: Any = None
) -> tuple[dict[tuple[int, int], Any], dict[tuple[int, int], Any]]:
    """A_t = D_K ... D_{t+1}: how state p after step t still moves state s at the end.

    Args:
      transition: D, [K, ...] by pair.
      zero: zeros [K, ...] by component.
      keep: as in `accumulate`.

    Returns:
      A_t[s, p] for t = 1..K, [K, ...], and A_0[s, p].
    """

    def tick(a: Any, inputs: Any) -> Any:
        d, keep_t = inputs
        new = jax.tree.map(jnp.zeros_like, a)
        for (q, p), value in d.items():
            for s in zero:
                new[s, p] = new[s, p] + a[s, q] * value
        return forget(new, keep_t), a

    end = {(s, p): jnp.full_like(zero[p][0], s == p) for s in zero for p in zero}
    if not end:
        return {}, {}
    n_steps = next(iter(zero.values())).shape[0]
    steps = jnp.arange(n_steps)  # keeps the scan's length when nothing is coupled
    first, after = scan(lambda a, i: tick(a, i[:2]), end, (dict(transition), keep, steps), True)
    return after, first
