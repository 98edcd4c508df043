"""Runs the cells of a sweep, one record each, and closes with tables and the report."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bench import processes
from bench.backends.base import Backend
from bench.environments import how_to_build
from bench.errors import BadInput
from bench.instantiate import instantiate, target_of
from bench.sweep import launch, plots, provenance, record, signals
from bench.sweep.cell import Cell
from bench.sweep.folder import Folder
from bench.sweep.machine_rates import rates_here
from bench.sweep.other_cells import OtherCells
from bench.sweep.progress import Watcher, closing_table

LOCK_WAIT_S = 0.5

# Runs cells by key into a folder; returns what went wrong beside the cells' own failures.
Runner = Callable[[Mapping[str, Cell], Folder, Watcher], list[str]]
# Further cells, from what tells a cell's record, or None where it has none.
Then = Callable[[Callable[[Cell], Mapping[str, Any] | None]], list[Cell]]


def with_repeats(cells: list[Cell]) -> list[Cell]:
    """Every cell ``repeats`` times, a whole round after the other, without duplicates.

    A machine that slows down for a while then touches all cells alike, not all repeats of one.
    """
    rounds = max(cell.config["repeats"] for cell in cells)
    expanded = [cell.repeated(r) for r in range(rounds) for cell in cells
                if r < cell.config["repeats"]]
    return list({key_of(cell): cell for cell in expanded}.values())


def key_of(cell: Cell) -> str:
    """The name of the cell's record here and now."""
    return cell.key(provenance.environment_of(cell), provenance.code_of(cell))


def refuse_missing_device(cells: list[Cell]) -> None:
    """Refuses a sweep none of whose cells has its device here.

    Raises:
        BadInput: with the reason; when some cells can run, the others become skipped rows instead.
    """
    reasons = [provenance.missing_device(cell.config["device"]["platform"]) for cell in cells]
    if all(reasons):
        raise BadInput("device", expected="a device of this machine",
                       came=cells[0].choices["device"], do=f"{reasons[0]}. Try device=cpu.")


def recorded(folder: Folder, key: str, cell: Cell) -> dict[str, Any] | None:
    """The cell's record; where a launcher chooses the machine, also one from another machine.

    Args:
        folder: where the sweep lives.
        key: the name of the cell's record on this machine.
        cell: the cell.

    Raises:
        BadInput: when it is there but cannot be read.
    """
    found = folder.load(key)
    if found is None and folder.anywhere:
        found = folder.load_anywhere(_identity_anywhere(cell), provenance.code_of(cell))
    return found


def readable(folder: Folder, key: str, cell: Cell) -> dict[str, Any] | None:
    """As ``recorded``, but None where a record cannot be read."""
    with contextlib.suppress(BadInput):
        return recorded(folder, key, cell)
    return None


def run(cells: list[Cell], folder: Folder, about: Mapping[str, Any],
        runner: Runner | None = None, then: Then | None = None) -> int:
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
    keys: dict[str, Cell] = {}
    problems: list[str] = []
    try:
        while cells:
            keys |= {key_of(cell): cell for cell in cells}
            problems += _stage(keys, folder, about, runner or in_turn)
            cells = then(lambda cell: readable(folder, key_of(cell), cell)) if then else []
            then = None
    except KeyboardInterrupt as ended:
        done = sum(readable(folder, key, cell) is not None for key, cell in keys.items())
        print(f"interrupted: {done} of {len(keys)} cells are recorded in {folder.path}; the same "
              "command runs the others", file=sys.stderr)
        return signals.status_of(ended)
    if folder.anywhere:
        # The records' own keys, which are those of the machines that measured them.
        keys = {found["key"] if (found := readable(folder, key, cell)) else key: cell
                for key, cell in keys.items()}
        with contextlib.suppress(BadInput):  # not writable any more: the records are there
            _plan(keys, folder, about)
    return _close(keys, folder, problems, next(iter(keys.values())).config)


def _stage(keys: Mapping[str, Cell], folder: Folder, about: Mapping[str, Any], runner: Runner
           ) -> list[str]:
    """Runs those of the cells that have no record yet; returns what went wrong beside them."""
    others, durations = folder.survey(keys)
    _plan(keys, folder, about)
    todo = {key: cell for key, cell in keys.items() if not finished(folder, key, cell)}
    with signals.endable(), Watcher(len(todo), list(durations.values())) as watcher:
        if others:
            watcher.say(f"{folder.path} holds {others} records of other cells already; the "
                        "report covers all of them. out=DIR keeps sweeps apart.")
        if len(todo) < len(keys):
            watcher.say(f"{len(keys) - len(todo)} of {len(keys)} cells are recorded already")
        return runner(todo, folder, watcher)


