"""Eligibility traces: what an online algorithm remembers of the past of each weight.

A trace of a block (some columns of y = x W that feed the neurons of one group) stands for the
derivative of a state component with respect to those columns of W, per sample:
    dh[s] = contract(trace[s], dW)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from core.operation import Block, Operation
from core.rollout import scan

__all__ = [
    "DenseTrace",
    "EligibilityTrace",
    "advance_parameter",
    "enter",
    "outer",
    "trace_bytes",
]


class EligibilityTrace(brainstate.ShortTermState):
    """The brainstate State that holds an algorithm's traces (a pytree of arrays)."""


def outer(x: Any, g: Any) -> Any:
    """sum_t x_t (x) g_t: [K, lead, I], [K, lead, H] -> [lead, I, H]; one GEMM per sample."""
    if x.shape[0] == 1:
        return x[0][..., :, None] * g[0][..., None, :]
    return jnp.einsum("k...i,k...h->...ih", x, g)


def enter(flow: dict[int, Any], s: int, values: Any, neurons: Any) -> None:
    """Add [..., width] to `flow[s]` [..., n] at `neurons`."""
    into = flow[s]
    n = into.shape[-1]
    values = values.astype(into.dtype)
    if not isinstance(neurons, slice):
        flow[s] = into.at[..., np.array(neurons)].add(values)
    elif neurons.start == 0 and neurons.stop == n:
        flow[s] = into + values
    else:
        padding = [(0, 0)] * (values.ndim - 1) + [(neurons.start, n - neurons.stop)]
        flow[s] = into + jnp.pad(values, padding)


def zero_after(tree: Any) -> Any:
    """An integer zero that is known only when all arrays of `tree` are.

    An array that was read on the way to `tree` may be overwritten by what depends on this zero.
    `lax.optimization_barrier` does not say so: XLA's CPU backend removes it before it decides
    which buffers to share, and then copies the array.
    """
    zero = sum(0.0 * leaf.ravel()[0].real for leaf in jax.tree.leaves(tree) if leaf.size)
    return jnp.where(zero == 0, zero, 0.0).astype(jnp.int32)  # also of what is not finite


# A trace is advanced a few samples at a time, so that the product that is added to it takes little
# memory, and stays in the cache of a CPU.
CPU_TILE_BYTES, TILE_BYTES = 2**22, 2**28


class DenseTrace:
    """eps itself, [lead, rows, width] for each component: exact, memory O(B I H)."""

    exact = True
    joins_biases = True  # a bias is one more row
    natural_window: int | None = None

    def zeros(self, op: Operation, block: Block, dtype: Any) -> dict[int, Any]:
        """eps = 0 of a block."""
        return {s: jnp.zeros((*op.lead, op.rows, block.width), dtype) for s in block.components}

    def contract(
        self, eps: Mapping[int, Any], op: Operation, block: Block, dw: Any
    ) -> dict[int, Any]:
        """dh[s] [lead, width] = sum_i eps[s] [lead, i, width] dW [i, width], dW [rows, H]."""
        return {s: _by_samples(eps[s], dw[:, block.columns]) for s in block.components}

    def advance(
        self,
        eps: Mapping[int, Any] | None,
        x: Any,
        g: Mapping[int, Any],
        a_0: Mapping[tuple[int, int], Any],
        op: Operation,
        block: Block,
        after: Any = None,
    ) -> dict[int, Any]:
        """eps_K[s] = sum_p A_0[s, p] eps_0[p] + sum_t x_t (x) g_t[s], with g_t = A_t f_t.

        Args:
          eps: eps_0, None for zero.
          x: [K, lead, rows].
          g: [K, lead, width] by component.
          a_0: [lead, width] by pair of components.
          after: of `zero_after`; the traces are then updated in place.
        """
        # Without the barrier XLA computes g and A_0 again for each of the I rows of the trace.
        x, g, a_0 = lax.optimization_barrier((x, dict(g), dict(a_0)))

        def advanced(eps: Any, x: Any, g: Any, a_0: Any) -> dict[int, Any]:
            new = {s: outer(x, g[s]) for s in block.components}
            for s, p in a_0 if eps is not None else ():
                new[s] += a_0[s, p][..., None, :] * eps[p]
            return new

        if eps is None or len(op.lead) != 1:
            return advanced(eps, x, g, a_0)
        samples, row = op.lead[0], next(iter(eps.values()))[0]
        room = CPU_TILE_BYTES if jax.default_backend() == "cpu" else TILE_BYTES
        # At least two tiles: of a tile that is the whole, XLA would not see `after` any more.
        fitting = max(1, min(room // (row.size * row.dtype.itemsize), samples // 2))
        size = max(k for k in range(1, fitting + 1) if samples % k == 0)

        def some(i: Any, eps: Any) -> Any:
            first = i * size + (0 if after is None else after)

            def tile(a: Any, axis: int = 0) -> Any:
                return lax.dynamic_slice_in_dim(a, first, size, axis)

            new = advanced(
                jax.tree.map(tile, dict(eps)),
                tile(x, 1),
                {s: tile(a, 1) for s, a in g.items()},
                jax.tree.map(tile, a_0),
            )
            return {s: lax.dynamic_update_slice_in_dim(eps[s], new[s], first, 0) for s in eps}

        return lax.fori_loop(0, samples // size, some, dict(eps))


def _by_samples(eps: Any, dw: Any) -> Any:
    """sum_i eps [..., I, H] dW [I, H], a few samples at a time.

    Only its transpose is ever run: dW = sum_b eps_b dh_b. On a CPU it is multiply-adds of a few
    samples, read where they lie, over one dW. As one reduction over the leading axis XLA's CPU
    backend took five times as long, and so did slices of eps as the inputs of a loop, which copies
    them.
    """
    *lead, n_in, width = eps.shape
    if jax.default_backend() != "cpu":
        return (eps * dw).sum(axis=-2)
    rows = math.prod(lead)
    size = max(k for k in range(1, 5) if rows % k == 0)
    eps = eps.reshape(rows, n_in, width)

    @partial(jax.checkpoint, prevent_cse=False)  # else every slice is kept: a copy of the trace
    def some(_: None, first: Any) -> tuple[None, Any]:
        each = [lax.dynamic_index_in_dim(eps, first + j, keepdims=False) for j in range(size)]
        return None, jnp.stack([(one * dw).sum(axis=0) for one in each])

    _, dh = scan(some, None, jnp.arange(0, rows, size))
    return dh.reshape(*lead, width)


def advance_parameter(
    eps: Mapping[int, Any] | None, g: Mapping[int, Any], a_0: Mapping[tuple[int, int], Any]
) -> dict[int, Any]:
    """The trace of an element-wise parameter over a window, [lead, width] by component:
    eps_K[s] = sum_p A_0[s, p] eps_0[p] + sum_t g_t[s]."""
    new = {s: value.sum(axis=0) for s, value in g.items()}
    if eps is not None:
        for s, p in a_0:
            new[s] += a_0[s, p] * eps[p]
    return new


def trace_bytes(traces: Mapping[str, Any]) -> dict[str, int]:
    """Bytes by name; every leaf counts, with its batch axis if it has one."""
    return {
        name: sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(trace))
        for name, trace in traces.items()
    }
