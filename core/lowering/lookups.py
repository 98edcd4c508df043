"""Rows of a table by computed indices: a product of one-hot vectors with the table."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.lax import GatherScatterMode as Mode

from core.lowering.site import Rewritten, Site, rule


@rule("gather")
def table(site: Site) -> Rewritten | None:
    eqn, (_, of_index) = site.eqn, site.moves()
    how, sizes, shape = (eqn.params["dimension_numbers"], eqn.params["slice_sizes"], site.shape(0))
    if (
        not of_index
        or not site.is_weight(0)
        or len(how.start_index_map) != 1
        or how.operand_batching_dims
    ):
        return None
    (axis,) = how.start_index_map
    whole = all(n == m for i, (n, m) in enumerate(zip(sizes, shape, strict=True)) if i != axis)
    if how.collapsed_slice_dims != (axis,) or not whole:
        return None
    n, mode, fill = shape[axis], eqn.params["mode"], eqn.params["fill_value"]

    def product(weight: Any, index: Any) -> list[Any]:
        at = index[..., 0]
        inside = (at >= 0) & (at < n)
        y = _rows(weight, axis, jnp.clip(at, 0, n - 1))
        if mode in (Mode.FILL_OR_DROP, None):
            outside = jnp.asarray(np.nan if fill is None else fill, y.dtype)
            y = jnp.where(inside.reshape(*at.shape, *(1,) * (y.ndim - at.ndim)), y, outside)
        rows = iter(range(at.ndim))  # the axes of the slice go where the gather wants them
        own = iter(range(at.ndim, y.ndim))
        order = [next(own) if i in how.offset_dims else next(rows) for i in range(y.ndim)]
        return [y.transpose(order)]

    return product


@rule("dynamic_slice")
def one_row(site: Site) -> Rewritten | None:
    eqn, shape = site.eqn, site.shape(0)
    moves = site.moves()[1:]
    sizes = eqn.params["slice_sizes"]
    computed = [i for i, moving in enumerate(moves) if moving]
    if not site.is_weight(0) or len(computed) != 1:
        return None
    (axis,) = computed
    whole = all(n == m for i, (n, m) in enumerate(zip(sizes, shape, strict=True)) if i != axis)
    if sizes[axis] != 1 or not whole:
        return None

    def product(weight: Any, *starts: Any) -> list[Any]:
        at = jnp.clip(starts[axis], 0, shape[axis] - 1)
        return [jnp.expand_dims(_rows(weight, axis, at), axis)]

    return product


def _rows(weight: Any, axis: int, at: Any) -> Any:
    """[..., n, ...] at `at` [...] within the axis: [*at, the others]."""
    hot = jax.nn.one_hot(at, weight.shape[axis], dtype=weight.dtype)
    return lax.dot_general(
        hot,
        weight,
        (((hot.ndim - 1,), (axis,)), ((), ())),
        precision=lax.Precision.HIGHEST,  # every digit of the row
    )