def _plan(keys: Mapping[str, Cell], folder: Folder, about: Mapping[str, Any]) -> None:
    folder.plan(about, [{"key": key, "row": cell.row()} for key, cell in keys.items()])


def in_turn(todo: Mapping[str, Cell], folder: Folder, watcher: Watcher) -> list[str]:
    """Runs cells one after the other, each in a process of its own.

    Returns:
        One line for each record that could not be written, or was there and could not be read.
    """
    unsaved: list[str] = []
    queue = deque(todo.items())
    said: set[str] = set()
    waited = 0
    while queue:
        key, cell = queue.popleft()
        with folder.lock(key) as mine:
            if not mine:
                # Another sweep in this folder runs it: look again when the others are done.
                queue.append((key, cell))
                if key not in said:
                    said.add(key)
                    watcher.say(f"another sweep runs {cell.title()} in this folder: waiting for it "
                                f"(its lock: {folder.cells / f'.{key}.lock'})")
                waited += 1
                if waited >= len(queue):
                    time.sleep(LOCK_WAIT_S)
                    waited = 0
                continue
            waited = 0
            watcher.begin(cell)
            # The other sweep may have finished it since this one looked.
            try:
                again = cell.config["resume"] is False
                found = None if again else recorded(folder, key, cell)
            except BadInput as error:
                # Running it would replace a record that may be good.
                unsaved.append(f"{cell.title()}: {error}")
                watcher.say(unsaved[-1])
                continue
            fresh = found if counts(cell, found) else None
            result = fresh or _guarded(cell, key, folder, watcher)
            if fresh is None and (problem := _saved(folder, result)):
                unsaved.append(f"record of {cell.title()} could not be written: {problem}")
                watcher.say(unsaved[-1])
            watcher.end(cell, result)
        gc.collect()
    return unsaved


def _guarded(cell: Cell, key: str, folder: Folder, watcher: Watcher) -> dict[str, Any]:
    """The record of one cell, whatever goes wrong with it in this process."""
    try:
        return run_cell(cell, key, folder, watcher)
    except Exception as error:
        blank = record.blank(key, cell.config["experiment"], cell.row(), cell.config)
        reason = f"not measured: {type(error).__name__}: {' '.join(str(error).split())}"
        return {**blank, "reason": reason, "provenance": {"wall_s": 0.0}}


def _saved(folder: Folder, result: dict[str, Any]) -> str:
    """Writes a record; where it could not be written, why, and where it is kept instead."""
    try:
        folder.save(result)
        return ""
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, ValueError):
            kept = _refuge() / f"{result['key']}.json"
            record.write_json(kept, result)
            return f"{error}. It is kept as {kept}; copy it to {folder.cells}"
        return str(error)


@cache
def _refuge() -> Path:
    """A folder for records that cannot be written where they belong."""
    return Path(tempfile.mkdtemp(prefix="etrace-bench-"))


def run_cell(cell: Cell, key: str, folder: Folder, watcher: Watcher) -> dict[str, Any]:
    """The record of one cell, run in a process of its own unless it is skipped."""
    result = record.blank(key, cell.config["experiment"], cell.row(), cell.config)
    result["provenance"] = {
        **provenance.describe(cell), "identity": cell.identity(provenance.environment_of(cell)),
        "identity_anywhere": _identity_anywhere(cell), "load_before": _load()}
    reason = why_skipped(cell)
    if reason:
        result["provenance"]["wall_s"] = 0.0
        return {**result, "status": "skipped", "reason": reason}
    limits = cell.config["limits"]
    other_cells = OtherCells(cell.config)

    def on_phase(phase: str) -> None:
        watcher.phase(phase)
        other_cells.phase(phase)

    outcome = launch.run_cell(
        {"config": cell.config, "choices": cell.choices, "repeat": cell.repeat,
         "rates": rates_here(folder, cell), "core_python": _core_python(cell)},
        folder.cells / f"{key}.log",
        deadline_s=limits["deadline_s"],
        memory_bytes=memory_cap(limits),
        on_phase=on_phase,
    )
    own = result["provenance"]
    launch.merge(result, outcome.parts)
    result["provenance"].update(own)  # whatever a cell's process says about itself
    if other_cells.most is not None:
        result["metrics"]["shared_with"] = other_cells.most
    result["provenance"].update(load_after=_load(), wall_s=round(outcome.wall_s, 3),
                                phases=outcome.phases)
    if provenance.code_changed(cell):
        return {**result, "status": "invalid", "reason": (
            "core, bench or a plug-in was edited since the sweep began, so this is not the code "
            "that the row is filed under; the same command measures it again")}
    reason = outcome.reason
    if outcome.status not in record.FINE:
        reason = f"{reason} [log: {result['log']}]"
    return {**result, "status": outcome.status, "reason": reason}


