"""Turns at the clock: two processes that time their steps in short turns, one waiting meanwhile.

What a busy machine does lasts for seconds. Two processes timed one after the other meet different
seconds, two that take turns meet the same ones.
"""

from __future__ import annotations

import os
import socket
import time

# Names the socket of whoever grants the turns; without it a process times alone.
VARIABLE = "ETRACE_BENCH_TURNS"
TURN_S = 0.03
GO, DONE = b"g", b"d"


class Turns:
    """A process' side. With nobody to grant turns, it is always its turn.

    Attributes:
        waited_s: seconds spent waiting for a turn.
    """

    def __init__(self) -> None:
        self.waited_s = 0.0
        self._ends = 0.0
        self._socket: socket.socket | None = None
        if path := os.environ.get(VARIABLE):
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(path)

    def __enter__(self) -> Turns:
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
        if not self._socket.recv(1):
            self._socket = None
        now = time.perf_counter()
        self.waited_s += now - began
        self._ends = now + TURN_S
