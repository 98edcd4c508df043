"""A sweep dealt to jobs: which cells each gets, and running them into the folder that all share."""

from __future__ import annotations

import contextlib
import datetime
import os
import pickle
import shutil
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from bench.errors import BadInput, counted, kind_and_words
from bench.launchers.base import Job, Launcher
from bench.sweep import record, signals, sweep
from bench.sweep.cell import Cell
from bench.sweep.folder import Folder
from bench.sweep.progress import Watcher

POLL_S = 0.5
SAY_EVERY_S = 30.0
# A shared file system may show a file that another node wrote only after a while.
VISIBLE_WITHIN_S = 60.0


def launch(launcher: Launcher, todo: list[Cell], folder: Folder, watcher: Watcher) -> list[str]:
    """Deals cells to a launcher's jobs and waits for their records.

    Returns what went wrong with the jobs themselves, one line each.
    """
    if not todo:
        return []
    n = launcher.jobs_for(len(todo))
    shares = deal(todo, folder, n)
    watcher.say(f"{counted(len(todo), 'cell')} for {counted(n, 'job')}")
    timed = any(cell.clocks for cell in todo)
    if n > 1 and launcher.here and timed:
        watcher.say(
            f"warning: {n} jobs on this machine may run at the same time; "
            "a cell that was timed beside others says so in its column shared_with"
        )
    try:
        lost = _watched(launcher.start(shares, folder.path / "jobs"), folder, watcher)
    except BadInput:
        raise
    except (Exception, SystemExit) as error:
        # Such as a queue that answers no more: what is recorded is worth a report all the same.
        lost = [kind_and_words(error)]
    finally:
        # A job that is still in a queue, or between two cells, finds nothing to do and ends.
        shutil.rmtree(shares[0].parent, ignore_errors=True)
        with contextlib.suppress(OSError):
            shares[0].parent.parent.rmdir()  # not empty: another sweep works in this folder
    for line in lost:
        watcher.say(f"lost: {line}")
    deadline = time.monotonic() + VISIBLE_WITHIN_S
    while not lost and time.monotonic() < deadline:
        if all(map(folder.of, todo)):
            break
        time.sleep(POLL_S)
    return lost


def _watched(starting: Iterable[Job], folder: Folder, watcher: Watcher) -> list[str]:
    """Starts the jobs and waits for them; returns what went wrong with them."""
    before, said = folder.count(), time.monotonic()
    jobs: list[Job] = []
    try:
        jobs += starting  # those that started stay, should another fail
        while (ended := sum(job.done() for job in jobs)) < len(jobs):
            if time.monotonic() - said > SAY_EVERY_S:
                said = time.monotonic()
                fresh = folder.count() - before
                watcher.say(f"{fresh} cells recorded, {ended} of {len(jobs)} jobs ended")
            time.sleep(POLL_S)
    except BaseException:
        for job in jobs:
            job.cancel()
        raise
    return [problem for job in jobs if (problem := job.problem())]


def deal(cells: list[Cell], folder: Folder, jobs: int) -> list[Path]:
    """Writes each job's cells to a file, in turn, so that long cells do not meet in one job."""
    dealt = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    place = folder.path.resolve() / "shares" / f"{time.time_ns()}-{os.getpid()}"
    paths = [place / f"{job}.pickle" for job in range(jobs)]
    with folder.writing():
        place.mkdir(parents=True)
        for job, path in enumerate(paths):
            # Afresh, without a name: that depends on the machine.
            share = [replace(cell) for cell in cells[job::jobs]]
            record.write_bytes(path, pickle.dumps((folder.path.resolve(), dealt, share)))
    return paths


def run(path: str) -> None:
    """Runs the cells of a share that ``deal`` wrote; called in the job, on whichever machine it is.

    When the file is gone the sweep was withdrawn, and nothing runs. An OSError where records could
    not be written.
    """
    try:
        place, since, cells = pickle.loads(Path(path).read_bytes())
    except FileNotFoundError:
        return
    folder, wanted = Folder.open(place, anywhere=True), Path(path).exists
    with Watcher(len(cells)) as watcher:
        # A job that was queued again after its time limit goes on where it was.
        problems = sweep.in_turn(cells, folder, watcher, since, wanted)
        if wanted():
            problems += sweep.again_if_contended(cells, folder, watcher)
    if problems:
        raise OSError(f"{len(problems)} cells: {problems[0]}")


if __name__ == "__main__":
    # A process of ``bench.launchers.processes``.
    with signals.endable():
        run(sys.argv[1])
