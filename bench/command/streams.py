"""Outputs that end nothing: closed, without a reader, on a full device, or of another alphabet."""

from __future__ import annotations

import io
import os
import select
import sys
from typing import Any, TextIO


class _Lossy(io.FileIO):
    """A descriptor on which writing never fails.

    Attributes:
        lost: why something was not written, None as long as all was.
    """

    lost: OSError | None = None

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
        stream: TextIO | None = getattr(sys, name)
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor, which is this one
            stream = None
        if stream is None and name == "stdin":
            sys.stdin = os.fdopen(descriptor, encoding="utf-8")
        elif name != "stdin" and isinstance(stream, io.TextIOWrapper | None):
            raw = _Lossy(stream.fileno() if stream else descriptor, "w", closefd=False)
            setattr(
                sys,
                name,
                io.TextIOWrapper(
                    io.BufferedWriter(raw),
                    stream.encoding if stream else "utf-8",
                    "backslashreplace",
                    line_buffering=stream.line_buffering if stream else False,
                ),
            )


def lost(stream: TextIO) -> OSError | None:
    """Why something written to a stream was lost; None where all arrived, as far as is known."""
    stream.flush()
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw.lost if isinstance(raw, _Lossy) else None
