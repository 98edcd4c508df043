"""Steady-state time of a training step, and the phases before it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bench.bounds import Count, NotNegative, Positive
from bench.cell.contention import Watch
from bench.cell.statistics import low_quantile, median_interval, narrow_enough, steady
from bench.cell.time_slices import TimeSlices
from bench.metrics.base import Metric, Run
from bench.sweep.record import merge
from core.errors import Refusal

BLOCK_STEPS = 3
BLOCK_S = 0.1
LOOK_AGAIN = 1.2

Clock = Callable[[], float]


@dataclass
class Timing(Metric):
    """Warm-up until two blocks of steps agree, then steps until the median is known well enough.

    Each sample is one step, blocked on all of its outputs.
    """

    is_clock = of_process = True

    warmup_s: NotNegative = 5.0  # longest warm-up
    steady_within: NotNegative = 0.1  # two blocks agree when their medians differ by this fraction
    ci_width: NotNegative = 0.05  # of the 95 % interval, as a fraction of the median, that will do
    min_samples: Count = 15
    max_samples: Count = 500
    budget_s: Positive = 4.0  # longest sampling; three times as long for the fewest samples
    least_s: NotNegative = 0.0  # shortest sampling, whatever the interval says
    # Takes turns with BPTT of the same model afterwards, until the interval of the ratio is
    # ``ci_width`` wide, within ``budget_s``; None leaves that out.
    against: Literal["bptt"] | None = None

    def __post_init__(self) -> None:
        if self.min_samples > self.max_samples:
            expected, do = (
                f"at most max_samples={self.max_samples}",
                "Lower min_samples or raise max_samples.",
            )
            raise Refusal(expected, self.min_samples, do, what="min_samples")
        self.least_s = min(self.least_s, self.budget_s)

    def measure(self, run: Run) -> dict[str, Any]:
        with TimeSlices() as turns:
            parts = self._alone(run, turns)
        if self.against is None or turns.granted:
            return parts
        from bench.cell.pairs import against_bptt

        rule = {"width": self.ci_width, "budget_s": self.budget_s, "least_s": self.least_s}
        return merge(parts, against_bptt(run, **rule))

    def _alone(self, run: Run, turns: TimeSlices) -> dict[str, Any]:
        """The cell's own time, in turns with another process where somebody grants them."""
        from bench.cell.pairs import Side

        side = Side(run.stepper, run.batch)

        def step() -> float:
            if turns.passed_on():
                side.step()  # the caches are the other's: this one brings back the own
            return side.step()

        def clock() -> float:
            """Seconds that ran while it was this process' turn."""
            return time.perf_counter() - turns.waited_s

        warm, settled = self._warm_up(step, clock)
        waited = turns.waited_s
        with Watch() as watch:
            samples = self._sample(step, clock)
        waited = turns.waited_s - waited
        median = float(np.median(samples))
        low, high = median_interval(samples)
        sequences = run.config.batch_size
        steps = sequences * run.config.n_steps
        return {
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
                **watch.columns(waited),
            },
            "samples": {"step_time_ms": [1e3 * s for s in samples]},
            **watch.invalid(),
        }

    def _warm_up(self, step: Clock, clock: Clock) -> tuple[list[float], bool]:
        """Seconds of each step, and whether they have settled."""
        began = clock()
        every: list[float] = []
        earlier: list[float] = []
        while True:
            block: list[float] = []
            while len(block) < BLOCK_STEPS or sum(block) < BLOCK_S:
                block.append(step())
                # A slow step is warm after a few, whatever the blocks say.
                if len(every) + len(block) > 1 and clock() - began > self.warmup_s:
                    return every + block, False
            every += block
            if earlier and steady(earlier, block, self.steady_within):
                return every, True
            earlier = block

    def _sample(self, step: Clock, clock: Clock) -> list[float]:
        began = clock()
        samples: list[float] = []
        look = self.min_samples
        while len(samples) < self.max_samples:
            samples.append(step())
            spent = clock() - began
            if len(samples) < self.min_samples:
                if spent > 3 * self.budget_s:
                    break
                continue
            if spent > self.budget_s:
                break
            # Not after every sample: looking takes as long as a quick step, and who looks often
            # stops at a narrow interval by chance.
            if len(samples) >= look:
                if spent >= self.least_s and narrow_enough(samples, self.ci_width):
                    break
                look = 1 + int(LOOK_AGAIN * len(samples))
        return samples
