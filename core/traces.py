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

__all__ = ["EligibilityTrace", "advance_parameter", "outer", "spread", "trace_bytes"]


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


def advance_parameter(
    eps: Mapping[int, Any] | None, g: Mapping[int, Any], a_0: Mapping[tuple[int, int], Any]
) -> dict[int, Any]:
    """The trace of an element-wise parameter over a window, [lead, width] by component:
    eps_K[s] = sum_p A_0[s, p] eps_0[p] + sum_t g_t[s]."""
    new = {s: value.sum(axis=0) for s, value in g.items()}
    for s in g if eps is not None else ():
        for p in g:
            new[s] += a_0[s, p] * eps[p]
    return new


def trace_bytes(traces: Mapping[str, Any]) -> dict[str, int]:
    """Bytes by name; every leaf counts, with its batch axis if it has one."""
    return {
        name: sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(trace))
        for name, trace in traces.items()
    }
