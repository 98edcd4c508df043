"""Outputs that end nothing: closed, without a reader, on a full device, or of another alphabet."""

from __future__ import annotations

import io
import os
import select
import sys
from typing import Any, TextIO

BROKEN_PIPE = 141  # what a shell reports of a program that SIGPIPE ended


class _Lossy(io.FileIO):
    """A descriptor on which writing never fails."""

    lost: OSError | None = None  # why something was not written

    def write(self, data: Any) -> int:
        while True:
            try:
                written = super().write(data)
            except OSError as error:
                # A terminal that is gone, a pipe that nobody reads, a full device.
                self.lost = error
                return len(data)
            if written is not None:
                return written
            select.select([], [self], [])  # somebody made it non-blocking


def prepare() -> None:
    """Makes the outputs of this process safe to write to, whatever they are.

    A closed descriptor would be taken by the next file that is opened, and what is meant for a
    person would be written there.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor, which is this one
            mode = "w" if descriptor else "r"
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))
    for name in ("stdout", "stderr"):
        stream: TextIO = getattr(sys, name)
        raw = io.BufferedWriter(_Lossy(stream.fileno(), "w", closefd=False))
        buffered = bool(stream.line_buffering)
        safe = io.TextIOWrapper(raw, stream.encoding, "backslashreplace", line_buffering=buffered)
        setattr(sys, name, safe)


def printed(status: int = 0) -> int:
    """The status of a command that is there to print; not its own where that was lost."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    lost = raw.lost if isinstance(raw, _Lossy) else None
    if isinstance(lost, BrokenPipeError):
        return BROKEN_PIPE
    if lost is not None:
        print(f"error: output: {lost.strerror}", file=sys.stderr)
        return status or 1
    return status
