"""This machine's own limits: the rates of one large product and one large copy.

``python -m bench.sweep.machine_rates DTYPE`` measures them in a process of its own and prints them
as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench.bounds import is_number
from bench.environments import executable
from bench.sweep import launch, provenance, record
from bench.sweep.cell import Cell
from bench.sweep.folder import Folder

RATES = ("product_flops_per_s", "copy_bytes_per_s")
PRODUCT_SIZE = 2048
COPY_BYTES = 128 << 20
TIMEOUT_S = 120.0
ROUNDS, TRIALS, PAUSE_S = 4, 3, 0.5


# What failed to be measured in this process: not every cell of a sweep has to wait for that again.
_failed: set[str] = set()


def rates_here(folder: Folder, cell: Cell) -> dict[str, float]:
    """Rates of a large product and a large copy here, measured once a sweep; empty if that fails.

    They are kept in ``rates.json`` by machine and precision, so that a resumed sweep and merged
    folders use the rates of the machine that a cell ran on.
    """
    path = folder.path / "rates.json"
    name = f"{provenance.fingerprint(cell)} {cell.choices['device']} {cell.config['dtype']}"
    known: dict[str, Any] = {}
    with contextlib.suppress(OSError, record.Corrupt):
        found = record.load(path)
        known = found if isinstance(found, dict) else {}
    if _are_rates(known.get(name)):
        return dict(known[name])
    if name in _failed:
        return {}
    try:
        known[name] = _measured(cell)
    except (OSError, ValueError, subprocess.SubprocessError):
        # Not kept in the file: the next sweep may have more luck.
        _failed.add(name)
        return {}
    with contextlib.suppress(OSError, ValueError):
        record.write_json(path, known)
    return dict(known[name])


def _are_rates(found: object) -> bool:
    return isinstance(found, dict) and all(
        is_number(found.get(rate)) and found[rate] > 0 for rate in RATES)


def _measured(cell: Cell) -> dict[str, float]:
    answer = subprocess.run(
        [executable(cell.config["python"]), "-P", "-m", "bench.sweep.machine_rates",
         cell.config["dtype"]],
        env=launch.environment(cell.config), stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=TIMEOUT_S, check=True)
    # What a library prints comes before.
    found = json.loads((answer.stdout.splitlines() or [""])[-1])
    if not _are_rates(found):
        raise ValueError(f"no rates: {found}")
    return dict(found)


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
    parser = argparse.ArgumentParser("python -m bench.sweep.machine_rates", description=__doc__)
    parser.add_argument("dtype", choices=["float32", "float64"])
    print(json.dumps(measure(parser.parse_args().dtype)))
