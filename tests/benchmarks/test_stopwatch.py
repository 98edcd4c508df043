"""The harness' step time against a stopwatch around whole processes, by the slope method."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.sweep.provenance import ROOT

CELL = ["algo=d_rtrl", "model=gru", "n_hidden=128", "n_steps=32", "batch_size=64", "report=false"]
# So many apart that a start-up of other length, up to a second, is a small part of the slope.
STEPS = (50, 1250)
PAIRS = 5


class Process(NamedTuple):
    """One ``python -m bench`` with a fixed number of timed steps, in seconds.

    Attributes:
        whole: a stopwatch around the process, start-up, compilation and all.
        start_up: what the parent's clock says of the child before and after the timing pass.
        steps: the samples that the harness took.
    """

    whole: float
    start_up: float
    steps: list[float]


class Pair(NamedTuple):
    """What the harness says that the further steps took, over what a stopwatch says.

    Attributes:
        whole: by the stopwatch around the processes.
        steady: by the same, less the start-up of each, which differs on a busy machine.
        median: the harness' median step over its mean step, below 1 where the machine was busy.
    """

    whole: float
    steady: float
    median: float


def process(out: Path, steps: int) -> Process:
    """Times as many steps as told, after a warm-up of two blocks, whatever the spread is.

    All in one folder, so that what is measured once a sweep is measured before any of them.
    """
    timing = {"min_samples": steps, "max_samples": steps, "steady_within": 100, "budget_s": 1e4}
    settings = [f"metric.timing.{name}={value}" for name, value in timing.items()]
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "bench", *CELL, "metric=[timing]", *settings, "resume=false",
         f"out={out}"],
        check=True, cwd=out.parent, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    whole = time.perf_counter() - started
    newest = max((out / "cells").glob("*.json"), key=lambda file: file.stat().st_mtime)
    record = json.loads(newest.read_text())
    assert record["metrics"]["timed_steps"] == steps
    phases = record["provenance"]["phases"]
    start_up = sum(seconds for phase, seconds in phases.items() if phase != "timing")
    return Process(whole, start_up, [1e-3 * ms for ms in record["samples"]["step_time_ms"]])


def test_step_time_is_what_a_stopwatch_says(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    """One process is timed from outside and by itself, so a busy machine slows both alike."""

    def pairs() -> list[Pair]:
        found = []
        process(tmp_path / "cell", 1)
        for number in range(PAIRS):
            # Alternating, so that a machine that becomes busier favours neither.
            order = STEPS if number % 2 else STEPS[::-1]
            both = {steps: process(tmp_path / "cell", steps) for steps in order}
            few, many = (both[steps] for steps in STEPS)
            told, whole = sum(many.steps) - sum(few.steps), many.whole - few.whole
            found.append(Pair(
                told / whole,
                told / (whole - many.start_up + few.start_up),
                statistics.median(many.steps) / statistics.mean(many.steps),
            ))  # fmt: skip
        return found

    found = benchmark.pedantic(pairs, rounds=1)
    benchmark.extra_info.update(pairs=[pair._asdict() for pair in found])
    assert statistics.median(pair.steady for pair in found) == pytest.approx(1, abs=0.03)
