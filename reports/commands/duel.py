"""The verdict of a duel, from the pairs in its folder; `python -m bench.duel` asks for it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

MOST_MIB = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="a duel's folder")


def run(arguments: argparse.Namespace) -> int:
    """Reads ``duel.json``; writes ``verdict.json`` for programs, ``.txt`` and ``.md`` for people.

    Returns:
        0 when nothing got slower or the data cannot tell, 1 when something did.
    """
    from reports.duel import as_markdown, as_text
    from reports.errors import InputError
    from reports.output import tell
    from reports.records.read import Unusable, read_json
    from reports.sequential import decide

    file: Path = arguments.folder / "duel.json"
    try:
        state = read_json(file, MOST_MIB)
        decision = decide(state)
        text, markdown = as_text(decision), as_markdown(decision, state)
    except FileNotFoundError:
        came = f"{arguments.folder}, which {'lacks it' if file.parent.exists() else 'is not there'}"
    except Unusable as why:
        came = f"{file}, {why}"
    except (LookupError, TypeError, AttributeError, ValueError) as why:
        came = f"{file}, which holds something else ({type(why).__name__}: {why})"
    else:
        for name, words in (("json", json.dumps(decision, indent=1)), ("txt", text),
                            ("md", markdown)):
            tell(words, arguments.folder / f"verdict.{name}")
        print(text, end="")
        return 1 if decision["worse"] else 0
    raise InputError("a folder with the duel.json of a duel", came,
                     "`python -m bench.duel base=main` makes one.")
