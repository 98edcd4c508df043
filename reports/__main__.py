"""Entry of ``python -m reports``: whatever the output is connected to, no traceback comes of it."""

from __future__ import annotations

import os
import signal
import sys


def run(arguments: list[str]) -> int:
    """`main` with output that degrades, as unix tools': see its exit status."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller: what is printed goes nowhere
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        else:
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            from reports.cli import main  # which takes long enough to be interrupted

            return main(arguments)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("reports: interrupted. Run the same command again.", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:  # `| head` has read enough
        # What is still buffered would raise again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
