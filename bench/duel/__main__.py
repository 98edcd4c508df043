"""``python -m bench.duel base=REF_OR_PATH head=REF_OR_PATH KEY=VALUE...``"""

from bench.duel.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
