"""A convolution is one product of its kernel with the patches of its input, place by place."""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax.numpy as jnp
from jax import lax

from core.lowering.site import LONGEST, Rewritten, Site, rule


@rule("conv_general_dilated")
def convolution(site: Site) -> Rewritten | None:
    params = site.eqn.params
    groups, how = params["feature_group_count"], params["dimension_numbers"]
    kernel = tuple(site.shape(1)[i] for i in how.rhs_spec[2:])
    few = groups <= LONGEST and math.prod(kernel) <= LONGEST
    if site.moves() != [True, False] or params["batch_group_count"] != 1 or not few:
        return None
    if not site.is_weight(1):
        return None  # a constant kernel mixes neurons
    options = {k: params[k] for k in ("precision", "preferred_element_type")}

    def patches(x: Any) -> Any:
        """[N, *places, *kernel (one axis), channels]."""
        x = x.transpose(how.lhs_spec[0], *how.lhs_spec[2:], how.lhs_spec[1])
        pad = [
            (lo, hi, d - 1)
            for (lo, hi), d in zip(params["padding"], params["lhs_dilation"], strict=True)
        ]
        x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *pad, (0, 0, 0)])
        steps, apart = params["window_strides"], params["rhs_dilation"]
        last = [
            (n - (k - 1) * d - 1) // s * s
            for n, k, d, s in zip(x.shape[1:-1], kernel, apart, steps, strict=True)
        ]
        found = []
        for at in itertools.product(*map(range, kernel)):
            start = [i * d for i, d in zip(at, apart, strict=True)]
            stop = [i + n + 1 for i, n in zip(start, last, strict=True)]
            strides = (1, *steps, 1)
            found.append(lax.slice(x, (0, *start, 0), (x.shape[0], *stop, x.shape[-1]), strides))
        return jnp.stack(found, -2)

    def product(x: Any, w: Any) -> list[Any]:
        w = w.transpose(*how.rhs_spec[2:], how.rhs_spec[1], how.rhs_spec[0])
        w = w.reshape(math.prod(kernel), *w.shape[-2:])
        x = patches(x)
        made = [
            jnp.matmul(a.reshape(*a.shape[:-2], -1), b.reshape(-1, b.shape[-1]), **options)
            for a, b in zip(jnp.split(x, groups, -1), jnp.split(w, groups, -1), strict=True)
        ]
        y = jnp.concatenate(made, -1)
        order = [0] * y.ndim
        for i, to in enumerate((how.out_spec[0], *how.out_spec[2:], how.out_spec[1])):
            order[to] = i
        return [y.transpose(order)]

    return product
