"""Time slices at the clock: two processes time their steps in short turns, one waiting meanwhile.

What a busy machine does lasts for seconds and differs from core to core. Two processes timed one
after the other meet different seconds, two that take turns on the same core meet the same ones.

Over the socket come single bytes: to a process the number of the core that its turn is on, or
`ANY_CORE`; from a process `DONE`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path

# Names the socket of whoever grants the turns; without it a process times alone.
VARIABLE = "ETRACE_BENCH_TURNS"
SLICE_S = 0.01
DONE = b"d"
ANY_CORE = 255


class TimeSlices:
    """A process' side. With nobody to grant turns, it is always its turn."""

    def __init__(self) -> None:
        self.waited_s = 0.0  # for a turn
        self._ends = 0.0
        self._core = ANY_CORE
        self._socket: socket.socket | None = None
        path = os.environ.get(VARIABLE)
        self.granted = bool(path)  # whether there is somebody to grant turns
        if path:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(path)

    def __enter__(self) -> TimeSlices:
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()

    def passed_on(self) -> bool:
        """Lets the other go first where this turn is over; whether there was such a break."""
        if self._socket is None or time.perf_counter() < self._ends:
            return False
        try:
            self._socket.sendall(DONE)
        except OSError:
            self._socket = None
            return False
        self._wait()
        return True

    def _wait(self) -> None:
        if self._socket is None:
            return
        began = time.perf_counter()
        if granted := self._socket.recv(1):
            self._move_to(granted[0])
        else:
            self._socket = None
        now = time.perf_counter()
        self.waited_s += now - began
        self._ends = now + SLICE_S

    def _move_to(self, core: int) -> None:
        if core in (ANY_CORE, self._core):
            return
        self._core = core
        # Every thread: which of them computes is the library's business.
        for thread in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):
                os.sched_setaffinity(int(thread.name), {core})
