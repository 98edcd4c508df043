"""Sweeps for tests: of cells whose seed chooses a fault, in light processes."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from bench import child, processes
from bench.cell import probe, worker
from bench.command import cli
from bench.sweep import launch, measure, provenance, record, sweep
from bench.sweep.cell import Cell
from bench.sweep.folder import Folder
from bench.sweep.provenance import ROOT


def plant(setattr_: Callable[[object, str, Any], None]) -> None:
    setattr_(launch, "WORKER", "tests.bench.planted_worker")
    setattr_(measure, "rates_here", lambda *_: {})
    setattr_(sweep, "build_report", lambda *_: "none")
    # Other tests may run cells at the same time.
    setattr_(measure, "others", lambda platform: 0)


def plant_without_processes(setattr_: Callable[[object, str, Any], None]) -> None:
    """As `plant`, for what a cell's process has no part in: seeds that are multiples of five are
    well, others crash."""
    plant(setattr_)

    def run_cell(cell: Cell, result: dict[str, Any], *_: Any) -> None:
        well = not cell.config.seed % 5
        said = {"status": "ok", "reason": ""} if well else {"status": "crashed", "reason": "x"}
        record.merge(result, {**said, "metrics": {"trace_s": 1.0}})

    setattr_(launch, "run_cell", run_cell)


def tried_in_this_process(setattr_: Callable[[object, str, Any], None]) -> None:
    """What tries cells before they run, without a process for it."""

    def asked(module: str, jobs: list[dict[str, Any]], *_: Any) -> tuple[list[Any], child.End]:
        return list(probe.looked(pickle.loads(pickle.dumps(jobs)))), child.End(0, False, 0, b"")

    setattr_(child, "asked", asked)
    setattr_(processes, "cap_memory", lambda _: None)


def in_this_process(setattr_: Callable[[object, str, Any], None]) -> None:
    """Cells, and what tries them first, without a process for each."""

    def run_cell(cell: Cell, result: dict[str, Any], *_: Any) -> None:
        found, invalid = measured_here(cell)
        record.merge(result, found | {"status": "invalid" if invalid else "ok"})

    tried_in_this_process(setattr_)
    setattr_(launch, "run_cell", run_cell)


def measured_here(cell: Cell) -> tuple[dict[str, Any], list[str]]:
    """What a cell reports, and why its numbers cannot be used; in this process."""
    found: dict[str, Any] = {}

    def send(message: Mapping[str, Any]) -> None:
        record.merge(found, json.loads(json.dumps(message)).get("parts", {}))

    invalid, _ = worker.measure(cell.config, cell.choices, send)
    return found, invalid


def cells_of(*arguments: str) -> list[Cell]:
    return cli.cells_of(None, list(arguments), multirun=True)


def run(cells: list[Cell], out: Path) -> int:
    return sweep.run(cells, Folder.open(out), {"experiment": "", "question": "", "overrides": []})


def records(out: Path) -> list[dict[str, Any]]:
    return sorted(
        (json.loads(p.read_text()) for p in (out / "cells").glob("*.json")),
        key=lambda r: (r["row"]["seed"], r["row"]["repeat"]),
    )


def reports_here(*arguments: str) -> subprocess.CompletedProcess[str]:
    """As `sweep.reports`, without a process for it."""
    from reports import cli as reports_cli  # pandas, which processes of these tests do without

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = reports_cli.main(list(arguments))
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds that run, one after the other."""
    seeds: list[int] = []
    planted_run = launch.run_cell

    def run_cell(cell: Cell, *args: Any) -> None:
        seeds.append(cell.config.seed)
        planted_run(cell, *args)

    monkeypatch.setattr(launch, "run_cell", run_cell)
    return seeds


def with_code(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """As a process finds it that starts when the code is this."""
    monkeypatch.setattr(provenance, "code_hash", lambda *_: code)
    monkeypatch.setattr(provenance, "_hash_when_first_asked", lambda *_: code)


PROGRAM = """
import sys
from pathlib import Path
from bench.sweep import signals
from tests.bench import sweeps as t
t.plant(setattr)
with signals.endable():
    sys.exit(t.run(t.cells_of(*sys.argv[2:]), Path(sys.argv[1])))
"""


def start(out: Path, *arguments: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(out), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        cwd=out.parent,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def workers_of(out: Path) -> Iterator[int]:
    """Processes of this test's cells: their log would be below ``out``."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"planted_worker" in path.read_bytes() and str(out) in os.readlink(
                path.parent / "cwd"
            ):
                yield int(path.parent.name)
        except OSError:
            continue


def ended_at_random(process: subprocess.Popen[str], after_s: float, number: int) -> None:
    """Lets a sweep run for a while, ends it by a signal and waits until it is gone."""
    timer = threading.Timer(after_s, process.send_signal, [number])
    timer.start()
    process.communicate()
    timer.cancel()


def rows(out: Path) -> list[Any]:
    """What has to be the same, however often a sweep was interrupted: all but seconds."""
    return [
        (
            r["key"],
            r["status"],
            {name: value for name, value in r["metrics"].items() if not name.endswith("_s")},
        )
        for r in sorted(records(out), key=lambda r: r["key"])
    ]


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
