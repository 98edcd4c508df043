"""What a launcher offers: it runs jobs, and each job runs one share of a sweep's cells."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from bench.bounds import Count

# A job of about this many cells is long enough to be worth its place in a queue, and short enough
# to fit into a time limit.
CELLS_PER_JOB = 50


class Job(Protocol):
    """A job that was started."""

    def done(self) -> bool:
        """Whether it has ended."""

    def problem(self) -> str:
        """Why it ended before its cells were done, in a line; empty when it did not."""

    def cancel(self) -> None:
        """Ends it."""


class Launcher(abc.ABC):
    """Runs ``bench.sweep.jobs.run(path)`` once for every share.

    Attributes:
        here: whether every job runs on this machine, so that what is missing here is missing there.
        jobs: how many share the cells; None for one for every ``CELLS_PER_JOB``.
    """

    here: bool
    jobs: Count | None

    def jobs_for(self, cells: int) -> int:
        """How many jobs share this many cells."""
        return max(1, min(cells, self.jobs or -(-cells // CELLS_PER_JOB)))

    @abc.abstractmethod
    def start(self, shares: Sequence[Path], logs: Path) -> Iterable[Job]:
        """Starts a job for each share; one after the other where one may fail.

        Args:
            shares: files that ``bench.sweep.jobs.run`` understands.
            logs: folder for what the jobs print.
        """
