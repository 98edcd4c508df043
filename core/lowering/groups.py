"""Grouped products, heads, block-diagonal matrices: a `dot_general` with batch axes that the weight
has too is one product for each group."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
from jax import lax

from core.lowering.site import LONGEST, Rewritten, Site, rule


@rule("dot_general", always=True)
def grouped(site: Site) -> Rewritten | None:
    contracted, batched = site.eqn.params["dimension_numbers"]
    sizes = tuple(site.shape(0)[i] for i in batched[0])
    if not batched[0] or sum(site.moves()) != 1 or not 0 < math.prod(sizes) <= LONGEST:
        return None
    params = {**site.eqn.params}

    def front(a: Any, side: int) -> tuple[Any, tuple[int, ...]]:
        """[..., batch, ...] -> [groups, ...], and the contracted axes of one group."""
        rest = [i for i in range(a.ndim) if i not in batched[side]]
        moved = a.transpose(*batched[side], *rest).reshape(-1, *(a.shape[i] for i in rest))
        return moved, tuple(rest.index(i) for i in contracted[side])

    def products(left: Any, right: Any) -> list[Any]:
        (left, c_left), (right, c_right) = front(left, 0), front(right, 1)
        params["dimension_numbers"] = ((c_left, c_right), ((), ()))
        made = [lax.dot_general(a, b, **params) for a, b in zip(left, right, strict=True)]
        y = jnp.stack(made)
        return [y.reshape(*sizes, *y.shape[1:])]

    return products
