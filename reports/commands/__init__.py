"""Commands of ``python -m reports``: each file has `add_arguments(parser)` and `run(arguments) ->
int`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from reports.records import Sweeps, read_sweeps


def read(folders: Iterable[Path]) -> Sweeps:
    """What the folders hold; the files that had to be left out are named on standard error."""
    sweeps = read_sweeps(folders)
    name_left_out(sweeps)
    return sweeps


def name_left_out(sweeps: Sweeps) -> None:
    for file, why in sweeps.corrupt:
        print(f"reports: left out {file}: {why}", file=sys.stderr)
