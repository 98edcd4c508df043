"""One job's part of a sweep: which cells, and running them into the folder that all jobs share."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from bench.errors import BadInput
from bench.launchers.base import Launcher, Outcome
from bench.sweep import record, signals, sweep
from bench.sweep.cell import Cell
from bench.sweep.folder import Folder, unwritable
from bench.sweep.progress import Watcher

# A shared file system may show a file that another node wrote only after a while.
VISIBLE_WITHIN_S = 60.0
SAY_EVERY_S = 30.0


def launch(
    launcher: Launcher, todo: Mapping[str, Cell], folder: Folder, watcher: Watcher
) -> list[str]:
    """Deals the cells to the launcher's jobs and waits for their records.

    Args:
        launcher: what runs the jobs.
        todo: the cells to run, by the key that they would have on this machine.
        folder: where the records go; all jobs see it.
        watcher: is told how far it is.

    Returns:
        What went wrong with the jobs themselves, one line each.
    """
    if not todo:
        return []
    jobs = launcher.jobs(len(todo))
    try:
        shares = deal(list(todo.values()), folder, jobs)
    except OSError as error:
        raise unwritable(folder.path, error) from error
    watcher.say(f"{len(todo)} cells for {jobs} job{'s' if jobs > 1 else ''}")
    timed = any("timing" in cell.config.metric for cell in todo.values())
    if jobs > 1 and launcher.here and timed:
        watcher.say(
            f"warning: {jobs} jobs on this machine may run at the same time; "
            "a cell that was timed beside others says so in its column shared_with"
        )
    before, said = _records(folder), time.monotonic()

    def tick(ended: int) -> None:
        nonlocal said
        if time.monotonic() - said > SAY_EVERY_S:
            said = time.monotonic()
            watcher.say(
                f"{_records(folder) - before} of {len(todo)} cells recorded, "
                f"{ended} of {jobs} jobs ended"
            )

    try:
        outcome = launcher.run(shares, folder.path / "jobs", tick)
    except (BadInput, KeyboardInterrupt):
        raise
    except Exception as error:
        # Such as a queue that answers no more: what is recorded is worth a report all the same.
        outcome = Outcome([], [f"{type(error).__name__}: {' '.join(str(error).split())}"])
    finally:
        # A job that is still in a queue, or between two cells, finds nothing to do and ends.
        for path in shares:
            with contextlib.suppress(OSError):
                path.unlink()
        for place in (shares[0].parent, folder.path / "shares"):
            with contextlib.suppress(OSError):
                place.rmdir()  # not empty: another sweep works in this folder
    deadline = time.monotonic() + VISIBLE_WITHIN_S
    while any(not (folder.cells / f"{key}.json").exists() for key in outcome.recorded):
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    for line in outcome.lost:
        watcher.say(f"lost: {line}")
    return outcome.lost


def deal(cells: list[Cell], folder: Folder, jobs: int) -> list[Path]:
    """Writes each job's cells to a file, in turn, so that long cells do not meet in one job."""
    dealt = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    place = folder.path / "shares" / f"{time.time_ns()}-{os.getpid()}"
    place.mkdir(parents=True)
    paths = []
    for job in range(jobs):
        paths.append((place / f"{job}.json").resolve())
        record.write_json(
            paths[-1],
            {
                "folder": str(folder.path.resolve()),
                "dealt": dealt,
                "cells": [cell.plain() for cell in cells[job::jobs]],
            },
        )
    return paths


def run(path: str) -> list[str]:
    """Runs the cells of one share; called in the job, on whichever machine that is.

    Args:
        path: a file that ``deal`` wrote. When it is gone the sweep was withdrawn, and nothing runs.

    Returns:
        Keys of the cells' records.

    Raises:
        BadInput: when the folder cannot be written from this machine.
        OSError: when records could not be written.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    folder = Folder.open(Path(content["folder"]), anywhere=True)
    cells = [Cell.of(fields) for fields in content["cells"]]
    recorded: list[str] = []
    problems: list[str] = []
    with Watcher(len(cells), []) as watcher:
        for cell in cells:
            if not Path(path).exists():
                watcher.say("the sweep was withdrawn")
                break
            key = sweep.key_of(cell)
            found = sweep.readable(folder, key, cell)
            # A job that was queued again after its time limit goes on where it was.
            if found is None or found["created"] < content["dealt"]:
                problems += sweep.in_turn({key: cell}, folder, watcher)
                found = sweep.readable(folder, key, cell)
            if found is not None:
                recorded.append(found["key"])
        else:
            ran = {key: cell for cell in cells if (key := sweep.key_of(cell)) in recorded}
            problems += sweep.again_where_contended(ran, folder, watcher)
    if problems:
        raise OSError(f"{len(problems)} cells: {problems[0]}")
    return recorded


def _records(folder: Folder) -> int:
    with contextlib.suppress(OSError):
        return sum(
            name.endswith(".json") and not name.startswith(".") for name in os.listdir(folder.cells)
        )
    return 0


if __name__ == "__main__":
    # A process of ``bench.launchers.processes``: a share, and where the keys of its records go.
    with signals.endable():
        record.write_json(Path(sys.argv[2]), run(sys.argv[1]))
