"""Random signs that follow from a seed and what a sample has seen, however samples are batched."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

OWN = 0x0505050  # signs have nothing to do with weights that were drawn from the same seed


def signs(seed: int, common: Any, steps: Any, seen: Sequence[Any], like: Sequence[Any]) -> Any:
    """One or minus one for each element of `like`, arrays [lead, ...], at the `steps`-th step
    [lead] of samples that share `common` and have `seen` arrays of their own."""
    lead = steps.shape
    code = steps.reshape(-1).astype(jnp.uint32)
    keys = jax.random.fold_in(jax.random.key(seed), OWN)
    if common is not None:
        keys = jax.random.fold_in(keys, _bits(common.reshape(1, -1))[0])
    for a in seen:
        if a.shape[: len(lead)] == lead:
            code = 31 * code + _bits(a.reshape(len(code), -1))
    keys = jax.vmap(partial(jax.random.fold_in, keys))(code)

    def drawn(k: int, h: Any) -> Any:
        own = jax.vmap(lambda key: jax.random.fold_in(key, k))(keys)
        size = (h.size // len(code),)
        return jax.vmap(lambda key: jax.random.rademacher(key, size, h.dtype))(own).reshape(h.shape)

    return tuple(drawn(k, h) for k, h in enumerate(like))


def _bits(rows: Any) -> Any:
    """A number for each row, [B, n] -> [B], whatever else stands beside it."""
    bits = lax.bitcast_convert_type(rows.real.astype(jnp.float32), jnp.uint32)
    odd = (2 * np.arange(rows.shape[1], dtype=np.uint32) + 1) * np.uint32(0x9E3779B1)
    return (bits * odd).sum(axis=1, dtype=jnp.uint32)
