"""Being told to end: one sentence and one status, whenever it comes."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator

from bench.errors import Ended

TOLD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# One end may be told twice: ``timeout`` signals its process, and then the group that it is in.
TOGETHER_S = 0.1


@contextlib.contextmanager
def endable() -> Iterator[None]:
    """Raises ``Ended`` in the block when a signal asks for the end; a second one ends at once.

    What was ignored stays ignored, as under ``nohup``.
    """

    def end(number: int, _: object) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        time.sleep(TOGETHER_S)
        for other in before:
            signal.signal(other, signal.SIG_DFL)
        raise Ended(number)

    here = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in TOLD if here}
    before = {n: done for n, done in handlers.items() if done not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interruption(error: BaseException | None) -> KeyboardInterrupt | None:
    """The interruption that an error is or came of: what it cuts short may fail."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error


def status_of(ended: KeyboardInterrupt) -> int:
    """The exit status of what was ended."""
    return ended.status if isinstance(ended, Ended) else 128 + signal.SIGINT
