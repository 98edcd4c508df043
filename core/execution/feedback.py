"""Random feedback: credit passes back within a step through fixed matrices, not the weights.

In y = x W the derivative of the loss reaches x as dL/dy B^T instead of dL/dy W^T, with
B = rms(W) Z and Z normal, drawn once from a seed. Its direction never changes; its size is that of
W, so that a unit or an initialisation changes nothing. Whatever is computed with W forwards, and
the traces, are untouched. All products that pass credit back have a B of their own: readouts, the
products between layers, and the one through which a gate reaches the state.

Reference: Lillicrap et al., Nature Communications 7 (2016).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from core.analysis.graph import Graph
from core.errors import check_choice, checked_seed

# Weights that were drawn from the same seed have nothing to do with these matrices.
OWN = 0xFEEDBACC


class Feedback:
    """How credit passes back through products: "symmetric" (the weights themselves) or "random"."""

    def __init__(self, kind: str, seed: int) -> None:
        check_choice("feedback", kind, "symmetric", "random")
        self.random, self.seed = kind == "random", checked_seed(seed)

    def of(self, graph: Graph, values: Any) -> Any:
        """`values` of a step with B in the place of every W."""
        if not self.random:
            return values
        key, found = jax.random.fold_in(jax.random.key(self.seed), OWN), {}
        for k, w in enumerate(dict.fromkeys(op.w for op in graph.operations)):
            whole = jnp.promote_types(values[w].dtype, jnp.float32)  # a square of float16 is zero
            size = jnp.sqrt(jnp.mean(jnp.abs(values[w].astype(whole)) ** 2))
            drawn = jax.random.normal(jax.random.fold_in(key, k), values[w].shape, size.dtype)
            found[w] = (size * drawn).astype(values[w].dtype)
        return {**values, **found}
