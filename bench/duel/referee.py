"""Who grants the turns in which the two processes of a pair time their steps."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from types import TracebackType

from bench.turns import DONE, GO, VARIABLE

LOOK_S = 0.1


class Referee:
    """Waits until both are ready to time, then lets them take turns, in an order drawn each round.

    Args:
        seed: of the order.
    """

    def __init__(self, seed: int) -> None:
        self._order = random.Random(seed)
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._listener.close()
        self._folder.cleanup()

    def ended(self) -> None:
        """One of the processes has ended: the other need not wait for it."""
        self._alone.set()

    def _serve(self) -> None:
        players: list[socket.socket] = []
        while len(players) < 2 and not self._over.is_set():
            try:
                players.append(self._listener.accept()[0])
            except TimeoutError:
                if players and self._alone.is_set():
                    break
        while players and not self._over.is_set():
            self._order.shuffle(players)
            players = [player for player in players if self._turn(player)]
        for player in players:
            player.close()

    def _turn(self, player: socket.socket) -> bool:
        """One turn; whether the player wants another."""
        try:
            player.settimeout(None)
            player.sendall(GO)
            # A process that is ended meanwhile closes its side.
            return player.recv(1) == DONE
        except OSError:
            return False
