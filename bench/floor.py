"""This machine's own limits: the rates of one large product and one large copy.

``python -m bench.floor DTYPE`` measures them in a process of its own and prints them as JSON.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

RATES = ("product_flops_per_s", "copy_bytes_per_s")
PRODUCT_SIZE = 2048
COPY_BYTES = 128 << 20
ROUNDS, TRIALS, PAUSE_S = 4, 3, 0.5


def measure(dtype: str) -> dict[str, float]:
    """The best of several trials of each.

    Args:
        dtype: float32 or float64.

    Returns:
        ``product_flops_per_s`` of a square matrix product, and ``copy_bytes_per_s`` of an
        element-wise pass over an array far larger than any cache: bytes read and written.
    """
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", dtype == "float64")
    matrix = jnp.ones((PRODUCT_SIZE, PRODUCT_SIZE), dtype)
    vector = jnp.ones(COPY_BYTES // matrix.dtype.itemsize, dtype)
    product, copy = jax.jit(lambda a: a @ a), jax.jit(lambda a: a + 1)
    product_s, copy_s = best([lambda: product(matrix), lambda: copy(vector)])
    return dict(zip(RATES, (2.0 * PRODUCT_SIZE**3 / product_s, 2.0 * COPY_BYTES / copy_s),
                    strict=True))


def best(calls: Sequence[Callable[[], Any]]) -> list[float]:
    """Seconds of the quickest trial of each call.

    What keeps a machine busy often lasts for seconds: the rounds are that far apart.
    """
    for call in calls:
        call().block_until_ready()
    least = [math.inf] * len(calls)
    for round_ in range(ROUNDS):
        time.sleep(PAUSE_S if round_ else 0.0)
        for i, call in enumerate(calls):
            for _ in range(TRIALS):
                started = time.perf_counter()
                call().block_until_ready()
                least[i] = min(least[i], time.perf_counter() - started)
    return least


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
