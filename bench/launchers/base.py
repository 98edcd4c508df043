"""What a launcher offers: it runs jobs, and each job runs one share of a sweep's cells."""

from __future__ import annotations

import abc
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.bounds import Count
from bench.errors import BadInput

# A job of about this many cells is long enough to be worth its place in a queue, and short enough
# to fit into a time limit.
CELLS_PER_JOB = 50


@dataclass(frozen=True)
class Outcome:
    """How the jobs ended.

    Attributes:
        recorded: keys of the records that they wrote.
        lost: one line for each job that ended without a result, with the reason.
    """

    recorded: list[str]
    lost: list[str]


class Launcher(abc.ABC):
    """Runs ``bench.sweep.jobs.run(path)`` once for every share.

    Attributes:
        here: whether every job runs on this machine, so that what is missing here is missing there.
    """

    here: bool

    def __init__(self, jobs: Count | None) -> None:
        self._jobs = jobs

    def jobs(self, cells: int) -> int:
        """How many jobs share this many cells."""
        return max(1, min(cells, self._jobs or -(-cells // CELLS_PER_JOB)))

    @abc.abstractmethod
    def run(self, shares: Sequence[Path], logs: Path, tick: Callable[[int], None]) -> Outcome:
        """Starts a job for each share and waits for all of them.

        Args:
            shares: files that ``bench.sweep.jobs.run`` understands.
            logs: folder for what the jobs print.
            tick: called every few seconds with the number of jobs that have ended.

        Raises:
            KeyboardInterrupt: after the jobs were withdrawn.
        """


def needs(package: str, extra: str, launcher: str) -> None:
    """Refuses a launcher whose library is not installed.

    Raises:
        BadInput: naming the extra that brings it.
    """
    if importlib.util.find_spec(package) is None:
        raise BadInput(
            "hydra/launcher",
            f"the package {package} to be installed",
            launcher,
            f"Run pip install 'etrace-bench[{extra}]'.",
        )
