"""``python -m bench.duel base=REF_OR_PATH head=REF_OR_PATH KEY=VALUE...``"""

import signal

from bench.duel.cli import main

if __name__ == "__main__":
    # As a CI service ends a job: the same as Ctrl-C, so that no process stays behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    raise SystemExit(main())
