"""A product of data and weights is x [..., I] times a matrix [I, H], in whatever order of axes it
was written. With batch axes that both have (groups, heads, a block-diagonal matrix) it is one such
product for each group."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
from jax import lax

from core.equations.differential import is_real
from core.lowering.site import LONGEST, Rewritten, Site, is_product, rule


@rule("dot_general", always=True)
def rows_times_matrix(site: Site) -> Rewritten | None:
    eqn, moves = site.eqn, site.moves()
    contracted, batched = eqn.params["dimension_numbers"]
    groups = tuple(site.shape(0)[i] for i in batched[0])
    real = is_real(site.avals[eqn.outputs[0]]) and len(eqn.variables) == 2
    if not real or sum(moves) != 1 or not 0 < math.prod(groups) <= LONGEST:
        return None
    if is_product(eqn, site.data, site.avals):
        return None
    of_x = moves.index(True)
    of_w = 1 - of_x
    params = {**eqn.params}

    def free(side: int) -> list[int]:
        taken = (*batched[side], *contracted[side])
        return [i for i in range(len(site.shape(side))) if i not in taken]

    def one(x: Any, w: Any) -> Any:
        params["dimension_numbers"] = (((x.ndim - 1,), (0,)), ((), ()))
        return lax.dot_general(x, w, **params)

    def products(*operands: Any) -> list[Any]:
        x, w = operands[of_x], operands[of_w]
        lead, outputs = ([operands[s].shape[i] for i in free(s)] for s in (of_x, of_w))
        n_in = math.prod(x.shape[i] for i in contracted[of_x])
        x = x.transpose(*batched[of_x], *free(of_x), *contracted[of_x])
        w = w.transpose(*batched[of_w], *contracted[of_w], *free(of_w))
        if groups:
            xs, ws = x.reshape(-1, *lead, n_in), w.reshape(-1, n_in, math.prod(outputs))
            y = jnp.stack([one(a, b) for a, b in zip(xs, ws, strict=True)])
        else:
            y = one(x.reshape(*lead, n_in), w.reshape(n_in, math.prod(outputs)))
        y = y.reshape(*groups, *lead, *outputs)
        if of_x == 1:  # the axes of the left operand come first
            first, last = len(groups), len(groups) + len(lead)
            y = y.transpose(*range(first), *range(last, y.ndim), *range(first, last))
        return [y]

    return products
