"""Turns at the clock: never two at a time, and nobody waits for one that has gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bench.cell import time_slices
from bench.cell.time_slices import TimeSlices
from bench.command.cli import cells_of
from bench.duel import cli
from bench.duel.referee import Referee
from bench.sweep import launch, provenance, record, sweep
from tests.bench.sweeps import reports_here

ROOT = Path(__file__).resolve().parents[2]
SHORT_S = 0.002

# Stands in for `python -m bench`: times in turns and reports when it had the clock.
PLAYER = """
import json, os, pathlib, sys, time
from bench.cell.time_slices import TimeSlices
arguments = dict(a.split("=", 1) for a in sys.argv[1:])
folder = pathlib.Path(arguments["out"].strip("'")) / "cells"
folder.mkdir(parents=True, exist_ok=True)
(folder / "started").touch()
time.sleep(NAP)
held = []
with TimeSlices() as turns:
    began = time.monotonic()
    while len(held) < 5:
        last = time.monotonic()
        if turns.passed_on():
            held.append((began, last))
            began = time.monotonic()
row = {"held": held, "NPROC": os.environ.get("NPROC"),
       "cores": len(os.sched_getaffinity(0)),
       "cache": os.environ.get("ETRACE_BENCH_COMPILATION_CACHE")}
record = {"status": "ok", "reason": "", "row": row, "metrics": {"step_time_ms": 1.0}}
(folder / "0.json").write_text(json.dumps(record))
"""


def plant(root: Path, nap_s: float = 0.0) -> Path:
    """A project that knows turns, whose process sleeps before it times."""
    for package in ("core", "bench"):
        (root / package).mkdir(parents=True)
        (root / package / "__init__.py").touch()
    for name in ("cell/__init__.py", "cell/time_slices.py", "sweep/provenance.py"):
        (root / "bench" / name).parent.mkdir(exist_ok=True)
        (root / "bench" / name).write_bytes((ROOT / "bench" / name).read_bytes())
    text = PLAYER.replace("NAP", str(nap_s))
    (root / "bench" / "__main__.py").write_text(text, encoding="utf-8")
    return root


def overlap(one: list[list[float]], other: list[list[float]]) -> bool:
    return any(a < d and c < b for a, b in one for c, d in other)


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_slices, "SLICE_S", SHORT_S)


def play(rounds: int) -> list[tuple[float, float]]:
    """When a player had the clock."""
    held = []
    with TimeSlices() as mine:
        began = time.monotonic()
        while len(held) < rounds:
            last = time.monotonic()
            if mine.passed_on():
                held.append((began, last))
                began = time.monotonic()
    return held


def serve(referee: Referee, expected: int, until: float, over: list[Future[Any]]) -> None:
    """Grants turns until these are over, or the time is."""
    while time.monotonic() < until and not all(future.done() for future in over):
        referee.round(expected)


def test_alone_it_is_always_ones_turn() -> None:
    with TimeSlices() as mine:
        assert not mine.passed_on()
        assert mine.waited_s == 0.0


@pytest.mark.usefixtures("short_turns")
def test_two_never_have_the_clock_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with Referee(seed=0) as referee, ThreadPoolExecutor() as pool:
        monkeypatch.setenv(time_slices.VARIABLE, referee.environment[time_slices.VARIABLE])
        # The longer player goes on alone when the other has left.
        both = [pool.submit(play, 20), pool.submit(play, 5)]
        serve(referee, 2, until=time.monotonic() + 30, over=both)
        one, other = (future.result(0) for future in both)
    assert (len(one), len(other)) == (20, 5)
    assert not overlap(one, other)
    # Interleaved, not one after the other.
    assert one[0][0] < other[-1][1]
    assert other[0][0] < one[-1][1]


@pytest.mark.usefixtures("short_turns")
def test_nobody_waits_for_a_process_that_never_came(monkeypatch: pytest.MonkeyPatch) -> None:
    with Referee(seed=0) as referee, ThreadPoolExecutor() as pool:
        monkeypatch.setenv(time_slices.VARIABLE, referee.environment[time_slices.VARIABLE])
        lone = pool.submit(play, 3)
        serve(referee, 2, until=time.monotonic() + 20 * SHORT_S, over=[lone])
        assert not lone.done()
        serve(referee, 1, until=time.monotonic() + 30, over=[lone])
        assert len(lone.result(0)) == 3


@pytest.mark.parametrize(
    "asked", [[], ["threads=1", "threads=2", "budget_s=0.01"]], ids=["one", "two, of a pair"]
)
def test_a_pair_times_in_turns_on_its_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    monkeypatch.setattr(sweep, "reports", reports_here)
    monkeypatch.setenv("NPROC", "7")  # somebody's, who did not ask the duel for them
    threads, cores = ("2", os.sched_getaffinity(0)) if asked else ("1", {0})
    base, head = plant(tmp_path / "a"), plant(tmp_path / "b")
    out = tmp_path / "duel"
    assert cli.main([f"base={base}", f"head={head}", f"out={out}", "order_seed=0", *asked]) == 0
    state = json.loads((out / "duel.json").read_text(encoding="utf-8"))
    assert len(state["pairs"]) == 1 if asked else len(state["pairs"]) > 1
    for pair in state["pairs"]:
        rows = [pair[side]["row"] for side in ("base", "head")]
        assert not overlap(rows[0]["held"], rows[1]["held"])
        assert {row["NPROC"] for row in rows} == {threads}
        assert {row["cores"] for row in rows} == {len(cores)}
        assert [row["cache"] for row in rows] == [
            str(out / side / "compiled") for side in ("base", "head")
        ]


def test_an_interrupted_duel_leaves_nothing_running(tmp_path: Path) -> None:
    tree = plant(tmp_path / "a", nap_s=60.0)
    out = tmp_path / "duel"
    duel = subprocess.Popen(
        [sys.executable, "-m", "bench.duel", f"base={tree}", f"head={tree}", f"out={out}"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    started = [out / side / "cells" / "started" for side in ("base", "head")]
    deadline = time.monotonic() + 60
    while not all(file.exists() for file in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert all(file.exists() for file in started)
    duel.send_signal(signal.SIGTERM)
    _, said = duel.communicate(timeout=30)
    assert duel.returncode == 143
    assert "interrupted: the pairs that finished are kept" in said
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(out) not in listed.stdout


def test_programs_are_kept_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    (cell,) = cells_of(None, [], False)
    # Asked anew each time: a process usually finds the same answer.
    monkeypatch.setattr(provenance, "environment", provenance.environment.__wrapped__)
    monkeypatch.delenv(provenance.CACHE_VARIABLE, raising=False)
    assert launch.environment(cell.config)["JAX_ENABLE_COMPILATION_CACHE"] == "false"
    without = provenance.describe(cell.config)
    assert without["compilation_cache"] == "off"
    monkeypatch.setenv(provenance.CACHE_VARIABLE, os.devnull)
    variables = launch.environment(cell.config)
    assert variables["JAX_ENABLE_COMPILATION_CACHE"] == "true"
    assert variables["JAX_COMPILATION_CACHE_DIR"] == os.devnull
    kept = provenance.describe(cell.config)
    assert kept["compilation_cache"] == "on"
    # Its times of compilation are others: never taken for those of a record without.
    assert kept["fingerprint"] != without["fingerprint"]


def test_a_process_keeps_only_what_nobody_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(provenance.CACHE_VARIABLE, raising=False)
    (cell,) = cells_of(None, [], False)
    code = """
import jax
from bench.cell.program import kept

def timed(x): return x + 1
def untimed(x): return x + 2

jax.jit(timed)(1.0)
with kept():
    jax.jit(untimed)(1.0)
jax.jit(lambda x: timed(x) + 3)(1.0)
"""

    def run(*_: Any, env: dict[str, str], **__: Any) -> None:
        subprocess.run([sys.executable, "-c", code], env=env, check=True)
        raise OSError("no cell is run")

    monkeypatch.setattr(launch.child, "run", run)
    log = tmp_path / "cells" / "a.log"
    log.parent.mkdir()
    launch.run_cell(cell, record.blank("a", None, {}, {}), log, lambda phase: None)
    names = {file.name.partition("-")[0] for file in (tmp_path / "compiled").iterdir()}
    assert names == {"jit_untimed"}
