"""Jobs as plain processes of this machine, side by side: for cells that no clock is read in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.launchers.base import Launcher, Outcome

POLL_S = 0.2
END_WITHIN_S = 10.0


class Processes(Launcher):
    """One process for each share.

    Args:
        jobs: how many run at the same time.
    """

    here = True

    def run(self, shares: Sequence[Path], logs: Path, tick: Callable[[int], None]) -> Outcome:
        logs.mkdir(parents=True, exist_ok=True)
        running: list[tuple[subprocess.Popen[bytes], Path, Path]] = []
        try:
            for path in shares:
                log, answer = (
                    logs / f"{os.getpid()}-{path.stem}.{kind}" for kind in ("log", "json")
                )
                command = [sys.executable, "-P", "-m", "bench.sweep.jobs", str(path), str(answer)]
                with log.open("wb") as file:
                    process = subprocess.Popen(
                        command, stdin=subprocess.DEVNULL, stdout=file, stderr=file
                    )
                running.append((process, log, answer))
            while (ended := sum(p.poll() is not None for p, _, _ in running)) < len(running):
                tick(ended)
                time.sleep(POLL_S)
        except BaseException:
            for process, _, _ in running:
                process.terminate()
            for process, _, _ in running:
                process.wait(END_WITHIN_S)
            raise
        recorded, lost = [], []
        for process, log, answer in running:
            if process.returncode == 0:
                recorded += json.loads(answer.read_text())
                log.unlink()
            else:
                last = log.read_text(errors="replace").strip().splitlines() or ["no output"]
                lost.append(
                    f"a job ended with status {process.returncode}: {last[-1]} [log: {log}]"
                )
            answer.unlink(missing_ok=True)
        return Outcome(recorded, lost)
