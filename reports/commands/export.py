"""Write results in the format of github-action-benchmark, Bencher or pytest-benchmark, or as
MLflow runs.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="a sweep's folder")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--format", choices=("github", "bencher", "pytest-benchmark"))
    target.add_argument("--to", choices=("mlflow",), help="one run a record, each written once")
    parser.add_argument("--out", type=Path, help="write it there instead of to standard output")
    parser.add_argument("--uri", help="of --to: the tracking server (default: DIR/mlruns)")
    parser.add_argument("--experiment", default="etrace-bench", help="of --to: its experiment")


def run(arguments: argparse.Namespace) -> int:
    from reports.commands import read

    sweeps = read(arguments.folders)
    if arguments.to:
        from reports.tracking import folder_of, to_mlflow

        written, there = to_mlflow(sweeps, arguments.uri, arguments.experiment)
        print(f"{written} runs written to {folder_of(arguments.uri, sweeps)}, {there} were there")
        return 0
    from reports.export import FORMATS
    from reports.output import tell

    tell(FORMATS[arguments.format](sweeps), arguments.out)
    return 0
