"""``python -m bench``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bench.sweep import signals


def main(argv: Sequence[str] | None = None) -> int:
    """As ``bench.command.cli.main``; 128 and its number when a signal ends it."""
    with signals.endable():
        try:
            from bench.command import cli

            return cli.main(argv)
        except BaseException as error:
            if (ended := signals.interruption(error)) is None:
                raise
            # Cells are told of by the sweep itself: this is before the first, or after the last.
            print(
                "interrupted: what is recorded is kept; the same command goes on", file=sys.stderr
            )
            return signals.status_of(ended)


if __name__ == "__main__":
    sys.exit(main())
