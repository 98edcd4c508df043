"""The harness' step time against a stopwatch around whole processes, by the slope method."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench import cli, sweep
from bench.provenance import ROOT

CELL = ["algo=d_rtrl", "model=gru", "n_hidden=128", "n_steps=32", "batch_size=64"]
STEPS = (50, 450)
PAIRS = 5

PROGRAM = """
import json, sys
import jax
from bench.build import build
job, steps = json.loads(sys.argv[1]), int(sys.argv[2])
run, _ = build(job, lambda phase: None)
values, batch = run.stepper.values(), run.stepper.prepare(*run.batch)
for _ in range(steps):
    values, result = run.stepper(values, batch)
    jax.block_until_ready((values, result))
"""


def whole_process_s(job: str, steps: int) -> float:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, job, str(steps)],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
    )
    return time.perf_counter() - started


def test_step_time_is_what_a_stopwatch_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, benchmark: BenchmarkFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "build_report", lambda path: "none")
    slope, median = benchmark.pedantic(slope_and_median, rounds=1)
    benchmark.extra_info.update(stopwatch_ms=1e3 * slope, step_time_ms=1e3 * median)
    assert median == pytest.approx(slope, rel=0.03)


def slope_and_median() -> tuple[float, float]:
    """Seconds a step by the stopwatch and by the harness, medians of interleaved pairs."""
    (cell,) = cli.cells_of(None, CELL, multirun=False)
    job = json.dumps({"config": cell.config, "choices": cell.choices, "memory_bytes": 1 << 33})
    slopes, medians = [], []
    for pair in range(PAIRS):
        few, many = (whole_process_s(job, steps) for steps in STEPS)
        slopes.append((many - few) / (STEPS[1] - STEPS[0]))
        cli.main([*CELL, "metric=[timing]", f"out={pair}"])
        (record,) = (json.loads(p.read_text()) for p in Path(str(pair), "cells").glob("*.json"))
        medians.append(record["metrics"]["step_time_ms"] / 1e3)
    return statistics.median(slopes), statistics.median(medians)
