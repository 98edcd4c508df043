"""Rebuild tables, plots and the report of one or several sweeps (the default)."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="a sweep's folder")
    parser.add_argument(
        "--out",
        type=Path,
        help="where to write (default: the sweep's own folder, "
        "or `merged` beside the first of several)",
    )
    parser.add_argument(
        "--plots",
        nargs="+",
        default=[],
        metavar="MODULE",
        help="further plots: modules with ORDER, TITLE and make(study), as `import` finds them",
    )


def run(arguments: argparse.Namespace) -> int:
    """0, also where cells failed: the report says so."""
    from reports.build import build
    from reports.commands import name_left_out

    built = build(arguments.folders, arguments.out, arguments.plots)
    name_left_out(built.sweeps)
    print(built.page)
    print(built.answer)
    return 0
