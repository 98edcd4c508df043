"""Products of data and weights, spelled as x [..., I] times a matrix [I, H].

A product is that in whatever order of axes it was written; with batch axes that both have (groups,
heads, a block-diagonal matrix) it is one such product for each group. A convolution is one product
of its kernel with the patches of its input, place by place. Rows of a table by computed indices are
a product of one-hot vectors with the table.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.lax import GatherScatterMode as Mode

from core.equations.differential import is_real
from core.lowering.lowered import LONGEST, Rewritten, Site, is_product, rule


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
        """[N, *places, kernel (one axis), channels]."""
        x = x.transpose(how.lhs_spec[0], *how.lhs_spec[2:], how.lhs_spec[1])
        pad = zip(params["padding"], params["lhs_dilation"], strict=True)
        within = [(low, high, dilation - 1) for (low, high), dilation in pad]
        x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *within, (0, 0, 0)])
        axes = zip(kernel, params["rhs_dilation"], params["window_strides"], strict=True)
        for axis, (k, dilation, stride) in enumerate(axes, 1):
            run = x.shape[axis] - (k - 1) * dilation
            starts = (i * dilation for i in range(k))
            at = [lax.slice_in_dim(x, i, i + run, stride, axis) for i in starts]
            x = jnp.stack(at, -2)
        return x.reshape(*x.shape[: 1 + len(kernel)], -1, x.shape[-1])

    def product(x: Any, w: Any) -> list[Any]:
        w = w.transpose(*how.rhs_spec[2:], how.rhs_spec[1], how.rhs_spec[0])
        w = w.reshape(math.prod(kernel), *w.shape[-2:])
        x = patches(x)
        made = [
            jnp.matmul(a.reshape(*a.shape[:-2], -1), b.reshape(-1, b.shape[-1]), **options)
            for a, b in zip(jnp.split(x, groups, -1), jnp.split(w, groups, -1), strict=True)
        ]
        y = jnp.concatenate(made, -1)
        return [y.transpose(np.argsort((how.out_spec[0], *how.out_spec[2:], how.out_spec[1])))]

    return product


def _one_each(site: Site, axis: int) -> bool:
    """Whether slices of a weight hold one row along an axis, and all of the others."""
    wanted = tuple(1 if i == axis else n for i, n in enumerate(site.shape(0)))
    return site.is_weight(0) and site.eqn.params["slice_sizes"] == wanted


@rule("gather")
def table(site: Site) -> Rewritten | None:
    eqn, (_, of_index) = site.eqn, site.moves()
    how, shape = eqn.params["dimension_numbers"], site.shape(0)
    if not of_index or len(how.start_index_map) != 1 or how.operand_batching_dims:
        return None
    (axis,) = how.start_index_map
    if how.collapsed_slice_dims != (axis,) or not _one_each(site, axis):
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
    computed = [i for i, moving in enumerate(site.moves()[1:]) if moving]
    if len(computed) != 1 or not _one_each(site, computed[0]):
        return None
    (axis,), n = computed, site.shape(0)[computed[0]]

    def product(weight: Any, *starts: Any) -> list[Any]:
        at = jnp.clip(starts[axis], 0, n - 1)
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
