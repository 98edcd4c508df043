"""The verdict of a duel, from the pairs in its folder; `python -m bench.duel` asks for it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="a duel's folder")


def run(arguments: argparse.Namespace) -> int:
    """Reads ``duel.json``; writes ``verdict.json`` for programs, ``.txt`` and ``.md`` for people.

    Returns:
        0 when nothing got slower or the data cannot tell, 1 when something did.
    """
    from reports.duel import as_markdown, as_text
    from reports.errors import InputError
    from reports.sequential import decide

    folder: Path = arguments.folder
    try:
        state = json.loads((folder / "duel.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            "the folder of a duel", str(error), "`python -m bench.duel` makes one."
        ) from None
    decision = decide(state)
    text = as_text(decision)
    (folder / "verdict.json").write_text(json.dumps(decision, indent=1), encoding="utf-8")
    (folder / "verdict.txt").write_text(text, encoding="utf-8")
    (folder / "verdict.md").write_text(as_markdown(decision, state), encoding="utf-8")
    print(text, end="")
    return 1 if decision["worse"] else 0
