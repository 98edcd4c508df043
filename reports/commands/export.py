"""Write results in the format of github-action-benchmark, Bencher or pytest-benchmark."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="a sweep's folder")
    parser.add_argument(
        "--format", choices=("github", "bencher", "pytest-benchmark"), required=True
    )
    parser.add_argument("--out", type=Path, help="write it there instead of to standard output")


def run(arguments: argparse.Namespace) -> int:
    from reports.export import FORMATS
    from reports.records import read_sweeps
    from reports.study import Study

    made = FORMATS[arguments.format](Study(read_sweeps(arguments.folders)))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(made, encoding="utf-8")
    else:
        print(made, end="")
    return 0