def why_skipped(cell: Cell, elsewhere: bool = False) -> str:
    """Why this cell cannot run here (or anywhere), as far as can be told without starting it."""
    platform = cell.config["device"]["platform"]
    missing = "" if elsewhere else provenance.missing_device(platform)
    backend: Backend = instantiate(cell.config["backend"])
    return (missing or _unsplittable(cell) or backend.unsupported(cell.config, cell.choices)
            or ("" if elsewhere else _not_installed(cell, backend)))


def _not_installed(cell: Cell, backend: Backend) -> str:
    python, name = cell.config["python"], cell.choices["backend"]
    if backend.environment and python is None:
        return (f"{name} needs an environment of its own, which is not built "
                f"({how_to_build(backend.environment)})")
    lacks = [package for package in backend.requires if not provenance.has(python, package)]
    where = "the project's environment" if python is None else python
    return f"{where} lacks {', '.join(lacks)}" if lacks else ""


def _core_python(cell: Cell) -> str | None:
    """The interpreter that has the core, for a cell whose own cannot have it."""
    return sys.executable if target_of(cell.config["backend"]).environment else None


def _unsplittable(cell: Cell) -> str:
    devices, batch = cell.config["devices"], cell.config["batch_size"]
    if devices > 1 and cell.config["batching"]["mode"] == "single":
        return "batching=single has no batch to split over devices"
    return f"batch_size={batch} does not split over devices={devices}" if batch % devices else ""


def memory_cap(limits: Mapping[str, Any]) -> int:
    """Bytes that a cell may hold."""
    asked = limits["memory_gib"]
    return int(asked * 2**30 if asked else 0.8 * processes.memory_available_bytes())


def _identity_anywhere(cell: Cell) -> str:
    return cell.identity(provenance.software_of(cell))


def finished(folder: Folder, key: str, cell: Cell) -> bool:
    """Whether the cell's record is there, can be read, and counts."""
    return cell.config["resume"] is not False and counts(cell, readable(folder, key, cell))


def counts(cell: Cell, found: Mapping[str, Any] | None) -> bool:
    """Whether ``resume`` lets the cell's record count."""
    retry = cell.config["resume"] == "retry"
    return found is not None and not (retry and found["status"] not in record.FINE)


def _close(keys: Mapping[str, Cell], folder: Folder, problems: list[str],
           config: dict[str, Any]) -> int:
    page = "none (report=false)"
    if config["report"]:
        try:
            page = build_report(folder.path, plots.modules(config))
        except NoReport as error:
            page = f"none ({error})"
            problems = [*problems, page]
    # Not before: until now the newest report is the one of the sweep before.
    folder.link_latest()
    # Of a record with its samples and curves only this much is held: sweeps can be long.
    records = [(cell.title(), {part: found[part] for part in ("status", "metrics")})
               for key, cell in keys.items() if (found := readable(folder, key, cell)) is not None]
    watcher = Watcher(0, [])
    watcher.console.print(closing_table(records))
    failed = [title for title, found in records if found["status"] not in record.FINE]
    missing = len(keys) - len(records)
    if failed or missing:
        watcher.say(f"{len(failed)} of {len(keys)} cells failed, {missing} have no record")
    watcher.say(f"records: {folder.path}")
    watcher.say(f"report:  {page}")
    return 1 if failed or missing or problems else 0


class NoReport(Exception):
    """The report could not be made; the text says why."""


def build_report(path: Path, modules: list[str]) -> str:
    """Runs ``python -m reports`` on a folder; returns the report's path.

    Args:
        path: the folder.
        modules: what draws plots of the sweep's own. The report runs no code that only
            ``sweep.json`` names.

    Raises:
        NoReport: when it fails.
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(
        [str(provenance.ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
    command = [sys.executable, "-P", "-m", "reports", "report", str(path),
               *(["--plots", *modules] if modules else [])]
    try:
        answer = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True,
                                text=True, errors="replace", check=False)
    except OSError as error:
        raise NoReport(str(error)) from error
    page = path / "report" / "index.html"
    if answer.returncode == 0 and page.exists():
        return str(page)
    lines = (answer.stderr or answer.stdout).strip().splitlines() or ["no output"]
    raise NoReport(f"python -m reports ended with status {answer.returncode}: {lines[-1]}")


def _load() -> float | None:
    with contextlib.suppress(OSError, AttributeError):
        return round(os.getloadavg()[0], 2)
    return None
