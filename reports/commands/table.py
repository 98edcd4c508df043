"""A LaTeX or Markdown table of any pivot of the results (medians over the ok cells)."""

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
        default="algo",
        metavar="A,B",
        help="columns whose values are the columns (default: %(default)s)",
    )
    parser.add_argument(
        "--values",
        default="step_time_ms",
        metavar="METRIC",
        help="the metric in the cells (default: %(default)s)",
    )
    parser.add_argument("--format", choices=("markdown", "latex", "csv"), default="markdown")


def run(arguments: argparse.Namespace) -> int:
    """Prints the table; settings that were averaged over are named on standard error."""
    from reports import tables, text
    from reports.commands import read
    from reports.records import frame
    from reports.records.settings import varying_within

    table = frame(read(arguments.folders).records)
    rows, cols = (
        [name.strip() for name in names.split(",")] for names in (arguments.rows, arguments.cols)
    )
    made = tables.pivot(table, rows, cols, arguments.values)
    merged = varying_within(table[table["status"].eq("ok")], [*rows, *cols])
    if merged:
        print(f"reports: medians over different {', '.join(merged)}", file=sys.stderr)
    print(
        {
            "markdown": lambda: text.to_markdown(made),
            "latex": lambda: text.to_latex(made, arguments.values),
            "csv": made.to_csv,
        }[arguments.format](),
        end="",
    )
    return 0
