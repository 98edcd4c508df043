"""How long one step of learning takes where samples come one after another."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.bounds import Count, Positive
from bench.cell.contention import Watch
from bench.errors import Skip
from bench.metrics.base import Metric, Run

TURN_S = 0.1
# Of fewer calls than this the 99th percentile is a matter of a handful.
LEAST_FOR_P99 = 1000


@dataclass
class Latency(Metric):
    """Steps called from Python one by one, an update at each, by turns with the same in one loop.

    The batch's sequences come again and again, and the states start anew with each. A call's time
    is that from inputs in NumPy to loss, output and weights that have learned from them. What runs
    in the loop is the cell's training step. The first turn of each is warm-up, and so is the first
    time of every turn, which finds the other's caches.
    """

    of_process = True

    steps: Count = 10000  # calls that are timed
    budget_s: Positive = 6.0  # seconds after which there are no more, but for those of the turn

    def measure(self, run: Run) -> dict[str, Any]:
        import jax

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
        turn(loop.step, TURN_S)
        calls: list[float] = []
        loops: list[float] = []
        with Watch() as watch:
            ends = time.perf_counter() + self.budget_s
            while len(calls) < self.steps:
                calls += turn(call, TURN_S)
                loops += turn(loop.step, TURN_S)
                if time.perf_counter() > ends:
                    break
        p50, p99 = (1e6 * float(np.quantile(calls, q)) for q in (0.5, 0.99))
        return {
            "metrics": {
                "latency_p50_us": p50,
                "latency_p99_us": p99 if len(calls) >= LEAST_FOR_P99 else None,
                "latency_steps": len(calls),
                "latency_contended": watch.columns()["contended"],
                "stream_steps_per_s": 1 / float(np.mean(calls)),
                "scan_steps_per_s": run.config.n_steps / float(np.mean(loops)),
            },
            **watch.invalid(),
        }


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
    config = run.config
    if config.update_every != 1:
        raise Skip(
            f"a stream learns at every step: expected update_every=1; got {config.update_every}"
        )
    if config.devices > 1:
        raise Skip(f"a stream is on one device: expected devices=1; got {config.devices}")
    return run.trainee.stream(run.batch[0][0])
