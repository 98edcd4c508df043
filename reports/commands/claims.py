"""What tutorials claim, answered from the records: holds, does not hold, not decided, or not tested
here.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="a sweep's folder")
    parser.add_argument("--format", choices=("text", "markdown", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    """Prints every claim with its answer, the figure and the keys of the rows behind it."""
    from reports.commands import read
    from reports.judge.claims import answers
    from reports.study import Study
    from reports.text import table

    study = Study(read(arguments.folders))
    found, untested = answers(study.facts)
    if arguments.format == "json":
        told = [
            {"id": a.claim.id, "claim": a.claim.words, "source": a.claim.source, "of": a.where,
             "verdict": a.finding.verdict, "figure": a.finding.figure, "keys": a.finding.keys}
            for a in found
        ] + [
            {"id": c.id, "claim": c.words, "source": c.source, "verdict": "not tested here",
             "takes": c.regime} for c in untested
        ]  # fmt: skip
        print(json.dumps(told, indent=1, ensure_ascii=False))
        return 0
    if arguments.format == "markdown":
        rows = [
            [a.claim.words, a.where, f"**{a.finding.verdict}**", a.finding.figure, a.claim.source]
            for a in found
        ]
        rows += [
            [c.words, "", "not tested here", f"It takes {c.regime}.", c.source] for c in untested
        ]
        print(table(["claim", "of", "verdict", "figure", "tutorial"], rows))
        return 0
    for a in found:
        print(
            f"{a.finding.verdict.upper():<16}{a.claim.words}\n{'':<16}{a.where}: {a.finding.figure}"
        )
    for c in untested:
        print(f"{'NOT TESTED HERE':<16}{c.words}\n{'':<16}It takes {c.regime}.")
    return 0
