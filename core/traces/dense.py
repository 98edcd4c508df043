"""Traces kept as they are, eps [lead, I, H] for each component of a state."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from core.analysis.graph import Graph
from core.analysis.operation import Block, Operation, Parameter
from core.errors import InvalidArgument
from core.execution.axes import behind
from core.execution.recurrence import Pairs
from core.execution.step import Values
from core.traces.full import FullTrace, Source, of_blocks
from core.traces.pending import CACHED_BYTES, Pending, held_back, slots


def outer(x: Any, g: Any) -> Any:
    """sum_t x_t (x) g_t: [K, ..., I], [K, ..., H] -> [..., I, H]; one GEMM per sample."""
    if len(x) == 1:
        return x[0, ..., :, None] * g[0, ..., None, :]
    return jnp.einsum("k...i,k...h->...ih", x, g)


# A trace is advanced a few samples at a time, so that the product that is added to it takes little
# memory, and stays in the cache of a CPU.
CPU_TILE_BYTES, TILE_BYTES = 2**23, 2**28


class DenseTrace(FullTrace):
    """eps itself, [lead, rows, width] for each component: exact, memory O(B I H).

    Kept in `dtype`, if not in that of its states (complex ones in complex64 at least); what is
    computed with it is computed in theirs. Where updates come before, `pending` steps are held back
    from it; "auto" for as many as its size wants.
    """

    def __init__(self, dtype: Any = None, pending: int | str = "auto") -> None:
        try:
            self.dtype: Any = None if dtype is None else jnp.dtype(dtype)
            jnp.promote_types(self.dtype or float, jnp.float32)  # which 8 bits do not allow
            valid = dtype is None or jnp.issubdtype(jnp.dtype(dtype), jnp.floating)
        except (TypeError, ValueError):
            valid = False
        if not valid:
            raise InvalidArgument(
                "trace_dtype to be a floating dtype or None",
                repr(dtype),
                "Use one of at least 16 bits, for example float16 or bfloat16.",
            )
        self.pending = pending

    def zero(self, op: Operation, block: Block, dtype: Any) -> dict[int, Any]:
        shape, kept = (*op.lead, op.rows, block.width), self.dtype or dtype
        if jnp.issubdtype(dtype, jnp.complexfloating):  # of which there is no half
            kept = jnp.promote_types(kept, jnp.complex64)
        return {s: jnp.zeros(shape, kept) for s in block.components}

    def contract(self, eps: Any, block: Block, dw: Any) -> dict[int, Any]:
        """sum_i eps[s] [lead, i, width] dW [i, width]."""
        dw = dw[:, block.columns]
        if not isinstance(eps, Pending):
            return {s: _by_samples(eps[s], dw) for s in block.components}
        held, old = eps.drive(dw), {p: _by_samples(e, dw) for p, e in eps.eps.items()}
        return {s: held[s] + sum(eps.moved[s, p] * old[p] for p in old) for s in held}

    def advance(self, eps: Any, x: Any, g: Values, a_0: Pairs, after: Any = None) -> Any:
        """With `after`, in place."""
        if not isinstance(eps, Pending):
            return self._taken_in(eps, x, g, a_0, after)
        if len(x) > eps.room:
            whole = self._taken_in(self._whole(eps), x, g, a_0, after)
            return held_back(whole, eps.room, eps.x.dtype)
        held = eps.after(dict(a_0))
        full = eps.count.max() + len(x) > eps.room
        x_held, g_held = _steps_first(held)
        whole = self._taken_in(eps.eps, x_held, g_held, held.moved, after, only_if=full)
        x, new = jax.tree.map(lambda a: jnp.moveaxis(a, 0, -2), (x, dict(g)))
        return held.with_steps(x, new, whole, full)

    def held(self, graph: Graph, traces: Any, steps: int | None) -> Any:
        """With room to hold steps back, where that is worth it."""

        def of(source: Source, block: Block, _: int, b: int) -> Any:
            eps = traces[source.label][b]
            if steps is None:
                return self._whole(eps) if isinstance(eps, Pending) else eps
            if isinstance(source, Parameter) or isinstance(eps, Pending):
                return eps
            room = slots(eps, steps, self.pending)
            return held_back(eps, room, graph.dtype(block.group)) if room else eps

        return of_blocks(graph, of)

    def _whole(self, eps: Pending) -> dict[int, Any]:
        """The trace itself, with what has been held back from it."""
        x, g = _steps_first(eps)
        return self._taken_in(eps.eps, x, g, eps.moved)

    def _taken_in(
        self, eps: Values, x: Any, g: Values, a_0: Pairs, after: Any = None, only_if: Any = True
    ) -> dict[int, Any]:
        """As `advance`, a few samples at a time, and in place."""
        # Without the barrier XLA computes g and A_0 again for each of the I rows of the trace.
        x, g, a_0 = lax.optimization_barrier((x, dict(g), dict(a_0)))

        def advanced(eps: Any, x: Any, g: Any, a_0: Any) -> dict[int, Any]:
            new = {s: outer(x, g[s]) for s in g}
            for s, p in a_0:
                new[s] += a_0[s, p][..., None, :] * eps[p]
            return {s: a.astype(eps[s].dtype) for s, a in new.items()}

        lead = x.shape[1:-1]
        if math.prod(lead) == 1 and only_if is True:
            return advanced(eps, x, g, a_0)
        old, a_0 = jax.tree.map(lambda a: a.reshape(-1, *a.shape[len(lead) :]), (dict(eps), a_0))
        x, g = jax.tree.map(lambda a: a.reshape(len(a), -1, a.shape[-1]), (x, g))
        samples, *row = next(iter(old.values())).shape
        room = CPU_TILE_BYTES if jax.default_backend() == "cpu" else TILE_BYTES
        # At least two tiles: of a tile that is the whole, XLA would not see `after` any more.
        fitting = min(room // (math.prod(row) * x.dtype.itemsize), samples // 2)
        size = max(k for k in range(1, max(1, fitting) + 1) if samples % k == 0)

        def some(i: Any, eps: Any) -> Any:
            first = i * size + (0 if after is None else after)

            def tile(tree: Any, axis: int = 0) -> Any:
                return jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, first, size, axis), tree)

            # Slices of x as it lies: where all of it is turned first, XLA's GPU backend does that
            # to the inputs of the whole sequence.
            new = advanced(tile(eps), tile(x, 1), tile(g, 1), tile(a_0))
            return {s: lax.dynamic_update_slice_in_dim(eps[s], a, first, 0) for s, a in new.items()}

        tiles = jnp.where(only_if, samples // size, 0) if only_if is not True else samples // size
        return {s: a.reshape(eps[s].shape) for s, a in lax.fori_loop(0, tiles, some, old).items()}


def _steps_first(held: Pending) -> tuple[Any, dict[int, Any]]:
    """x and g of the steps held back, [c, lead, ...]."""
    return jax.tree.map(lambda a: jnp.moveaxis(a, -2, 0), (held.x, held.g))


def _over_rows(eps: Any, dw: Any) -> Any:
    return (eps * behind(dw, eps)).sum(axis=-2)


def _over_samples(ct: Any, eps: Any, dw: Any) -> Any:
    """dW = sum_b eps_b dh_b, the transpose of `_by_samples` and all of it that is ever run.

    On a CPU it is multiply-adds of a few samples, read where they lie, over one dW; of more where
    the caches hold the trace, and a turn of the loop, which XLA splits over two threads, costs as
    much as its arithmetic. As one reduction over the leading axis XLA's CPU backend took five times
    as long, and three times as what jax makes of a loop over samples when it transposes that.
    """
    *lead, n_in, width = eps.shape
    rows, shape = math.prod(lead), dw.aval.shape
    eps, ct = eps.reshape(rows, n_in, width), ct.reshape(rows, width)
    if jax.default_backend() != "cpu":
        return (eps * ct[:, None]).sum(axis=0).astype(dw.aval.dtype).reshape(shape)
    most = 8 if rows > 8 and eps.size * eps.dtype.itemsize < CACHED_BYTES else 4
    size = max(k for k in range(1, most + 1) if rows % k == 0)

    def some(i: Any, total: Any) -> Any:
        for at in (i * size + j for j in range(size)):
            total += lax.dynamic_index_in_dim(eps, at, keepdims=False) * ct[at][None]
        return total

    zero = jnp.zeros((n_in, width), jnp.result_type(eps, ct))
    return lax.fori_loop(0, rows // size, some, zero).astype(dw.aval.dtype)


def _batched(arrays: Any, axes: Any) -> Any:
    """One more axis of samples, unless every one has a dW of its own."""
    eps, dw = arrays
    if axes[1] is not None:
        return jax.vmap(_over_rows, axes)(eps, dw), 0
    return _by_samples(jnp.moveaxis(eps, axes[0], 0), dw), 0


# sum_i eps [..., I, H] dW [I, H] -> [..., H].
_contraction = Primitive("trace_contraction")
_by_samples = _contraction.bind
_contraction.def_impl(_over_rows)
_contraction.def_abstract_eval(
    lambda eps, dw: jax.core.ShapedArray(
        (*eps.shape[:-2], eps.shape[-1]), jnp.result_type(eps.dtype, dw.dtype)
    )
)
ad.defbilinear(_contraction, lambda ct, eps, dw: ct[..., None, :] * dw, _over_samples)
batching.primitive_batchers[_contraction] = _batched
mlir.register_lowering(_contraction, mlir.lower_fun(_over_rows, multiple_results=False))
