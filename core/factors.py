"""Factors of small matrices, batched, in plain jax: an orthonormal basis and Jacobi rotations.

jaxlib's LAPACK kernels wait for the thread pool that they run on: on a machine with two cores, two
of them at a time wait for each other for ever (seen with jaxlib 0.10.2). They also take a batch's
matrices one by one, where these take them together.

References: L. Giraud et al., "The loss of orthogonality in the Gram-Schmidt orthogonalization
process", Computers & Mathematics with Applications 50 (2005): projecting twice is enough.
J. Demmel and K. Veselic, "Jacobi's method is more accurate than QR", SIAM J. Matrix Anal. Appl. 13
(1992), for one-sided Jacobi; R. Brent and F. Luk, "The solution of singular-value and symmetric
eigenvalue problems on multiprocessor arrays", SIAM J. Sci. Stat. Comput. 6 (1985), for the order.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

__all__ = ["orthogonal_rows", "orthonormal_basis"]

SWEEPS = 20  # it converges quadratically: 5 to 10 are usual


def orthonormal_basis(rows: Any) -> Any:
    """Orthonormal rows [..., m, n] that span the given ones [..., m, n].

    A row that the earlier ones span already gives a row of zeros.
    """
    eps = jnp.finfo(rows.dtype).eps

    def add(k: Any, basis: Any) -> Any:
        row = lax.dynamic_index_in_dim(rows, k, axis=-2, keepdims=False)
        least = 8 * eps * jnp.linalg.vector_norm(row, axis=-1, keepdims=True)
        for _ in range(2):
            row = row - jnp.einsum("...mn,...m->...n", basis, jnp.einsum(
                "...mn,...n->...m", basis, row))  # fmt: skip
        size = jnp.linalg.vector_norm(row, axis=-1, keepdims=True)
        row = jnp.where(size > least, row / jnp.where(size > least, size, 1), 0)
        return lax.dynamic_update_index_in_dim(basis, row, k, axis=-2)

    return lax.fori_loop(0, rows.shape[-2], add, jnp.zeros_like(rows))


def orthogonal_rows(a: Any) -> tuple[Any, Any]:
    """(W, G) with W = G a, the rows of W orthogonal to each other, and G orthogonal.

    The norms of W's rows are the singular values of `a` [..., m, n], in no order.

    Each round rotates m / 2 disjoint pairs of rows at once; after a sweep of m - 1 rounds every row
    has met every other.
    """
    m = a.shape[-2]
    even = m + m % 2
    pad = [(0, 0)] * (a.ndim - 2) + [(0, even - m), (0, 0)]
    eye = jnp.broadcast_to(jnp.eye(even, dtype=a.dtype), (*a.shape[:-2], even, even))
    tol = m * jnp.finfo(a.dtype).eps
    order = _next_round(even)

    def rotate(state: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
        both, turned = state
        p, q = both[..., : even // 2, :], both[..., even // 2 :, :]
        x, y = p[..., : a.shape[-1]], q[..., : a.shape[-1]]
        pp, qq, pq = (x * x).sum(-1), (y * y).sum(-1), (x * y).sum(-1)
        size = jnp.sqrt(pp) * jnp.sqrt(qq)
        askew = jnp.abs(pq) > tol * size
        zeta = (qq - pp) / jnp.where(askew, 2 * pq, 1)
        t = jnp.where(zeta < 0, -1, 1) / (jnp.abs(zeta) + jnp.sqrt(1 + zeta * zeta))
        t = jnp.where(askew, t, 0)[..., None]
        c = 1 / jnp.sqrt(1 + t * t)
        both = jnp.concatenate([c * (p - t * q), c * (t * p + q)], axis=-2)
        return (both[..., order, :], turned | askew.any()), None

    def sweep(state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        both, _, count = state
        (both, turned), _ = lax.scan(rotate, (both, jnp.array(False)), None, length=even - 1)
        return both, turned, count + 1

    def unfinished(state: tuple[Any, Any, Any]) -> Any:
        return state[1] & (state[2] < SWEEPS)

    both = jnp.concatenate([jnp.pad(a, pad), eye], axis=-1)
    both, *_ = lax.while_loop(unfinished, sweep, (both, jnp.array(True), 0))
    # A row of zeros that was added for pairing is orthogonal to all, and stays where it is.
    return both[..., :m, : a.shape[-1]], both[..., :m, a.shape[-1] : a.shape[-1] + m]


def _next_round(m: int) -> np.ndarray:
    """Who plays whom next in a round-robin of two lines: the first stays, the others move on."""
    half = m // 2
    top, bottom = list(range(half)), list(range(half, m))
    return np.array([top[0], *bottom[:1], *top[1:-1], *bottom[1:], top[-1]] if half > 1 else
                    [0, 1])  # fmt: skip
