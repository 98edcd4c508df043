"""``python -m bench``."""

import sys

from bench.sweep import signals


def main() -> int:
    """The command, which an early signal ends as well as a late one."""
    with signals.endable():
        try:
            from bench.command import cli

            return cli.main()
        except KeyboardInterrupt as ended:
            return signals.said(ended)


if __name__ == "__main__":
    sys.exit(main())
