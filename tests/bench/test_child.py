"""Questions to processes: answers on a descriptor of their own, a deadline, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import __main__, child
from bench.child import End
from bench.command import cli, compose, trial
from bench.errors import BadInput, Ended
from bench.sweep import signals, sweep
from bench.sweep.folder import Folder
from bench.sweep.progress import Watcher
from bench.sweep.provenance import ROOT
from tests.bench.sweeps import plant, wait_for

# Prints what looks like an answer, leaves a process behind, and does as it is asked.
MODULE = """
import os, subprocess, sys, threading, time
from bench import child

def answers(question):
    print('["no answer"]', flush=True)
    os.write(1, b"from a library\\n")
    sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield sleeper.pid
    if question == "fail":
        raise KeyError("lost")
    if question == "late":
        time.sleep(60)
    if question == "thread":
        threading.Thread(target=time.sleep, args=[60]).start()
    if question == {1: 2}:
        yield "by number"
    yield question

child.answer(answers, "What this is.")
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "etb_child.py").write_text(MODULE)
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}


def gone(pid: int) -> bool:
    try:
        return "sleep" not in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return True


def test_to_be_stopped_for_hours_costs_no_cell_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 7200.0, 7203.0, 7204.5])
    monkeypatch.setattr(child.time, "monotonic", lambda: next(clock))
    going: Any = SimpleNamespace(poll=lambda: None)
    said: Any = SimpleNamespace(listen=lambda timeout: True)
    assert child._until_end(going, said, 5.0, None) == (True, 0)
    assert next(clock, None) is None  # not before five seconds of its own are over


@pytest.mark.parametrize(
    ("question", "found", "last", "late"),
    [
        ("x" * 100_000, ["x" * 100_000], "from a library", False),
        ({1: 2}, ["by number", {"1": 2}], "from a library", False),
        ("fail", [], "KeyError: 'lost'", False),
        ("late", [], "from a library", True),
        ("thread", ["thread"], "from a library", False),
    ],
)
def test_what_is_printed_is_no_answer_and_nothing_stays(
    question: Any, found: list[Any], last: str, late: bool, module: dict[str, str]
) -> None:
    limit = 5 if late else 60
    (sleeper, *rest), end = child.asked("etb_child", question, env=module, timeout_s=limit)
    assert (rest, end.last_line(), end.late) == (found, last, late)
    wait_for(lambda: gone(sleeper))


@pytest.mark.parametrize("home", ["/proc/none", "home"])
def test_a_home_that_cannot_be_written_is_replaced(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / home))  # an absolute one stays
    monkeypatch.delenv(child.HOME_OF_BRAINEVENT, raising=False)
    (tmp_path / "etb_home.py").write_text(
        "from bench import child\nimport brainevent\n"
        "cache = brainevent._op.kernix_pipeline._cache\n"
        "child.answer(lambda _: [str(cache.base_dir)], '')"
    )
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    (folder,), _ = child.asked("etb_home", None, env, 100.0)
    assert folder.startswith(str(tmp_path / "home")) is (home == "home")
    assert Path(folder).exists() is (home == "home")


def test_no_room_for_a_process_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(subprocess, "Popen", full)
    assert cli.main(["task=random_classification", "n_hidden=8"]) == 2
    assert capsys.readouterr().err == (
        "error: this machine: expected room for a process; got [Errno 28] "
        "No space left on device. Make some, and try again.\n"
    )


@pytest.mark.parametrize("name", ["cell.worker", "cell.probe", "cell.machine_rates", "duel"])
def test_help_of_what_runs_by_itself(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{name}", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "bench" in done.stdout


@pytest.mark.parametrize(
    ("found", "end", "words"),
    [
        (
            [{"error": "task: n_steps: expect more"}],
            End(0, late=False, held=0, output=b""),
            "task: n_steps: expect more",
        ),
        (
            [],
            End(-11, late=False, held=0, output=b"Segmentation fault\n"),
            "task: expected a task that can be made; got Segmentation fault.",
        ),
        (
            [],
            End(-9, late=True, held=0, output=b""),
            "task: expected a task that is made within 660 s; got none. "
            "limits.deadline_s is what a cell has.",
        ),
    ],
)
def test_a_task_that_cannot_be_made(
    found: list[dict[str, str]], end: End, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "asked", lambda *_, **__: (found, end))
    cells = cli.cells_of(None, ["task=random_spikes"], multirun=False)
    with pytest.raises(BadInput) as error:
        trial.refuse_bad_values(trial.trial(cells, "task"), ("task",))
    assert str(error.value) == words


@pytest.fixture
def handlers() -> Iterator[None]:
    before = [signal.getsignal(number) for number in signals.TOLD]
    yield
    for number, handler in zip(signals.TOLD, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_is_one_sentence_at_any_time(
    number: int, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    signal.signal(number, signal.SIG_DFL)

    def told(*_: object, **__: object) -> None:
        os.kill(os.getpid(), number)
        time.sleep(5)
        raise AssertionError("nothing was ended")

    monkeypatch.setattr(cli, "trial", told)
    assert __main__.main([]) == status
    assert signal.getsignal(number) == signal.SIG_DFL
    assert capsys.readouterr().err == (
        "interrupted: what is recorded is kept; the same command goes on\n"
    )


@pytest.mark.usefixtures("handlers")
def test_what_a_library_makes_of_an_interruption_is_none_of_its_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def composed(*_: object, **__: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        finally:
            raise KeyError("cut short")

    for where in ("compose", "text"):
        with monkeypatch.context() as patched:
            patched.setattr(compose, where, composed)
            assert __main__.main(["algo=bptt"]) == 130
        assert capsys.readouterr().err == (
            "interrupted: what is recorded is kept; the same command goes on\n"
        )
    with monkeypatch.context() as patched:
        patched.setattr(cli, "trial", composed)
        assert __main__.main([]) == 130


@pytest.mark.usefixtures("handlers")
def test_what_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with signals.endable():
        os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        with pytest.raises(Ended):
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # a second one ends at once
    # Only the main thread can be told.
    thread = threading.Thread(target=lambda: signals.endable().__enter__())
    thread.start()
    thread.join()


TOLD_TWICE = """
import os, signal, sys, threading
from bench.sweep import signals
try:
    with signals.endable():
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGTERM)).start()
        os.kill(os.getpid(), signal.SIGTERM)
except KeyboardInterrupt as ended:
    sys.exit(signals.status_of(ended))
"""


def test_an_end_that_timeout_tells_twice_is_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOLD_TWICE],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (143, "")


def test_a_lock_that_is_held_elsewhere_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(monkeypatch.setattr)
    (cell,) = cli.cells_of(None, ["seed=0"], multirun=False)
    folder, waited = Folder.open(tmp_path / "out"), []

    @contextlib.contextmanager
    def held_elsewhere(key: str, wait: bool = False) -> Iterator[bool]:
        waited.append(wait)
        yield wait

    monkeypatch.setattr(folder, "lock", held_elsewhere)
    with Watcher(1) as watcher:
        assert sweep.in_turn([cell], folder, watcher) == []
    assert waited == [False, True]
    said, ran = filter(None, capsys.readouterr().out.splitlines())  # older rich ends in a blank one
    assert said == f"another sweep runs {cell.title()} in this folder: waiting for it"
    assert ran.startswith("[1/1] ok")
