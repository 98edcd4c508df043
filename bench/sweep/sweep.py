"""Runs the cells of a sweep, one record each, and closes with tables and the report."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import BadInput, counted
from bench.processes import path_from
from bench.sweep import provenance, record, signals
from bench.sweep.cell import Cell
from bench.sweep.folder import Folder
from bench.sweep.measure import machine_is_quiet, measured, timed_again, was_contended
from bench.sweep.progress import Watcher, closing_table

# Runs cells into a folder; returns what went wrong beside the cells' own failures.
Runner = Callable[[list[Cell], Folder, Watcher], list[str]]
SHOWN_ROWS = 40  # of the closing table: longer ones are the report's

# Further cells, from what tells a cell's record, or None where it has none.
Then = Callable[[Callable[[Cell], Mapping[str, Any] | None]], list[Cell]]


def with_repeats(cells: list[Cell]) -> list[Cell]:
    """The processes of every cell, a whole round after the other, without duplicates.

    A machine that slows down for a while then touches all cells alike, not all repeats of one.
    """
    every = [process for cell in cells for process in cell.processes()]
    return _distinct(sorted(every, key=lambda cell: cell.repeat))


def _distinct(cells: list[Cell]) -> list[Cell]:
    return list({cell.key: cell for cell in cells}.values())


def refuse_missing_device(cells: list[Cell]) -> None:
    """Refuses a sweep none of whose cells has its device here, with the reason.

    Where some can run, the others become skipped rows instead.
    """
    reasons = [provenance.missing_device(cell.config.device.platform) for cell in cells]
    if all(reasons):
        came = f"{cells[0].choices['device']} ({reasons[0]})"
        raise BadInput("device", "a device of this machine", came, "Try device=cpu.")


def run(
    cells: list[Cell],
    folder: Folder,
    about: Mapping[str, Any],
    runner: Runner | None = None,
    then: Then | None = None,
) -> int:
    """Runs what is missing or stale, then builds tables and report unless ``report=false``.

    Args:
        cells: checked cells in order, repeats included.
        folder: where their records live.
        about: experiment, question and overrides, for ``sweep.json``.
        runner: how the cells are run; None for one after the other in this process' children.
        then: which further cells follow from the records of these.

    Returns:
        0 when every cell is ok or skipped, 1 when some failed, 128 and its number when a signal
        ended the sweep.
    """
    every: list[Cell] = []
    problems: list[str] = []
    try:
        while cells := _distinct(cells):
            every += cells
            folder.plan(about, every)
            problems += _stage(cells, folder, runner or in_turn)
            cells, then = then(folder.of) if then else [], None
    except KeyboardInterrupt as ended:
        done = sum(folder.of(cell) is not None for cell in every)
        print(
            f"interrupted: {done} of {len(every)} cells are recorded in {folder.path}; the same "
            "command runs the others",
            file=sys.stderr,
        )
        return signals.status_of(ended)
    if folder.anywhere:  # other machines' records have keys of their own
        with contextlib.suppress(BadInput):  # not writable any more: the records are there
            folder.plan(about, every)
    return _close(every, folder, problems)


def _stage(cells: list[Cell], folder: Folder, runner: Runner) -> list[str]:
    """Runs those of the cells that have no record yet; returns what went wrong beside them.

    Records of a busy machine are timed once more, also those of a sweep that was finished then.
    """
    todo, busy = list[Cell](), list[Cell]()
    for cell in cells:
        if not counts(cell, found := folder.of(cell)):
            todo.append(cell)
        elif found and was_contended(cell, found):
            busy.append(cell)
    with Watcher(len(todo)) as watcher:
        if len(todo) < len(cells):
            watcher.say(f"{len(cells) - len(todo)} of {len(cells)} cells are recorded already")
        problems = runner(in_random_order(todo), folder, watcher)
        if folder.anywhere:  # each job has done so
            return problems
        return problems + again_if_contended(todo + busy, folder, watcher)


def in_random_order(todo: list[Cell]) -> list[Cell]:
    """The cells in rounds of repeats, each in an order that has nothing to do with what they are.

    A machine that slows down for a while then looks like no algorithm and like no exponent. Keys
    are hashes, which differ from repeat to repeat: the order is random, and the same every time.
    """
    return sorted(todo, key=lambda cell: (cell.repeat, cell.key))


def in_turn(
    todo: list[Cell],
    folder: Folder,
    watcher: Watcher,
    since: str = "",
    wanted: Callable[[], bool] = lambda: True,
) -> list[str]:
    """Runs cells one after the other, each in a process of its own.

    ``since`` is as of ``counts``; ``wanted`` is asked before each cell whether to go on. Returns a
    line for each record that could not be written.
    """
    problems: list[str] = []
    elsewhere: list[Cell] = []
    for cell in todo:
        if not wanted():
            watcher.say("the sweep was withdrawn")
            return problems
        with folder.lock(cell.key) as mine:
            if mine:
                problems += _run(cell, folder, watcher, since)
            else:
                elsewhere.append(cell)
    for cell in elsewhere:
        watcher.say(f"another sweep runs {cell.title()} in this folder: waiting for it")
        with folder.lock(cell.key, wait=True):
            problems += _run(cell, folder, watcher, since)
    return problems


def _run(cell: Cell, folder: Folder, watcher: Watcher, since: str) -> list[str]:
    """Runs one cell whose lock is held; whatever goes wrong with it costs its own row alone."""
    watcher.begin(cell)
    problems: list[str] = []
    found = folder.of(cell)  # another sweep may have finished it meanwhile
    if found is None or not counts(cell, found, since):
        found = measured(cell, folder, watcher.phase)
        problems = _save(folder, cell, found, watcher)
    watcher.end(cell, found)
    return problems


def _save(folder: Folder, cell: Cell, result: Mapping[str, Any], watcher: Watcher) -> list[str]:
    """Writes a record; says and returns why where it could not be written."""
    try:
        folder.save(result)
        return []
    except (OSError, ValueError, RecursionError) as error:
        problem = f"record of {cell.title()} could not be written: {error}"
        watcher.say(problem)
        return [problem]


def again_if_contended(cells: list[Cell], folder: Folder, watcher: Watcher) -> list[str]:
    """Times those cells once more whose times are of a busy machine, if it is quiet now.

    Returns a line for each record that could not be written.
    """
    problems: list[str] = []

    def disturbed(cell: Cell) -> dict[str, Any] | None:
        found = folder.load(cell.key)  # another machine's is left to that
        return found if found and was_contended(cell, found) else None

    left = [cell for cell in cells if disturbed(cell)]
    while left and machine_is_quiet():
        cell = left.pop(0)
        with folder.lock(cell.key) as mine:
            if mine and (found := disturbed(cell)):
                watcher.say(f"timed again  {cell.title()}: the machine was busy")
                problems += _save(folder, cell, timed_again(cell, found, folder), watcher)
    if left:
        watcher.say(
            f"timed while the machine was busy, which it still is: {counted(len(left), 'cell')}, "
            "marked in the column contended"
        )
    return problems


def counts(cell: Cell, found: Mapping[str, Any] | None, since: str = "") -> bool:
    """Whether there is a record and ``resume`` lets it count, or it was made since a moment."""
    if found is None or found["provenance"].get("edited"):  # the code may be back
        return False
    resume = cell.config.resume
    good = resume is True or (resume == "retry" and found["status"] in record.FINE)
    return good or bool(since and found["created"] >= since)


def _close(cells: list[Cell], folder: Folder, problems: list[str]) -> int:
    config, page = cells[0].config, "none (report=false)"
    if config.report:
        try:
            page = build_report(folder.path, [node["_target_"] for node in config.plot.values()])
        except OSError as error:
            page = f"none ({error})"
            problems = [*problems, page]
    # Not before: until now the newest report is the one of the sweep before.
    folder.link_latest()
    # Of a record with its samples and curves only this much is held: sweeps can be long.
    records = [
        (cell.title(), {part: found[part] for part in ("status", "metrics")})
        for cell in cells
        if (found := folder.of(cell)) is not None
    ]
    watcher = Watcher(0)
    if len(records) <= SHOWN_ROWS:
        watcher.console.print(closing_table(records))
    failed = sum(found["status"] not in record.FINE for _, found in records)
    missing = len(cells) - len(records)
    if failed or missing:
        watcher.say(f"{failed} of {len(cells)} cells failed, {missing} have no record")
    if others := folder.count() - len(records):
        watcher.say(
            f"{counted(others, 'record')} of other cells or machines in {folder.path}: the report "
            "covers all of them. out=DIR keeps sweeps apart."
        )
    watcher.say(f"records: {folder.path}")
    watcher.say(f"report:  {page}")
    return 1 if failed or missing or problems else 0


def build_report(path: Path, modules: list[str]) -> str:
    """Runs ``python -m reports`` on a folder; returns the report's path, or raises an OSError.

    The modules draw plots of the sweep's own: a report runs no code that only ``sweep.json`` names.
    """
    own = ["--plots", *modules] if modules else []
    answer = reports("report", str(path), *own, behind=[os.getcwd()] if own else [])
    page = path / "report" / "index.html"
    if answer.returncode == 0 and page.exists():
        return str(page)
    lines = (answer.stderr or answer.stdout).strip().splitlines() or ["no output"]
    raise ChildProcessError(f"python -m reports ended with status {answer.returncode}: {lines[-1]}")


def reports(*arguments: str, behind: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Runs ``python -m reports``, which reads what was recorded as anybody does: from files.

    What it imports may lie in the folders ``behind`` as well.
    """
    return subprocess.run(
        [sys.executable, "-P", "-m", "reports", *arguments],
        env={**os.environ, "PYTHONPATH": path_from(provenance.ROOT, *behind)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
