"""Whether other cells ran on the same device while one was timed."""

from __future__ import annotations

import contextlib
import os

import psutil

from bench import processes

WORKER = "bench.cell.worker"


class OtherCells:
    """Looks for other cells at both ends of the phase in which a cell is timed.

    A cell takes longer than that phase, so one that runs beside it is seen at one of the ends. Only
    the processes that this one may see count: not those of another container.

    Args:
        platform: ``cpu`` or ``gpu``, the device of the cell.

    Attributes:
        most: other cells seen on the same device; None as long as nothing was timed.
    """

    def __init__(self, platform: str) -> None:
        self.most: int | None = None
        self._platform = platform
        self._timing = False

    def phase(self, name: str) -> None:
        """The cell enters a phase."""
        if self._timing or name == "timing":
            self.most = max(self.most or 0, others(self._platform))
        self._timing = name == "timing"


def others(platform: str) -> int:
    """Cells on this machine that may use the same device and were not started by this process.

    Args:
        platform: ``cpu`` or ``gpu``, the device of the cell that asks.
    """
    own = set(processes.descendants(os.getpid()))
    sessions = set()  # a cell's process and its guard, which looks like it, share one
    for process in psutil.process_iter(["cmdline"]):
        if WORKER in (process.info["cmdline"] or ()) and process.pid not in own:
            with contextlib.suppress(OSError):  # it has ended
                session = os.getsid(process.pid)
                if _may_share(process, platform):
                    sessions.add(session)
    return len(sessions)


def _may_share(process: psutil.Process, platform: str) -> bool:
    try:
        env = process.environ()
    except psutil.Error:
        return True  # another user's: it may
    if ("gpu" if env.get("JAX_PLATFORMS") == "cuda" else "cpu") != platform:
        return False
    if platform == "cpu":
        return True
    mine, theirs = (e.get("CUDA_VISIBLE_DEVICES") for e in (os.environ, env))
    return mine is None or theirs is None or bool(set(mine.split(",")) & set(theirs.split(",")))
