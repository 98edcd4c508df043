"""Eligibility traces: what an online algorithm remembers of the past of each weight.

A trace of a block (some columns of y = x W that feed the neurons of one group) stands for the
derivative of a state component with respect to those columns of W, per sample:
    dh[s] = contract(trace[s], dW)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import brainstate
import jax
import jax.numpy as jnp

from core.operation import Block, Operation

__all__ = [
    "DenseTrace",
    "EligibilityTrace",
    "advance_parameter",
    "outer",
    "spread",
    "trace_bytes",
]


class EligibilityTrace(brainstate.ShortTermState):
    """The brainstate State that holds an algorithm's traces (a pytree of arrays)."""


def outer(x: Any, g: Any) -> Any:
    """sum_t x_t (x) g_t: [K, lead, I], [K, lead, H] -> [lead, I, H]; one GEMM per sample."""
    if x.shape[0] == 1:
        return x[0][..., :, None] * g[0][..., None, :]
    return jnp.einsum("k...i,k...h->...ih", x, g)


def spread(values: Any, neurons: slice, n: int) -> Any:
    """Place [..., width] at `neurons` of an axis of length n."""
    if neurons.start == 0 and neurons.stop == n:
        return values
    padding = [(0, 0)] * (values.ndim - 1) + [(neurons.start, n - neurons.stop)]
    return jnp.pad(values, padding)


class DenseTrace:
    """eps itself, [lead, I, width] for each component: exact, memory O(B I H)."""

    natural_window: int | None = None

    def zeros(self, op: Operation, block: Block, dtype: Any) -> dict[int, Any]:
        """eps = 0 of a block."""
        return {s: jnp.zeros((*op.lead, op.n_in, block.width), dtype) for s in block.components}

    def contract(
        self, eps: Mapping[int, Any], op: Operation, block: Block, dw: Any
    ) -> dict[int, Any]:
        """dh[s] [lead, width] = sum_i eps[s] [lead, i, width] dW [i, width]."""
        dw = op.canonical_w(dw)[:, block.columns]
        return {s: (eps[s] * dw).sum(axis=-2) for s in block.components}

    def advance(
        self,
        eps: Mapping[int, Any] | None,
        x: Any,
        g: Mapping[int, Any],
        a_0: Mapping[tuple[int, int], Any],
        op: Operation,
        block: Block,
    ) -> dict[int, Any]:
        """eps_K[s] = sum_p A_0[s, p] eps_0[p] + sum_t x_t (x) g_t[s], with g_t = A_t f_t.

        Args:
          eps: eps_0, None for zero.
          x: [K, lead, I].
          g: [K, lead, width] by component.
          a_0: [lead, width] by pair of components.
        """
        new = {s: outer(x, g[s]) for s in block.components}
        if eps is not None:
            for s, p in a_0:
                new[s] += a_0[s, p][..., None, :] * eps[p]
        return new


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
