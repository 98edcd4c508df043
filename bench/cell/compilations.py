"""Counts XLA compilations while a block of code runs."""

from __future__ import annotations

from typing import Any

import jax.monitoring

_EVENT = "/jax/core/compile/backend_compile_duration"
_active: list[Compilations] = []
_listening = False


class Compilations:
    """Use as a context manager; ``count`` grows while the block runs."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Compilations:
        global _listening
        # jax.monitoring has no public way to take a listener off again: one stays for the process.
        if not _listening:
            jax.monitoring.register_event_duration_secs_listener(_heard)
            _listening = True
        _active.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _active.remove(self)


def _heard(event: str, duration_secs: float, **_: Any) -> None:
    if event == _EVENT:
        for counter in _active:
            counter.count += 1
