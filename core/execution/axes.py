"""Arrays that lead with steps, and with samples behind: loops, maps, and what a sample forgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from core.errors import NotRepresentable


def forget(tree: Any, keep: Any) -> Any:
    """Zero in arrays [B, ...] where keep [B] (or one number) is; None keeps all.

    A product would keep what is not finite.
    """
    if keep is None:
        return tree
    return jax.tree.map(lambda a: jnp.where(along(keep, a) > 0, a, jnp.zeros_like(a)), tree)


def finite(a: Any, idle: Any, instead: Any = 0.0) -> Any:
    """`a` [B, ...], where idle [B] (or one truth value) is with `instead` of what is not finite."""
    shared = idle is None or a.shape[: idle.ndim] != idle.shape
    if shared or not jnp.issubdtype(a.dtype, jnp.inexact):
        return a
    return jnp.where(along(idle, a) & ~jnp.isfinite(a), instead, a)


def along(keep: Any, a: Any) -> Any:
    """`keep` with axes appended to broadcast against `a` from the front."""
    if keep.ndim > a.ndim:
        raise NotRepresentable(
            "traces with an axis of samples, where samples start anew",
            "a state of one number a sample, which no product feeds: its samples are its neurons",
            'Use core.initialise(..., batching="vmap").',
        )
    return keep.reshape(keep.shape + (1,) * (a.ndim - keep.ndim))


def behind(a: Any, like: Any) -> Any:
    """`a` with axes put in front to broadcast against `like` from the back."""
    return a.reshape((1,) * (like.ndim - a.ndim) + a.shape)


def scan(tick: Any, carry: Any, xs: Any, reverse: bool = False) -> Any:
    """`lax.scan`, without the loop when there is one step."""
    n_steps = jax.tree.leaves(xs)[0].shape[0]
    if n_steps > 1:
        return lax.scan(tick, carry, xs, reverse=reverse)
    carry, ys = tick(carry, jax.tree.map(lambda x: x[0], xs))
    return carry, jax.tree.map(lambda y: jnp.asarray(y)[None], ys)


def over_time(f: Callable[..., Any], at_once: bool = True) -> Callable[..., Any]:
    """Map a function of one step over the leading axis of all arguments; not `at_once` where
    `jax.vmap` cannot."""

    def mapped(*args: Any) -> Any:
        if at_once and jax.tree.leaves(args)[0].shape[0] > 1:
            return jax.vmap(f)(*args)
        return scan(lambda _, given: (None, f(*given)), None, args)[1]

    return mapped


def over_windows(tick: Any, state: Any, inputs: Any, size: int, scan: Any = lax.scan) -> Any:
    """Fold `tick` over windows of `size` steps; a shorter one takes what is left."""
    n_steps = len(jax.tree.leaves(inputs)[0])
    whole = n_steps // size * size
    windows = jax.tree.map(lambda a: a[:whole], inputs)
    if whole == size:
        state, stacked = tick(state, windows)
    else:
        # An axis of one step outside of the loop would make XLA copy the whole sequence.
        if size > 1:
            windows = jax.tree.map(lambda a: a.reshape(-1, size, *a.shape[1:]), windows)

        def one(state: Any, item: Any) -> Any:
            return tick(state, item if size > 1 else jax.tree.map(lambda a: a[None], item))

        state, stacked = scan(one, state, windows)
        stacked = jax.tree.map(lambda a: a.reshape(whole, *a.shape[2:]), stacked)
    if whole < n_steps:
        state, last = tick(state, jax.tree.map(lambda a: a[whole:], inputs))
        stacked = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), stacked, last)
    return state, stacked
