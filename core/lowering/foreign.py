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
from collections.abc import Callable
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
    return _product(site, 2, lambda i, start: (np.arange(start.size - 1).repeat(np.diff(start)), i))


@rule("coo_matvec", "coo_matmat", always=True)
def coordinates(site: Site) -> Rewritten | None:
    return _product(site, 2, lambda rows, columns: (rows, columns))


@rule("binary_fcnmm", "ell_binary_matvec", always=True)
def fixed_number(site: Site) -> Rewritten | None:
    return _product(site, 1, lambda i: (np.broadcast_to(np.arange(len(i))[:, None], i.shape), i))


@rule("binary_densemv", "binary_densemm", always=True)
def dense(site: Site) -> Rewritten | None:
    return _product(site, 0, lambda: None)


def _product(site: Site, n: int, entries: Callable[..., Any]) -> Rewritten | None:
    """M x or M^T x. The operands are what M stores, `n` that say where, and x; `entries` makes of
    these n the rows and columns, or None of a dense M."""
    eqn, moves, params = site.eqn, site.moves(), site.eqn.params
    shape = params["spinfo"].shape if "spinfo" in params else params.get("shape", site.shape(0))
    where = [site.fixed(a) for a in eqn.inputs[1 : n + 1]]
    if moves[0] or not moves[n + 1] or math.prod(shape) > MOST or any(i is None for i in where):
        return None
    at = entries(*where)
    if at is not None and any(
        (i < 0).any() or (i >= n).any() for i, n in zip(at, shape, strict=True)
    ):
        return None

    def product(*operands: Any) -> list[Any]:
        w, x = operands[0], operands[n + 1]
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
