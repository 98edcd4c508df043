"""A LaTeX or Markdown table of any pivot of the results (medians over the ok cells)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="a sweep's folder")
    parser.add_argument("--rows", default="n_hidden", help="column whose values are the rows")
    parser.add_argument("--cols", default="algo", help="column whose values are the columns")
    parser.add_argument("--values", default="step_time_ms", help="the metric in the cells")
    parser.add_argument("--format", choices=("markdown", "latex", "csv"), default="markdown")


def run(arguments: argparse.Namespace) -> int:
    """Prints the table; settings that were averaged over are named on standard error."""
    from reports import tables, text
    from reports.study import varying_within

    table = tables.load(*arguments.folders)
    made = tables.pivot(table, arguments.rows, arguments.cols, arguments.values)
    merged = varying_within(table[table["status"].eq("ok")], [arguments.rows, arguments.cols])
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
