"""Steady-state time of a training step, and the phases before it."""

from __future__ import annotations

import gc
import time
from typing import Any, Literal

import numpy as np

from bench.bounds import Count, NotNegative, Positive
from bench.cell.contention import contention, usage
from bench.cell.statistics import low_quantile, median_interval, narrow_enough, steady
from bench.cell.time_slices import TimeSlices
from bench.metrics.base import Metric, Run

BLOCK_STEPS = 3
BLOCK_S = 0.1
LOOK_AGAIN = 1.2


class Timing(Metric):
    """Warm-up until two blocks of steps agree, then steps until the median is known well enough.

    Each sample is one step, blocked on all of its outputs. Garbage collection waits meanwhile.

    Args:
        warmup_s: longest warm-up in seconds.
        steady_within: two successive blocks agree when their medians differ by this fraction.
        ci_width: sampling stops when the 95 % interval of the median is this fraction of it wide.
        min_samples: fewest samples.
        max_samples: most samples.
        budget_s: longest sampling in seconds, once there are ``min_samples``; for these three times
            as long, and then sampling stops with what there is.
        least_s: shortest sampling in seconds, whatever the interval says; never above ``budget_s``.
        against: ``bptt`` takes turns with BPTT of the same model afterwards, until the interval of
            the ratio is ``ci_width`` wide, within ``budget_s``; None leaves that out.
    """

    reads_clock = True

    def __init__(
        self,
        warmup_s: NotNegative = 5.0,
        steady_within: NotNegative = 0.1,
        ci_width: NotNegative = 0.05,
        min_samples: Count = 15,
        max_samples: Count = 500,
        budget_s: Positive = 4.0,
        least_s: NotNegative = 0.0,
        against: Literal["bptt"] | None = None,
    ) -> None:
        self._warmup_s = warmup_s
        self._steady_within = steady_within
        self._ci_width = ci_width
        self._min_samples = min_samples
        self._max_samples = max_samples
        self._budget_s = budget_s
        self._least_s = min(least_s, budget_s)
        self._against = against

    def measure(self, run: Run) -> dict[str, Any]:
        import jax

        from bench.cell.compilations import Compilations

        batch = run.stepper.prepare(*run.batch)
        self._values = run.stepper.values()
        with TimeSlices() as self._turns:
            warm, settled = self._warm_up(run, batch)
            gc.collect()
            gc.disable()
            try:
                with Compilations() as compilations:
                    waited, before = self._turns.waited_s, usage()
                    samples = self._sample(run, batch)
                    after = usage()
            finally:
                gc.enable()
        del self._values
        waited = self._turns.waited_s - waited
        median = float(np.median(samples))
        low, high = median_interval(samples)
        sequences = run.config.batch_size
        steps = sequences * run.config.n_steps
        parts: dict[str, Any] = {
            "metrics": {
                "step_time_ms": 1e3 * median,
                "step_time_ms_lo": 1e3 * low,
                "step_time_ms_hi": 1e3 * high,
                "step_time_low_ms": 1e3 * low_quantile(samples),
                "step_time_mean_ms": 1e3 * float(np.mean(samples)),
                "step_time_iqr_ms": 1e3 * float(np.subtract(*np.quantile(samples, [0.75, 0.25]))),
                "timesteps_per_s": steps / median,
                "timesteps_per_s_lo": steps / high,
                "timesteps_per_s_hi": steps / low,
                "sequences_per_s": sequences / median,
                "sequences_per_s_lo": sequences / high,
                "sequences_per_s_hi": sequences / low,
                "warmup_steps": len(warm),
                "timed_steps": len(samples),
                "steady": float(settled),
                **contention(before, after, waited, on_gpu=jax.default_backend() != "cpu"),
            },
            "samples": {"step_time_ms": [1e3 * s for s in samples]},
        }
        if compilations.count:
            parts["invalid"] = (
                f"{compilations.count} compilations inside the timed region: "
                "its times are not those of a step"
            )
        if self._against and not self._turns.granted:
            self._pair(run, parts)
        return parts

    def _pair(self, run: Run, parts: dict[str, Any]) -> None:
        """Adds the ratio to BPTT's time, or a note why there is none."""
        from bench.cell.pairs import bptt_stepper, is_bptt, time_ratio

        if is_bptt(run.config):
            ratio = (1.0, 1.0, 1.0)
        else:
            try:
                found = time_ratio(
                    run,
                    bptt_stepper(run),
                    width=self._ci_width,
                    budget_s=self._budget_s,
                    least_s=self._least_s,
                )
            except Exception as error:
                # A cell is worth its own time where BPTT cannot be built, or does not fit.
                words = " ".join(str(error).split()) or type(error).__name__
                parts["note"] = f"not timed against BPTT: {words}"
                return
            finally:
                run.stepper.store(run.initial)
            ratio = found[:3]
            parts["metrics"]["paired_rounds"] = found.rounds
        parts["metrics"].update(
            zip(("time_vs_bptt", "time_vs_bptt_low", "time_vs_bptt_high"), ratio, strict=True)
        )

    def _step_s(self, run: Run, batch: Any) -> float:
        if self._turns.passed_on():
            # The caches are the other's: this step brings back the own.
            self._one_step_s(run, batch)
        return self._one_step_s(run, batch)

    def _clock(self) -> float:
        """Seconds that ran while it was this process' turn."""
        return time.perf_counter() - self._turns.waited_s

    def _one_step_s(self, run: Run, batch: Any) -> float:
        from bench.cell.stepper import timed

        self._values, _, seconds = timed(run.stepper, self._values, batch)
        return seconds

    def _warm_up(self, run: Run, batch: Any) -> tuple[list[float], bool]:
        began = self._clock()
        every: list[float] = []
        earlier: list[float] = []
        while True:
            block: list[float] = []
            while len(block) < BLOCK_STEPS or sum(block) < BLOCK_S:
                block.append(self._step_s(run, batch))
                # A slow step is warm after a few, whatever the blocks say.
                if len(every) + len(block) > 1 and self._clock() - began > self._warmup_s:
                    return every + block, False
            every += block
            if earlier and steady(earlier, block, self._steady_within):
                return every, True
            earlier = block

    def _sample(self, run: Run, batch: Any) -> list[float]:
        began = self._clock()
        samples: list[float] = []
        look = self._min_samples
        while len(samples) < self._max_samples:
            samples.append(self._step_s(run, batch))
            spent = self._clock() - began
            if len(samples) < self._min_samples:
                if spent > 3 * self._budget_s:
                    break
                continue
            if spent > self._budget_s:
                break
            # Not after every sample: looking takes as long as a quick step, and who looks often
            # stops at a narrow interval by chance.
            if len(samples) >= look:
                if spent >= self._least_s and narrow_enough(samples, self._ci_width):
                    break
                look = 1 + int(LOOK_AGAIN * len(samples))
        return samples
