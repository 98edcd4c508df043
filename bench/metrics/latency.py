"""How long one step of learning takes where samples come one after another."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.bounds import Count, Positive
from bench.cell.contention import contention, usage
from bench.errors import Skip
from bench.metrics.base import Metric, Run

TURN_S = 0.1
# Of fewer calls than this the 99th percentile is a matter of a handful.
LEAST_FOR_P99 = 1000


class Latency(Metric):
    """Steps called from Python one by one, an update at each, by turns with the same in one loop.

    The batch's sequences come again and again, and the states start anew with each. A call's time
    is that from inputs in NumPy to loss, output and weights that have learned from them. What runs
    in the loop is the cell's training step. The first turn of each is warm-up, and so is the first
    time of every turn, which finds the other's caches. Garbage collection waits meanwhile.

    Args:
        steps: calls that are timed.
        budget_s: seconds after which there are no more, but for those of the turn.
    """

    reads_clock = True

    def __init__(self, steps: Count = 10000, budget_s: Positive = 6.0) -> None:
        self._steps = steps
        self._budget_s = budget_s

    def measure(self, run: Run) -> dict[str, Any]:
        import jax

        from bench.cell.compilations import Compilations
        from bench.cell.pairs import Side, turn

        try:
            learn = _learner(run)
        except Skip as reason:
            return {"note": f"no latency: {reason}"}
        sequence = itertools.cycle(steps_of(run))
        loop = Side(run.stepper, run.batch)

        def call() -> float:
            sample = next(sequence)
            began = time.perf_counter()
            jax.block_until_ready(learn(*sample))
            return time.perf_counter() - began

        turn(call, TURN_S)
        loop.turn(TURN_S)
        calls: list[float] = []
        loops: list[float] = []
        gc.collect()
        gc.disable()
        try:
            with Compilations() as compilations:
                before = usage()
                while len(calls) < self._steps:
                    calls += turn(call, TURN_S)
                    loops += loop.turn(TURN_S)
                    if time.perf_counter() - before.wall_s > self._budget_s:
                        break
                after = usage()
        finally:
            gc.enable()
        p50, p99 = (1e6 * float(np.quantile(calls, q)) for q in (0.5, 0.99))
        busy = contention(before, after, on_gpu=jax.default_backend() != "cpu")["contended"]
        parts: dict[str, Any] = {
            "metrics": {
                "latency_p50_us": p50,
                "latency_p99_us": p99 if len(calls) >= LEAST_FOR_P99 else None,
                "latency_steps": len(calls),
                "latency_contended": busy,
                "stream_steps_per_s": 1 / float(np.mean(calls)),
                "scan_steps_per_s": run.config.n_steps / float(np.mean(loops)),
            }
        }
        if compilations.count:
            parts["invalid"] = f"{compilations.count} compilations while the latency was measured"
        return parts


def steps_of(run: Run) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The steps of the cell's batch as a trainee's ``stream`` takes them, in NumPy."""
    import jax.numpy as jnp

    xs, ys = run.batch
    asked, per_step = run.task.answers.in_time(jnp.asarray(ys), jnp.asarray(xs))
    starts = np.zeros((len(xs), len(ys)), bool)
    starts[0] = True
    return list(zip(xs, np.array(asked) if per_step else [ys] * len(xs), starts, strict=True))


def _learner(run: Run) -> Callable[..., Any]:
    """What learns from one step a call.

    Raises:
        Skip: where the cell has no such thing.
    """
    if run.config.update_every != 1:
        raise Skip(
            f"a stream learns at every step: expected update_every=1; got {run.config.update_every}"
        )
    if run.config.devices > 1:
        raise Skip(f"a stream is on one device: expected devices=1; got {run.config.devices}")
    return run.trainee.stream(run.batch[0][0])
