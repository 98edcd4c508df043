"""D-RTRL with its trace kept at rank r: eps ~ sum_k u_k (x) v_k, per sample and block.

D multiplies the columns of eps, so a window keeps the factors apart:

    U' = [U_0; x_1 .. x_K]                 [lead, r + K, I]
    V' = [A_0 V_0; A_1 f_1 .. A_K f_K]     [lead, r + K, S H]

and then the best rank-r approximation of U'^T V' is taken: with orthonormal bases of the rows,
U' = C_u Q_u and V' = C_v Q_v, only the small core C_u^T C_v needs a singular value decomposition
(`core.traces.factors`).
With r >= min(I, S H) nothing is lost and the gradient is D-RTRL's. Credit inside a window is exact
whatever r is. Memory O(B r (I + S H)).

Reference: T. Mujika et al., "Approximating RTRL with random Kronecker factors",
arXiv:1805.10842, and F. Benzing et al., "Optimal Kronecker-sum approximation of RTRL",
arXiv:1902.03993, for low-rank traces of RTRL; here the optimal one of a decoupled trace.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from core.analysis.operation import Block, Operation
from core.errors import InvalidArgument, NotRepresentable
from core.execution.recurrence import Pairs
from core.execution.step import Values
from core.traces.factors import orthogonal_rows, orthonormal_basis
from core.traces.full import FullTrace


class LowRankTrace(FullTrace):
    """The trace of a block as {"u": [lead, r, I], "v": [lead, r, width] by component}.

    Args:
      rank: r, at least 1.
    """

    def __init__(self, rank: int) -> None:
        if rank < 1:
            raise InvalidArgument("a rank of at least 1", repr(rank), "Use 1, 2, 4, ...")
        self.rank = rank
        self.natural_window = rank  # the buffer is then at most twice the trace

    exact = False
    joins_biases = False  # on their own they cost little and stay exact

    def zero(self, op: Operation, block: Block, dtype: Any) -> dict[str, Any]:
        if jnp.issubdtype(dtype, jnp.complexfloating):
            raise NotRepresentable(
                "real states for a trace of low rank",
                f"{op.name}, which feeds states of dtype {jnp.dtype(dtype).name}",
                "Use core.D_RTRL, or a decay.",
            )
        rank = min(self.rank, op.rows, len(block.components) * block.width)
        return {
            "u": jnp.zeros((*op.lead, rank, op.rows), dtype),
            "v": {s: jnp.zeros((*op.lead, rank, block.width), dtype) for s in block.components},
        }

    def contract(self, eps: Any, block: Block, dw: Any) -> dict[int, Any]:
        """sum_k v_k[s] (u_k dW)."""
        q = eps["u"] @ dw[:, block.columns]  # [lead, r, width]
        return {s: (v * q).sum(axis=-2) for s, v in eps["v"].items()}

    def advance(self, eps: Any, x: Any, g: Values, a_0: Pairs, after: Any = None) -> dict[str, Any]:
        """The window's factors appended and truncated."""
        u, v = jax.tree.map(lambda a: jnp.moveaxis(a, 0, -2), (x, dict(g)))
        old = eps["v"]
        moved = {s: sum(a_0[s, p][..., None, :] * old[p] for p in old) for s in old}
        both = (eps["u"], moved), (u, v)
        u, v = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=-2), *both)
        flat = jnp.concatenate(list(v.values()), axis=-1)
        u, flat = truncate(u, flat, min(self.rank, u.shape[-1], flat.shape[-1]))
        return {"u": u, "v": dict(zip(v, jnp.split(flat, len(v), axis=-1), strict=True))}


def truncate(u: Any, v: Any, rank: int) -> tuple[Any, Any]:
    """The best rank-`rank` factors of sum_k u_k (x) v_k, of more: [..., m, I], [..., m, J] -> m =
    rank."""
    # Squares of what is small must not vanish: rows are scaled to 1, and so is the core.
    (u, u_size), (v, v_size) = _scaled(u), _scaled(v)
    size = u_size * v_size
    largest = jnp.max(size, axis=-2, keepdims=True)
    q_u, q_v = orthonormal_basis(u), orthonormal_basis(v)
    share = size / jnp.where(largest > 0, largest, 1)
    core = jnp.swapaxes(share * _products(u, q_u), -1, -2) @ _products(v, q_v)
    turned = orthogonal_rows(core)
    sigma, kept = lax.top_k(jnp.linalg.vector_norm(turned, axis=-1), rank)
    # The direction of a row that is all rounding means nothing, and may be that of a strong one.
    least = core.shape[-1] * jnp.finfo(core.dtype).eps * sigma[..., :1]
    sigma = jnp.where(sigma > least, sigma, 0)[..., None]
    # The r strongest right singular vectors; the core projected on them is the best approximation.
    unit = jnp.where(sigma > 0, sigma, jnp.inf)
    right = jnp.take_along_axis(turned, kept[..., None], axis=-2) / unit
    u = (_products(right, core) @ q_u) * jnp.sqrt(largest / unit)
    return u, (right @ q_v) * jnp.sqrt(largest * sigma)


def _scaled(rows: Any) -> tuple[Any, Any]:
    """Rows with a largest element of 1, and what they were."""
    largest = jnp.max(jnp.abs(rows), axis=-1, keepdims=True)
    return rows / jnp.where(largest > 0, largest, 1), largest


def _products(a: Any, b: Any) -> Any:
    """Of every row of `a` with every row of `b`."""
    return a @ jnp.swapaxes(b, -1, -2)
