"""A tree whose D-RTRL is slower by a known amount inside its compiled step.

    python -P -m tests.benchmarks.planted PERCENT OUT KEY=VALUE...

The planted code is a chain of layers that the step's output depends on, so XLA can neither drop
nor fold it; it is work of the step's own kind, so a busy machine slows down both alike. This
command, with the planted tree first on the path, finds the length of the chain for PERCENT of the
cell's step and measures what that length then really costs: the step with and without it, in turn
in one process on one core, the quickest tenth of each.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FILE = "core/algorithms/d_rtrl.py"
CALL = "            return super().window(params, carry, window)\n"
PLANTED = """            outs, after = super().window(params, carry, window)
            return _slowed(outs, params), after
"""
CHAIN = """

LOOPS = 0


def _slowed(outs: Any, params: Any) -> Any:
    import jax
    import jax.numpy as jnp

    if not LOOPS:
        return outs
    leaf = jax.lax.stop_gradient(jax.tree.leaves(params)[0])
    weights = jnp.resize(leaf, (32, 32))
    start = jnp.ones((64, 32), weights.dtype)
    burnt = jax.lax.fori_loop(0, LOOPS, lambda _, x: jnp.tanh(x @ weights + 0.1), start)
    return (outs[0] + 1e-30 * burnt[0, 0], *outs[1:])
"""
ROUNDS = 400
CHUNKS = 5
# On a busy machine the quickest steps are those that it let run: their ratio repeats to 1 %.
UNDISTURBED = 0.1


def plant(tree: Path) -> None:
    """Adds the chain, of length 0, to a tree's D-RTRL."""
    file = tree / FILE
    text = file.read_text(encoding="utf-8")
    if text.count(CALL) != 1:
        raise ValueError(f"{FILE}: expected one line {CALL.strip()!r}; got {text.count(CALL)}")
    file.write_text(text.replace(CALL, PLANTED) + CHAIN, encoding="utf-8")


def set_length(tree: Path, loops: int) -> None:
    """Makes the chain of a planted tree this long."""
    file = tree / FILE
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("\nLOOPS = 0\n", f"\nLOOPS = {loops}\n"), encoding="utf-8")


def calibrated(percent: float, overrides: list[str]) -> dict[str, Any]:
    """The length that costs ``percent`` of the cell's step, and what it was measured to cost."""
    plain = _step(0, overrides)
    long = 40
    step, extra = _in_turn(plain, _step(long, overrides))
    loops = max(1, round(long * percent / _change(step, extra)))
    return {"loops": loops, **effect(plain, _step(loops, overrides))}


def effect(plain: Callable[[], float], slow: Callable[[], float]) -> dict[str, Any]:
    """Change of the undisturbed step in percent, with the range over fifths of the rounds."""
    base, head = _in_turn(plain, slow)
    parts = zip(np.array_split(base, CHUNKS), np.array_split(head, CHUNKS), strict=True)
    changes = sorted(_change(*part) for part in parts)
    return {
        "percent": _change(base, head),
        "least": changes[0],
        "most": changes[-1],
        "step_ms": 1e3 * float(np.quantile(base, UNDISTURBED)),
    }


def _change(base: np.ndarray, head: np.ndarray) -> float:
    return 100 * float(np.quantile(head, UNDISTURBED) / np.quantile(base, UNDISTURBED) - 1)


def _in_turn(*steps: Callable[[], float]) -> tuple[np.ndarray, ...]:
    for step in steps:
        for _ in range(ROUNDS // 10):
            step()
    times = np.array([[step() for step in steps] for _ in range(ROUNDS)])
    return tuple(times.T)


def _step(loops: int, overrides: list[str]) -> Callable[[], float]:
    """One step of the cell as the harness runs it; returns its seconds."""
    import jax

    from bench.cell.build import build
    from bench.command.cli import cells_of

    importlib.import_module("core.algorithms.d_rtrl").LOOPS = loops  # type: ignore[attr-defined]
    (cell,) = cells_of(None, overrides, False)
    run, _ = build(cell.config, cell.choices)
    batch = run.stepper.prepare(*run.batch)
    values = run.stepper.values()

    def step() -> float:
        nonlocal values
        started = time.perf_counter()
        values, result = run.stepper(values, batch)
        jax.block_until_ready((values, result))
        return time.perf_counter() - started

    return step


if __name__ == "__main__":
    if sys.platform == "linux":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    found = calibrated(float(sys.argv[1]), sys.argv[3:])
    Path(sys.argv[2]).write_text(json.dumps(found, indent=1), encoding="utf-8")
