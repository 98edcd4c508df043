"""What the tutorials claim, answered from the records: holds, does not hold, not decided,
not tested here.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="a sweep's folder")
    parser.add_argument("--format", choices=("text", "markdown", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    """Prints every claim with its verdict, figure and the keys of the rows behind it."""
    from reports import markdown
    from reports.claims import answer_all
    from reports.commands import read
    from reports.study import Study

    answers = answer_all(Study(read(arguments.folders)))
    if arguments.format == "json":
        print(
            json.dumps(
                [
                    {
                        "id": a.claim.id,
                        "claim": a.claim.words,
                        "tutorials": a.claim.tutorials,
                        "verdict": a.finding.verdict,
                        "figure": a.finding.figure,
                        "keys": a.finding.keys,
                    }
                    for a in answers
                ],
                indent=1,
                ensure_ascii=False,
            )
        )
    elif arguments.format == "markdown":
        print(markdown.claims(answers))
    else:
        for a in answers:
            print(f"{a.finding.verdict.upper():<16}{a.claim.words}\n{'':<16}{a.finding.figure}")
            print(
                f"{'':<16}from {' / '.join(a.claim.tutorials)}"
                + (f"; rows: {markdown.keys(a.finding.keys)}" if a.finding.keys else "")
                + "\n"
            )
    return 0
