"""Change points over the commits of a history: one folder of sweeps, per machine and cell."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="a sweep, or a folder with one sweep per commit below it",
    )
    parser.add_argument("--out", type=Path, help="also write a report with the drawn history there")


def run(arguments: argparse.Namespace) -> int:
    """Prints every change point; 0 in any case: a gate is `compare`."""
    from reports.history import LEAST_COMMITS, history, read_history
    from reports.records.columns import heading

    sweeps = read_history(arguments.folders)
    series = history(sweeps)
    if not series:
        print(
            f"no series yet: a series takes one cell, measured on one machine at two commits or "
            f"more, and of sweeps there are {len(sweeps.folders)}."
        )
    changed = [s for s in series if s.changes]
    for s in changed:
        for change in s.changes:
            print(
                f"{change.after}  {heading(s.metric)}  {change.ratio - 1:+.1%} after "
                f"{change.before}"
                f"  {s.cell}  on {s.machine}"
            )
    long_enough = sum(len(s.points) >= LEAST_COMMITS for s in series)
    print(
        f"{sum(len(s.changes) for s in series)} change points in {len(changed)} of {len(series)} "
        f"series; {long_enough} have the {LEAST_COMMITS} commits that a change point needs."
    )
    if arguments.out:
        from reports.build import build

        print(build(list(sweeps.folders), arguments.out).page)
    return 0
