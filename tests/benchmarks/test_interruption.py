"""Sixty cells, interrupted ten times at random moments, end as sixty that were not."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.sweep.provenance import ROOT
from tests.bench.sweeps import PROGRAM, ended_at_random, rows, wait_for

TIMES = 10
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)

PLANTED = ["seed=" + ",".join(map(str, range(60)))]
TRUE = [
    "-m", "algo=bptt,d_rtrl,es_d_rtrl", "seed=range(0,20)", "metric=[learning]", "report=false",
    "task=random_spikes", "n_hidden=8", "n_steps=4", "batch_size=16", "epochs=2",
]  # fmt: skip


def planted(out: Path) -> list[str]:
    return ["-c", PROGRAM, str(out), *PLANTED]


def true(out: Path) -> list[str]:
    return ["-m", "bench", *TRUE, f"out={out}"]


@pytest.mark.parametrize(("command", "cell_s", "status"), [(planted, 0.2, 1), (true, 6.0, 0)])
def test_sixty_cells_and_ten_interruptions(
    command: Callable[[Path], list[str]],
    cell_s: float,
    status: int,
    tmp_path: Path,
    benchmark: BenchmarkFixture,
) -> None:
    """Keys, statuses and metrics are equal bit for bit, whatever ended the sweep.

    Each time it is ended after a random number of further cells, at a random moment of the next.
    """
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    whole, broken = tmp_path / "whole", tmp_path / "broken"

    def start(out: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *command(out)], cwd=tmp_path, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def both() -> list[int]:
        undisturbed = start(whole)
        grown = []
        for _ in range(TIMES):
            process, wanted = start(broken), len(rows(broken)) + rng.randrange(8)
            wait_for(lambda: len(rows(broken)) >= wanted, seconds=600)  # noqa: B023
            ended_at_random(process, rng.uniform(0, cell_s), rng.choice(ENDS))
            grown.append(len(rows(broken)))
        last = start(broken)
        for process in (last, undisturbed):
            said, _ = process.communicate()
            assert process.returncode == status, said
        return grown

    grown = benchmark.pedantic(both, rounds=1)
    benchmark.extra_info.update(seed=seed, recorded_after_each=grown)
    assert len(rows(whole)) == 60
    assert rows(whole) == rows(broken)
    # None was lost on the way, and some were left to the last.
    assert grown == sorted(grown)
    assert 0 < grown[-1] < 60
