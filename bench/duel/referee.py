"""Who grants the turns in which the two processes of a pair time their steps."""

from __future__ import annotations

import os
import random
import socket
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

from bench.cell.time_slices import ANY_CORE, DONE, VARIABLE

LOOK_S = 0.1


class Referee:
    """Waits until both are ready to time, then lets them take turns, in an order drawn each round.

    With ``one_core`` both turns of a round are on the same core, drawn each round as well.
    """

    def __init__(self, seed: int, one_core: bool = True) -> None:
        self._order = random.Random(seed)
        self._cores = [ANY_CORE]
        # Elsewhere a process cannot choose its core.
        if one_core and sys.platform == "linux":
            self._cores = [core for core in os.sched_getaffinity(0) if core < ANY_CORE]
        self._folder = TemporaryDirectory(prefix="duel-turns-")
        path = Path(self._folder.name) / "socket"
        self.environment = {VARIABLE: str(path)}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.settimeout(LOOK_S)
        self._alone = Event()
        self._over = Event()
        self._thread = Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Referee:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._listener.close()
        self._folder.cleanup()

    def ended(self) -> None:
        """One of the processes has ended: the other need not wait for it."""
        self._alone.set()

    def _serve(self) -> None:
        came: list[socket.socket] = []
        while len(came) < 2 and not self._over.is_set():
            try:
                came.append(self._listener.accept()[0])
            except TimeoutError:
                if came and self._alone.is_set():
                    break
        players = came
        while players and not self._over.is_set():
            players = self._order.sample(players, len(players))
            core = self._order.choice(self._cores)
            players = [player for player in players if self._turn(player, core)]
        for player in came:
            player.close()

    def _turn(self, player: socket.socket, core: int) -> bool:
        """One turn on a core; whether the player wants another."""
        try:
            player.sendall(bytes([core]))
            # A process that is ended meanwhile closes its side.
            return player.recv(1) == DONE
        except OSError:
            return False
