"""Jobs as plain processes of this machine, side by side."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.bounds import Count
from bench.launchers.base import Job, Launcher
from bench.processes import path_from
from bench.sweep.inputs import ROOT

END_WITHIN_S = 10.0


class _Process(Job):
    def __init__(self, share: Path, log: Path) -> None:
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "bench.sweep.jobs", str(share)],
                # What this process can import, plug-ins in the current folder among it.
                env={**os.environ, "PYTHONPATH": path_from(ROOT, os.getcwd())},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    def done(self) -> bool:
        return self._process.poll() is not None

    def problem(self) -> str:
        status = self._process.returncode
        if status == 0:
            self._log.unlink()
            return ""
        last = self._log.read_text(errors="replace").strip().splitlines() or ["no output"]
        return f"a job ended with status {status}: {last[-1]} [log: {self._log}]"

    def cancel(self) -> None:
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_WITHIN_S)


class Processes(Launcher):
    """One process for each share; all start at once, and disturb each other's times."""

    here = True

    def __init__(self, jobs: Count = 1) -> None:
        self.jobs = jobs

    def start(self, shares: Sequence[Path], logs: Path) -> Iterator[Job]:
        logs.mkdir(parents=True, exist_ok=True)
        for path in shares:
            yield _Process(path, logs / f"{os.getpid()}-{path.stem}.log")
