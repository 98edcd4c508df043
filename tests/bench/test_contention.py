"""A process notices that it shares the machine, and its cell is timed again once it is quiet."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.cell.contention import LEAST_CPU, Usage, contention, usage
from bench.command import cli
from bench.sweep import launch, measure, sweep
from bench.sweep.cell import Cell
from bench.sweep.folder import Folder
from bench.sweep.sweep import in_random_order

QUIET = {"contended": False, "other_cores": 0.01, "step_time_ms": 1.0}
BUSY = {"contended": True, "other_cores": 1.0, "step_time_ms": 2.0}


@pytest.mark.parametrize(
    ("cpu", "others", "contended"),
    [
        (1.0, 0.0, False),
        (1.0, 0.1, False),
        (1.9, 0.1, False),  # a whole machine, its own
        (1.4, 1.0, True),
        (1.0, 1.0, True),
        (1.0, 0.3, False),  # there is room for both
        (LEAST_CPU - 0.1, 0.0, True),
    ],
)
def test_each_sign_of_contention(
    cpu: float, others: float, contended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda: 2)
    before = Usage(10.0, 3.0, 5, 7.0, 100.0)
    after = Usage(12.0, 3.0 + 2 * cpu, 5 + 4000, 8.0, 100.0 + 2 * (cpu + others))
    found = contention(before, after)
    assert found["contended"] is contended
    assert found["cpu_per_wall"] == pytest.approx(cpu)
    assert found["other_cores"] == pytest.approx(others)
    # Of its own threads, for all that is known.
    assert found["involuntary_switches_per_s"] == pytest.approx(2000)
    assert found["cpu_pressure"] == pytest.approx(0.5)
    assert contention(before, after._replace(waited_s=None))["cpu_pressure"] is None
    # A GPU's process idles, and one that waits for its turn is not kept from a core.
    assert contention(before, after, on_gpu=True)["contended"] is (contended and cpu >= LEAST_CPU)
    waiting = contention(before, after._replace(wall_s=after.wall_s + 5), 5.0)
    assert waiting["cpu_per_wall"] == pytest.approx(cpu)
    assert waiting["other_cores"] is None


def test_another_program_is_seen() -> None:
    """In the figure; whether it counts depends on the cores that are left."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        before, until = usage(), time.monotonic() + 1.0
        while time.monotonic() < until:
            pass
        found = contention(before, usage())
        other.kill()
    assert found["other_cores"] is not None
    assert found["other_cores"] > 0.2


def test_what_is_used_grows() -> None:
    before = usage()
    sum(range(10**6))
    after = usage()
    assert after.wall_s > before.wall_s
    assert after.cpu_s >= before.cpu_s
    assert after.machine_s >= before.machine_s
    assert (after.waited_s is None) == (before.waited_s is None)


def run(
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    times: list[dict[str, Any]],
    quiet: bool,
    *overrides: str,
) -> tuple[dict[str, Any], list[list[str]]]:
    """The record of a cell whose processes find these times, and the metrics they were asked."""
    asked = []

    def run_cell(cell: Cell, result: dict[str, Any], log: Path, on_phase: Any) -> None:
        asked.append(list(cell.config.metric))
        on_phase("timing")
        result |= {"status": "ok", "metrics": dict(times[len(asked) - 1])}

    monkeypatch.setattr(launch, "run_cell", run_cell)
    monkeypatch.setattr(sweep, "machine_is_quiet", lambda: quiet)
    cells = cli.cells_of(None, ["report=false", *overrides], multirun=False)
    folder = Folder.open(out)
    assert sweep.run(cells, folder, {}) == 0
    found = folder.load(cells[0].key)
    assert found is not None
    return found, asked


@pytest.mark.parametrize(
    ("times", "quiet", "processes", "kept"),
    [
        ([QUIET], True, 1, QUIET),
        ([BUSY], False, 1, BUSY),
        ([BUSY, QUIET], True, 2, QUIET),
        ([BUSY, {**BUSY, "step_time_ms": 3.0}], True, 2, BUSY),
        ([BUSY, {**BUSY, "other_cores": 0.4}], True, 2, {**BUSY, "other_cores": 0.4}),
    ],
)
def test_a_contended_cell_is_timed_once_more_if_that_is_quieter(
    times: list[dict[str, Any]],
    quiet: bool,
    processes: int,
    kept: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found, asked = run(tmp_path / "out", monkeypatch, times, quiet)
    assert len(asked) == processes
    assert asked[1:] == [["timing"]] * (processes - 1)
    assert {name: found["metrics"][name] for name in kept} == kept
    assert ("timed_again" in found["provenance"]) is (processes == 2 and kept != BUSY)
    said = "while the machine was busy, which it still is" in capsys.readouterr().out
    assert said is (times[0] is BUSY and not quiet)
    assert not list((tmp_path / "out" / "cells").glob(".*.log"))


def test_a_finished_sweep_is_timed_once_more_by_the_same_command_on_a_quiet_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    busier = {**BUSY, "step_time_ms": 3.0}
    found, _ = run(out, monkeypatch, [BUSY], False)
    found, asked = run(out, monkeypatch, [busier], True)
    assert (found["metrics"]["step_time_ms"], asked) == (2.0, [["timing"]])
    found, asked = run(out, monkeypatch, [QUIET], True)
    assert (found["metrics"]["step_time_ms"], asked) == (1.0, [["timing"]])
    found, asked = run(out, monkeypatch, [], True)
    assert (found["metrics"]["step_time_ms"], asked) == (1.0, [])


def test_a_clock_of_another_name_is_timed_again_and_what_is_no_clock_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, asked = run(tmp_path / "no", monkeypatch, [BUSY], True, "metric=[learning]")
    assert asked == [["learning"]]
    assert found["metrics"]["contended"]
    mine = "+metric.mine={_target_: bench.metrics.timing.Timing}"
    overrides = ["metric=[learning]", mine]
    found, asked = run(tmp_path / "yes", monkeypatch, [BUSY, QUIET], True, *overrides)
    assert asked == [["learning", "mine"], ["mine"]]
    assert not found["metrics"]["contended"]


def test_cells_run_in_rounds_whose_order_is_random_and_the_same_each_time() -> None:
    cells = cli.cells_of(None, ["n_hidden=range(1,11)", "repeats=2"], multirun=True)
    ran = in_random_order(cells)
    assert in_random_order(cells[::-1]) == ran
    assert [cell.repeat for cell in ran] == [0] * 10 + [1] * 10
    orders = [[cell.config.n_hidden for cell in ran if cell.repeat == r] for r in (0, 1)]
    assert all(sorted(order) == list(range(1, 11)) != order for order in orders)
    assert orders[0] != orders[1]


def test_somebody_who_computes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure.psutil, "cpu_percent", lambda interval: 100.0)
    assert not measure.machine_is_quiet()
    monkeypatch.setattr(measure.psutil, "cpu_percent", lambda interval: 1.0)
    assert measure.machine_is_quiet()
