"""One cell, one process: whatever happens there is an outcome, and nothing is left running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bench.launch import LOG_HEAD_BYTES, LOG_TAIL_BYTES, Outcome, merge, run_cell
from bench.provenance import ROOT

MIB = 2**20


def outcome_of(fault: str, log: Path, deadline_s: float = 30.0, memory_mib: int = 512,
               on_phase: Callable[[str], None] = lambda phase: None) -> Outcome:
    job = {"config": {"python": None, "device": {"platform": "cpu"}, "devices": 1}, "fault": fault}
    return run_cell(job, log, deadline_s=deadline_s, memory_bytes=memory_mib * MIB,
                    module="tests.bench.planted_worker", on_phase=on_phase)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "cell.log"


@pytest.mark.parametrize(("fault", "status", "reason"), [
    ("do_nothing_wrong", "ok", ""),
    ("raise_in_the_middle", "crashed", "RuntimeError: planted (phase timing)"),
    ("kill_itself", "crashed", "ended by signal 9 (SIGKILL), at run (phase timing); "
                               "the kernel does this when memory runs out"),
    ("exit_without_a_word", "crashed",
     "exited with status 3 and no result, at run (phase timing): no output"),
    ("ask_for_too_much", "oom", "out of memory at run (phase timing): MemoryError"),
])
def test_every_end_is_an_outcome(fault: str, status: str, reason: str, log: Path) -> None:
    outcome = outcome_of(fault, log)
    assert (outcome.status, outcome.reason) == (status, reason)
    # What was measured before the end stays, and a number that JSON cannot hold is null.
    assert outcome.parts == {"metrics": {"trace_s": 1.0, "loss_final": None}}
    assert outcome.phase == "timing"


def test_deadline_ends_a_cell_that_sleeps_for_ever(log: Path) -> None:
    outcome = outcome_of("sleep_for_ever", log, deadline_s=3.0)
    assert outcome.status == "timeout"
    assert outcome.reason == "no result after 3 s (deadline), at run (phase timing)"
    assert 3 <= outcome.wall_s < 10


def test_memory_cap_ends_a_cell_that_allocates_without_end(log: Path) -> None:
    outcome = outcome_of("allocate_without_end", log, memory_mib=300)
    assert outcome.status == "oom"
    assert re.fullmatch(r"held 0\.\d\d GiB, above the memory cap, at run \(phase timing\)",
                        outcome.reason)


def test_a_chatty_cell_fills_no_disk(log: Path) -> None:
    outcome = outcome_of("print_megabytes", log)
    assert outcome.status == "ok"
    text = log.read_bytes()
    assert len(text) < LOG_HEAD_BYTES + LOG_TAIL_BYTES + 100
    assert b"bytes left out]" in text
    assert text.endswith(b"the end\n")


def test_a_child_left_behind_is_ended(log: Path) -> None:
    outcome = outcome_of("leave_a_child_behind", log)
    assert outcome.status == "ok"
    child = int(re.fullmatch(r"child (\d+)\n", log.read_text())[1])
    assert not psutil.pid_exists(child)


def test_a_cell_dies_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import functools, pathlib, sys\n"
        "from tests.bench.test_launch import outcome_of\n"
        "outcome_of('sleep_for_ever', pathlib.Path(sys.argv[1]) / 'log',\n"
        "           on_phase=functools.partial(print, flush=True))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT,
                              stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    # Until it has asked the kernel for it, a process that has just started is on its own.
    assert parent.stdout.readline() == "compile\n"
    children = psutil.Process(parent.pid).children(recursive=True)
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    assert children
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


def test_merge_is_one_level_deep() -> None:
    into = {"metrics": {"a": 1, "b": 2}, "health": "", "samples": {"x": [1]}}
    merged = merge(into, {"metrics": {"b": 3}, "health": "bad", "curves": {}})
    assert merged == {"metrics": {"a": 1, "b": 3}, "health": "bad", "samples": {"x": [1]},
                      "curves": {}}
