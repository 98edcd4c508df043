"""A step's time as a multiple of BPTT's: what load does to both it does not show."""

from __future__ import annotations

import itertools
import types
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from bench.cell import pairs
from bench.cell.statistics import low_quantile, ratio_interval
from bench.config import Limits
from bench.metrics.base import Run
from bench.metrics.timing import Timing
from tests.bench.test_metrics import built

TINY = ("n_hidden=8", "n_steps=4", "batch_size=4")


def turns(rng: np.random.Generator, step_s: float, rounds: int, busy: float) -> list[list[float]]:
    """Turns on a machine that takes twice the time in a share of the rounds, and never less."""
    slow = 1.0 + (rng.random(rounds) < busy)
    return [list(step_s * s * (1 + 0.02 * rng.exponential(size=10))) for s in slow]


@pytest.mark.parametrize("busy", [0.0, 0.5, 0.8])
def test_load_does_not_move_the_ratio(busy: float) -> None:
    rng = np.random.default_rng(0)
    value, low, high = ratio_interval(turns(rng, 3.0, 60, busy), turns(rng, 2.0, 60, busy))
    assert value == pytest.approx(1.5, rel=0.01)
    assert low <= 1.5 <= high
    assert high - low < 0.1


def test_the_interval_covers() -> None:
    rng = np.random.default_rng(1)
    low_of = low_quantile([1 + 0.02 * x for x in rng.exponential(size=10**5)])
    truth, covered = 1.0, 0
    for _ in range(100):
        one, other = (turns(rng, 1 / low_of, 40, 0.5) for _ in range(2))
        _, low, high = ratio_interval(one, other, resamples=200)
        covered += low <= truth <= high
    assert covered >= 88


def test_turns_alternate_and_end_when_the_interval_is_narrow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, order = itertools.count(), []

    class Side:
        def __init__(self, name: str, _: object) -> None:
            self.name = name

        def step(self) -> float:
            order.append(self.name)
            return 2.0 if self.name == "cell" else 1.0

    monkeypatch.setattr(pairs, "Side", Side)
    monkeypatch.setattr(pairs.time, "perf_counter", lambda: float(next(now)))
    run = types.SimpleNamespace(stepper="cell", batch=None)
    found = pairs.time_ratio(run, "bptt", width=0.05, budget_s=1e6, least_s=0.0)  # type: ignore[arg-type]
    assert found == ((2.0, 2.0, 2.0), pairs.LEAST_ROUNDS)
    # A turn here is a step, and one before it that does not count; the first two are warm-up.
    assert order[4:12:2] == order[5:12:2] == ["cell", "bptt", "bptt", "cell"]


def measured(run: Run, **timing: Any) -> dict[str, Any]:
    sampling = {"warmup_s": 0.1, "min_samples": 3, "budget_s": 0.2, "against": "bptt", **timing}
    return Timing(**sampling).measure(run)


def test_a_cell_is_paired_with_bptt(monkeypatch: pytest.MonkeyPatch) -> None:
    run = built(*TINY, "algo=d_rtrl")
    metrics = measured(run)["metrics"]
    value, low, high = (metrics[f"time_vs_bptt{end}"] for end in ("", "_low", "_high"))
    assert 0 < low <= value <= high
    assert metrics["paired_rounds"] >= 1
    assert metrics["step_time_low_ms"] <= metrics["step_time_ms"]
    leaves = map(jax.tree.leaves, (run.stepper.values(), run.initial))
    for now, initial in zip(*leaves, strict=True):  # weights are what they were
        np.testing.assert_array_equal(now, initial)
    assert "time_vs_bptt" not in measured(run, against=None)["metrics"]
    monkeypatch.setattr(run, "config", replace(run.config, limits=Limits(60, 1e-9)))
    parts = measured(run)
    assert parts["note"].startswith("not timed against BPTT: BPTT asks for")
    assert "time_vs_bptt" not in parts["metrics"]
    assert parts["metrics"]["step_time_ms"] > 0


def test_bptt_itself_is_one_and_bptt_otherwise_is_measured() -> None:
    itself = measured(built(*TINY, "algo=bptt"))["metrics"]
    assert itself["time_vs_bptt"] == itself["time_vs_bptt_low"] == itself["time_vs_bptt_high"] == 1
    assert "paired_rounds" not in itself
    otherwise = measured(built(*TINY, "algo=bptt", "batching=vmap"))["metrics"]
    assert otherwise["paired_rounds"] >= 1
