"""One cell, one process: whatever happens there is an outcome, and nothing is left running."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import core
from bench import processes
from bench.cell.worker import failure
from bench.child import KEPT_BYTES
from bench.command import cli
from bench.config import Limits
from bench.sweep import launch, record
from bench.sweep.provenance import ROOT


def outcome_of(
    fault: str,
    log: Path,
    deadline_s: float = 30.0,
    memory_mib: int = 512,
    on_phase: Callable[[str], None] = lambda phase: None,
) -> dict[str, Any]:
    (cell,) = cli.cells_of(None, [], multirun=False)
    cell = cell.having(limits=Limits(deadline_s, memory_mib / 1024), question=fault)
    result = record.blank("ab", None, {}, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "WORKER", "tests.bench.planted_worker")
        launch.run_cell(cell, result, log, on_phase)
    return result


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "cell.log"


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("do_nothing_wrong", "ok", ""),
        ("raise_in_the_middle", "crashed", "RuntimeError: planted, at run (phase timing)"),
        (
            "kill_itself",
            "crashed",
            "ended by signal 9 (SIGKILL), as the kernel does when memory runs out, "
            "at run (phase timing)",
        ),
        (
            "exit_without_a_word",
            "crashed",
            "exited with status 3 and no result (no output), at run (phase timing)",
        ),
        ("end_by_a_signal_without_a_name", "crashed", "ended by signal 40, at run (phase timing)"),
        (
            "abort_with_words",
            "crashed",
            "ended by signal 6 (SIGABRT): what(): Bad StatusOr access: overflow, "
            "at run (phase timing)",
        ),
        ("report_garbage", "invalid", "its process reported what is no part of a record: [1, 2]"),
        ("ask_for_too_much", "oom", "out of memory: MemoryError, at run (phase timing)"),
    ],
)
def test_every_end_is_an_outcome(fault: str, status: str, reason: str, log: Path) -> None:
    outcome = outcome_of(fault, log)
    assert (outcome["status"], outcome["reason"]) == (status, reason)
    # What was measured before the end stays, and a number that JSON cannot hold is null.
    assert outcome["metrics"] == {"trace_s": 1.0, "loss_final": None}
    assert list(outcome["provenance"]["phases"])[:3] == ["start", "compile", "timing"]


def test_a_rule_that_is_not_defined_on_a_model_is_no_fault() -> None:
    said = ("leaky integrators", "a GRU", "Use core.D_RTRL.")
    refusal, misuse = core.NotRepresentable(*said), core.InvalidArgument(*said)
    words = "expected leaky integrators; got a GRU. Use core.D_RTRL."
    assert failure(refusal) == ("skipped", words)
    assert failure(misuse) == ("crashed", f"InvalidArgument: {words}")


def test_deadline_ends_a_cell_that_sleeps_for_ever(log: Path) -> None:
    outcome = outcome_of("sleep_for_ever", log, deadline_s=3.0)
    assert outcome["status"] == "timeout"
    assert outcome["reason"] == "no result after 3 s (deadline), at run (phase timing)"
    assert 3 <= outcome["provenance"]["wall_s"] < 10


def test_memory_cap_ends_a_cell_that_allocates_without_end(log: Path) -> None:
    outcome = outcome_of("allocate_without_end", log, memory_mib=300)
    assert outcome["status"] == "oom"
    assert re.fullmatch(
        r"held 0\.\d\d GiB, above the memory cap, at run \(phase timing\)", outcome["reason"]
    )


def test_a_chatty_cell_fills_no_disk(log: Path) -> None:
    outcome = outcome_of("print_megabytes", log)
    assert outcome["status"] == "ok"
    text = log.read_bytes()
    assert len(text) < KEPT_BYTES + 100
    assert b"bytes left out]" in text
    assert text.endswith(b"the end\n")


def test_a_child_left_behind_is_ended(log: Path) -> None:
    outcome = outcome_of("leave_a_child_behind", log)
    assert outcome["status"] == "ok"
    child = int(re.fullmatch(r"child (\d+)\n", log.read_text())[1])
    assert not psutil.pid_exists(child)


def test_a_child_that_writes_without_end_holds_nothing_up(log: Path) -> None:
    outcome = outcome_of("leave_a_child_that_writes_without_end", log, deadline_s=60.0)
    assert outcome["status"] == "ok"
    assert outcome["provenance"]["wall_s"] < 30


def test_memory_that_processes_share_counts_once(log: Path) -> None:
    # Six processes hold the same 100 MiB.
    assert outcome_of("share_its_memory_with_children", log, memory_mib=300)["status"] == "ok"


@pytest.mark.parametrize(
    "error",
    [
        BlockingIOError(11, "Resource temporarily unavailable"),
        FileNotFoundError(2, "No such file or directory"),
    ],
)
def test_a_process_that_cannot_be_started_is_an_outcome(
    error: OSError, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "Popen", refuses)
    before = os.listdir("/proc/self/fd")
    outcome = outcome_of("do_nothing_wrong", log)
    assert outcome["status"] == "crashed"
    assert outcome["reason"] == f"its process could not be started: {error}"
    assert outcome["reason"] in log.read_text()
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"garbage", "'garbage' (Expecting value: line 1 column 1 (char 0))"),
        (b"\xff\x00", "codec can't decode"),
        (b"null", "None"),
        (b"[" * 100_000, "[[["),
        (b"[" * 100 + b"]" * 100, "[[["),
        (b'{"phase": 3}', "{'phase': 3}"),
        (b'{"parts": []}', "{'parts': []}"),
        (b'{"parts": {"metrics": [1]}}', "expected metrics to be values by name"),
        (
            b'{"parts": {"metrics": {"lr": 1}}}',
            "a metric named lr, which is a column of every cell",
        ),
        (b'{"status": "fine", "reason": ""}', "{'status': 'fine', 'reason': ''}"),
        (b'{"status": "ok"}', "{'status': 'ok'}"),
    ],
)
def test_what_is_no_report_is_named(line: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        launch._message(line, {"lr"})


def test_a_thousand_generations_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "children", lambda pid: [pid + 1] if pid < 5000 else [])
    assert processes.descendants(1) == list(range(2, 5001))
    # Seen twice, by a parent that was about to end and by who adopted it.
    monkeypatch.setattr(processes, "children", lambda pid: {1: [2, 3], 2: [3]}.get(pid, []))
    assert processes.descendants(1) == [2, 3]


def test_a_cell_dies_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import functools, pathlib, sys\n"
        "from tests.bench.test_launch import outcome_of\n"
        "outcome_of('sleep_for_ever', pathlib.Path(sys.argv[1]) / 'log',\n"
        "           on_phase=functools.partial(print, flush=True))\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    # Until it has asked the kernel for it, a process that has just started is on its own.
    assert parent.stdout.readline() == "compile\n"
    (cell,) = psutil.Process(parent.pid).children(recursive=True)
    parent.kill()
    parent.communicate()
    _, alive = psutil.wait_procs([cell], timeout=5)
    assert not alive


def test_merge_is_one_level_deep() -> None:
    into = {"metrics": {"a": 1, "b": 2}, "health": "", "samples": {"x": [1]}}
    merged = record.merge(into, {"metrics": {"b": 3}, "health": "bad", "curves": {}})
    assert merged == {
        "metrics": {"a": 1, "b": 3},
        "health": "bad",
        "samples": {"x": [1]},
        "curves": {},
    }
