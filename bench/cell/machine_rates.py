"""Measures what this machine can do at most: the rates of one large product and one large copy.

``bench.sweep.machine_rates`` asks for them.
"""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench import child
from bench.cell.contention import contention, usage

PRODUCT_SIZE = 2048
COPY_BYTES = 128 << 20
ROUNDS, TRIALS, PAUSE_S = 4, 3, 0.5


def measure(dtype: str) -> dict[str, Any]:
    """The slowest and quickest of several rounds of each; only the moment on a busy machine.

    ``product_flops_per_s`` is of a square matrix product, ``copy_bytes_per_s`` of an element-wise
    pass over an array far larger than any cache, bytes read and written; each as [low, high].
    """
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", dtype == "float64")
    matrix = jnp.ones((PRODUCT_SIZE, PRODUCT_SIZE), dtype)
    vector = jnp.ones(COPY_BYTES // matrix.dtype.itemsize, dtype)
    product, copy = jax.jit(lambda a: a @ a), jax.jit(lambda a: a + 1)
    on_gpu = jax.default_backend() != "cpu"
    rounds = quiet_rounds([lambda: product(matrix), lambda: copy(vector)], on_gpu)
    found = {"measured": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
    if not rounds:
        return found
    work = {"product_flops_per_s": 2.0 * PRODUCT_SIZE**3, "copy_bytes_per_s": 2.0 * COPY_BYTES}
    return found | {
        rate: [work[rate] / max(times), work[rate] / min(times)]
        for rate, times in zip(work, zip(*rounds, strict=True), strict=True)
    }


def quiet_rounds(calls: Sequence[Callable[[], Any]], on_gpu: bool = False) -> list[list[float]]:
    """Seconds of the quickest trial of each call, for each round that nothing disturbed.

    What keeps a machine busy often lasts for seconds: the rounds are that far apart.
    """
    for call in calls:
        call().block_until_ready()
    rounds = []
    for round_ in range(ROUNDS):
        time.sleep(PAUSE_S if round_ else 0.0)
        before, least = usage(), [math.inf] * len(calls)
        for i, call in enumerate(calls):
            for _ in range(TRIALS):
                started = time.perf_counter()
                call().block_until_ready()
                least[i] = min(least[i], time.perf_counter() - started)
        if not contention(before, usage(), on_gpu=on_gpu)["contended"]:
            rounds.append(least)
    return rounds


if __name__ == "__main__":
    child.answer(lambda dtype: [measure(dtype)], __doc__)
