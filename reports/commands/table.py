"""A LaTeX, Markdown or CSV table of any pivot of the results (medians over the ok cells)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="a sweep's folder")
    parser.add_argument(
        "--rows",
        default="n_hidden",
        metavar="A,B",
        help="columns of the results whose values are the rows, such as n_hidden,batching "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--cols",
        metavar="A,B",
        help="columns whose values are the columns (default: algo, and none where that is a row)",
    )
    parser.add_argument(
        "--values",
        default="step_time_ms",
        metavar="A,B",
        help="the metrics in the cells (default: %(default)s)",
    )
    parser.add_argument(
        "--intervals",
        action="store_true",
        help="with 95 %% intervals from three processes (or seeds) on; of two with both values",
    )
    parser.add_argument("--format", choices=("markdown", "latex", "csv"), default="markdown")


def run(arguments: argparse.Namespace) -> int:
    """Prints the table; settings that were pooled are named on standard error."""
    from reports import tables
    from reports.commands import read
    from reports.records import frame

    rows, cols, values = (
        [name.strip() for name in names.split(",") if name.strip()]
        for names in (arguments.rows, arguments.cols or "", arguments.values)
    )
    if arguments.cols is None and "algo" not in rows:
        cols = ["algo"]
    made = tables.pivot(
        frame(read(arguments.folders).records), rows, cols, values, arguments.intervals
    )
    if made.pooled:
        print(f"reports: medians over different {', '.join(made.pooled)}", file=sys.stderr)
    print(tables.FORMATS[arguments.format](made), end="")
    return 0
