"""Who grants the turns in which the two processes of a pair time their steps."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import sys
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from bench.cell.time_slices import ANY_CORE, DONE, VARIABLE

LONGEST_TURN_S = 900.0
MOST_BYTES = 76


class Referee:
    """Lets processes take turns, in an order drawn each round, once all are ready to time.

    With ``one_core`` all turns of a round are on the same core, drawn each round as well.
    """

    def __init__(self, seed: int, one_core: bool = True) -> None:
        self._draw = random.Random(seed)
        self._cores = [ANY_CORE]
        # Elsewhere a process cannot choose its core.
        if one_core and sys.platform == "linux":
            self._cores = [core for core in os.sched_getaffinity(0) if core < ANY_CORE]
        # The path of a socket has 104 bytes at most, of which 28 are below this folder.
        short = len(os.fsencode(gettempdir())) <= MOST_BYTES
        self._folder = TemporaryDirectory(prefix="duel-turns-", dir=None if short else "/tmp")
        path = str(Path(self._folder.name) / "socket")
        self.environment = {VARIABLE: path}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._listener.setblocking(False)
        self._players: list[socket.socket] = []
        self._begun = False

    def __enter__(self) -> Referee:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._players):
            each.close()
        self._folder.cleanup()

    def round(self, expected: int) -> bool:
        """One turn of each process that wants one, once ``expected`` have come; whether any did."""
        with contextlib.suppress(BlockingIOError):
            player, _ = self._listener.accept()
            player.settimeout(LONGEST_TURN_S)
            self._players.append(player)
        self._begun |= len(self._players) >= expected
        if not self._begun:
            return False
        core = self._draw.choice(self._cores)
        for player in self._draw.sample(self._players, len(self._players)):
            if not _had_turn(player, core):
                player.close()
                self._players.remove(player)
        return bool(self._players)


def _had_turn(player: socket.socket, core: int) -> bool:
    """One turn on a core; whether the player wants another."""
    try:
        player.sendall(bytes([core]))
        # A process that is ended meanwhile closes its side.
        return player.recv(1) == DONE
    except OSError:
        return False
