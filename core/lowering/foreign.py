"""Primitives of other libraries.

Those of braintrace (`etp_mm`, `etp_conv`, ...) mark a layer for its compiler. What they compute is
what they are implemented by, which is plain jax.

Sparse and event-driven products of brainunit and brainevent are products with a dense matrix, whose
entries are scattered from the stored ones and whose zeros stay zero. Small ones alone: a trace
holds an entry for each place of the matrix. Always: the transposes of brainunit 0.5.2 take the
entries in a wrong order.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from core.equations.differential import is_real
from core.lowering.lowered import MOST, Rewritten, Site, rule

KINDS = "mm mv conv einsum elemwise emb emb_v gmm gmv lora_mm lora_mv sp_mm sp_mv"


@rule(*(f"etp_{kind}" for kind in KINDS.split()), always=True)
def inlined(site: Site) -> Rewritten | None:
    primitive, params = site.eqn.primitive, site.eqn.params
    return lambda *operands: [primitive.impl(*operands, **params)]


@rule("csr_matvec", "csr_matmat", "csrmv", "csrmm", "binary_csrmv", "binary_csrmm", always=True)
def compressed_rows(site: Site) -> Rewritten | None:
    indices, starts = (site.fixed(site.eqn.inputs[i]) for i in (1, 2))
    if indices is None or starts is None:
        return None
    return _product(site, 3, (np.repeat(np.arange(starts.size - 1), np.diff(starts)), indices))


@rule("coo_matvec", "coo_matmat", always=True)
def coordinates(site: Site) -> Rewritten | None:
    rows, columns = (site.fixed(site.eqn.inputs[i]) for i in (1, 2))
    return None if rows is None or columns is None else _product(site, 3, (rows, columns))


@rule("binary_fcnmm", "ell_binary_matvec", always=True)
def fixed_number(site: Site) -> Rewritten | None:
    columns = site.fixed(site.eqn.inputs[1])
    if columns is None:
        return None
    rows = np.broadcast_to(np.arange(len(columns))[:, None], columns.shape)
    return _product(site, 2, (rows, columns))


@rule("binary_densemv", "binary_densemm", always=True)
def dense(site: Site) -> Rewritten | None:
    return _product(site, 1, None)


def _product(site: Site, place: int, at: tuple[Any, Any] | None) -> Rewritten | None:
    """M x or M^T x, x the operand at `place` and M with the first operand's entries at `at`."""
    eqn, (of_w, *_) = site.eqn, site.moves()
    params = eqn.params
    shape = params["spinfo"].shape if "spinfo" in params else params.get("shape", site.shape(0))
    if of_w or not site.moves()[place] or math.prod(shape) > MOST:
        return None
    if at is not None and any(
        (i < 0).any() or (i >= n).any() for i, n in zip(at, shape, strict=True)
    ):
        return None

    def product(*operands: Any) -> list[Any]:
        w, x = operands[0], operands[place]
        if at is not None:
            entries = jnp.broadcast_to(w, at[0].shape)
            w = jnp.zeros(shape, w.dtype).at[at[0], at[1]].add(entries)
        if "binary" in eqn.name:
            x = _events(x, w.dtype)
        y = jnp.matmul(w.T if params["transpose"] else w, x, precision=lax.Precision.HIGHEST)
        unread = [site.avals[v] for v in eqn.outputs[1:]]  # what a kernel keeps for itself
        return [y, *(jnp.zeros(a.shape, a.dtype) for a in unread)]

    return product


def _events(x: Any, dtype: Any) -> Any:
    """One where there is an event, with the derivative of x itself."""
    if not is_real(x):
        return x.astype(dtype)
    return x + lax.stop_gradient((x > 0).astype(x.dtype) - x)
