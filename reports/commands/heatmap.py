"""Draw any metric over any two axes, one SVG and PNG a way."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="a sweep's folder")
    parser.add_argument("--x", default="n_steps", help="column along the bottom")
    parser.add_argument("--y", default="n_hidden", help="column up the side")
    parser.add_argument("--values", default="step_time_ms", help="the metric")
    parser.add_argument("--out", type=Path, default=Path("maps"), help="folder to draw into")


def run(arguments: argparse.Namespace) -> int:
    """Prints the path of every drawing."""
    from reports.commands import read
    from reports.errors import InputError
    from reports.plots.heatmap import grids, plot
    from reports.study import Study

    study = Study(read(arguments.folders))
    for name in (arguments.x, arguments.y, arguments.values):
        if name not in study.cells.columns:
            raise InputError(
                "a setting or a metric of the results",
                repr(name),
                f"There are {', '.join(map(str, study.cells.columns[:40]))}.",
            )
    maps = grids(study, arguments.x, arguments.y, arguments.values)
    if not maps:
        raise InputError(
            f"{arguments.values} at two values of {arguments.x} and of {arguments.y}",
            "none",
            "Sweep both axes, such as n_hidden=64,128 n_steps=50,100.",
        )
    arguments.out.mkdir(parents=True, exist_ok=True)
    for number, (title, grid, pooled) in enumerate(maps, 1):
        stem = f"map_{arguments.values}_{number}"
        with tempfile.TemporaryDirectory(dir=arguments.out) as stage:
            plot(arguments.values, title, grid, pooled, stem).save(Path(stage))
            for file in Path(stage).iterdir():
                file.replace(arguments.out / file.name)  # a link there is not followed
        print(arguments.out / f"{stem}.svg", title)
        if pooled:
            print(f"reports: {stem} shows {pooled}", file=sys.stderr)
    return 0
