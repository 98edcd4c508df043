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
from jax import lax

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


def orthogonal_rows(a: Any) -> Any:
    """W [..., m, n] = G a with G orthogonal and the rows of W orthogonal to each other.

    The norms of W's rows are the singular values of `a` [..., m, n], in no order.

    Each round rotates m / 2 disjoint pairs of rows at once, row k of `p` with row k of `q`; after a
    sweep of m - 1 rounds every row has met every other.
    """
    m, n = a.shape[-2:]
    half = (m + 1) // 2
    # Matrices last: sums over a row are then sums of long vectors.
    rows = jnp.moveaxis(a.reshape(-1, m, n), 0, -1)
    rows = jnp.pad(rows, [(0, 2 * half - m), (0, 0), (0, 0)])
    tol = m * jnp.finfo(a.dtype).eps

    def rotate(state: tuple[Any, Any, Any], _: None) -> tuple[tuple[Any, Any, Any], None]:
        p, q, turned = state
        pp, qq, pq = (p * p).sum(1), (q * q).sum(1), (p * q).sum(1)
        askew = jnp.abs(pq) > tol * jnp.sqrt(pp) * jnp.sqrt(qq)
        zeta = (qq - pp) / jnp.where(askew, 2 * pq, 1)
        t = jnp.where(zeta < 0, -1, 1) / (jnp.abs(zeta) + jnp.sqrt(1 + zeta * zeta))
        t = jnp.where(askew, t, 0)[:, None]
        c = 1 / jnp.sqrt(1 + t * t)
        p, q = _next_round(c * (p - t * q), c * (t * p + q))
        return (p, q, turned | askew.any()), None

    def sweep(state: tuple[Any, Any, Any, Any]) -> tuple[Any, Any, Any, Any]:
        p, q, _, count = state
        none = jnp.array(False)
        (p, q, turned), _ = lax.scan(rotate, (p, q, none), None, length=2 * half - 1)
        return p, q, turned, count + 1

    def unfinished(state: tuple[Any, Any, Any, Any]) -> Any:
        return state[2] & (state[3] < SWEEPS)

    start = (rows[:half], rows[half:], jnp.array(True), 0)
    p, q, *_ = lax.while_loop(unfinished, sweep, start)
    # A row of zeros that was added for pairing is orthogonal to all, and ends where it began.
    return jnp.moveaxis(jnp.concatenate([p, q])[:m], -1, 0).reshape(a.shape)


def _next_round(p: Any, q: Any) -> tuple[Any, Any]:
    """Who meets whom next in a round-robin of two lines: the first stays, the others move on."""
    if len(p) == 1:
        return p, q
    return jnp.concatenate([p[:1], q[:1], p[1:-1]]), jnp.concatenate([q[1:], p[-1:]])
