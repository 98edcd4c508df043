"""``python -m bench.duel base=REF_OR_PATH head=REF_OR_PATH KEY=VALUE...``"""

from bench.command import streams
from bench.duel.cli import main
from bench.sweep import signals

if __name__ == "__main__":
    streams.prepare()
    # A CI service ends a job by SIGTERM: as by Ctrl-C, no process stays behind.
    with signals.endable():
        status = main()
    raise SystemExit(status)
