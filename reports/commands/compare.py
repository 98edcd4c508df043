"""Decide whether HEAD regressed from BASE: exact quantities first, then time.

Exit status: 0 no regression (also where the data cannot tell), 1 some regression, a newly failing
or a missing cell, 2 input that cannot be used.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    side = "a sweep's folder or a results.parquet"
    parser.add_argument("base", type=Path, metavar="BASE", help=side)
    parser.add_argument("head", type=Path, metavar="HEAD", help=side)
    parser.add_argument("--format", choices=("text", "markdown", "json", "junit"), default="text")
    parser.add_argument("--out", type=Path, help="write it there instead of to standard output")
    parser.add_argument(
        "--measured",
        default="step_time_ms",
        metavar="A,B",
        help="metrics judged by statistics (default: %(default)s)",
    )
    parser.add_argument(
        "--bar",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="the least change of a measured metric that counts (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    from reports.compare import compare
    from reports.compare.render import FORMATS, headline
    from reports.errors import InputError
    from reports.output import tell

    if not 0 <= arguments.bar < 10:
        raise InputError(
            "--bar to be a share such as 0.05", f"{arguments.bar}", "5 % is written 0.05."
        )
    found = compare(
        arguments.base,
        arguments.head,
        [m for m in arguments.measured.split(",") if m],
        arguments.bar,
    )
    tell(FORMATS[arguments.format](found), arguments.out)
    if arguments.out:
        print(headline(found))
    return found.status
