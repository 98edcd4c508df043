"""One fresh process of one side: what it measured, read from the record that it wrote."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.bounds import is_number
from bench.duel.trees import Tree
from bench.errors import BadInput
from bench.sweep import record

# What decides is the median training step; the other measurements would only cost time. Starting a
# process costs far more than two seconds of steps, so these are used whatever the interval says.
SAMPLING = (
    "metric.timing.warmup_s=1",
    "metric.timing.ci_width=0.001",
    "metric.timing.max_samples=5000",
    "metric.timing.budget_s=2",
)
MEASURE = ("metric=[timing]", "repeats=1", "resume=false", "report=false")
COLUMN = "step_time_ms"
CHECK_TIMEOUT_S = 120.0


_running: set[subprocess.Popen[str]] = set()


class Outcome(NamedTuple):
    """One process.

    Attributes:
        status: status of its record; ``crashed`` where it left none.
        value: median time of a training step in ms; None unless the status is ``ok``.
        reason: why there is no value.
        row: the columns that identify the cell; empty where there is no record.
    """

    status: str
    value: float | None
    reason: str
    row: dict[str, Any]


def run(
    tree: Tree,
    overrides: Sequence[str],
    folder: Path,
    keep: Path,
    timeout_s: float,
    variables: Mapping[str, str],
) -> Outcome:
    """Runs one cell with the tree's own code and reads its record.

    Args:
        tree: the side.
        overrides: what the cell is.
        folder: sweep folder of the side, so that what is measured once a sweep is measured once.
        keep: where the record goes.
        timeout_s: seconds after which the whole process group is ended.
        variables: of its environment, beside the caller's and the tree's own.

    Raises:
        BadInput: when the tree refuses the overrides.
    """
    done = _finish(_start(tree, [*SAMPLING, *overrides, *MEASURE], folder, variables), timeout_s)
    if done is None:
        return Outcome("timeout", None, f"not finished after {timeout_s:.0f} s", {})
    returncode, said = done
    if returncode == 2:
        _refused(tree, overrides, said)
    records = sorted((folder / "cells").glob("*.json"))
    if not records:
        last = said.strip().splitlines()[-1:] or [f"exit status {returncode}"]
        return Outcome("crashed", None, last[0], {})
    try:
        found = record.load(records[0])
        told = Outcome(
            found["status"],
            found["metrics"].get(COLUMN),
            str(found.get("reason", "")),
            dict(found["row"]),
        )
    except (OSError, record.Corrupt, LookupError, AttributeError, TypeError, ValueError) as error:
        told = Outcome("crashed", None, f"no record of a cell ({error})", {})
    keep.parent.mkdir(exist_ok=True)
    records[0].replace(keep)
    if told.status != "ok":
        return told._replace(value=None)
    return told if is_number(told.value) else told._replace(status="invalid", value=None)


def check(tree: Tree, overrides: Sequence[str], folder: Path) -> None:
    """Asks the tree to plan the cell, so that a typing error is told before anything is timed.

    Raises:
        BadInput: with what the tree says about the overrides, or when they are several cells; or
            when it says nothing for a long time.
    """
    process = _start(tree, [*overrides, *MEASURE, "plan=true"], folder, {})
    done = _finish(process, CHECK_TIMEOUT_S)
    if done is None:
        raise BadInput(
            " ".join(overrides) or "the default cell",
            expected=f"a plan of {tree.asked}",
            came=f"none within {CHECK_TIMEOUT_S:.0f} s",
        )
    if done[0] != 0:
        _refused(tree, overrides, done[1])


def _refused(tree: Tree, overrides: Sequence[str], said: str) -> None:
    raise BadInput(
        " ".join(overrides) or "the default cell",
        expected=f"overrides that {tree.asked} knows",
        came=f"its refusal\n{said.strip()}\n",
        do="Both sides must know every key.",
    )


def _start(
    tree: Tree, arguments: Sequence[str], folder: Path, variables: Mapping[str, str]
) -> subprocess.Popen[str]:
    folder.mkdir(parents=True, exist_ok=True)
    quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    # Started in the sweep's folder: a package in the caller's folder would come before the tree's.
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", *arguments, f"out='{quoted}'"],
        cwd=folder,
        env={**tree.environment(), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    _running.add(process)
    return process


def end_all() -> None:
    """Ends every process that is running, for a duel that is interrupted."""
    for process in tuple(_running):
        _end(process)


def _finish(process: subprocess.Popen[str], timeout_s: float) -> tuple[int, str] | None:
    """Exit status and output; None when it had to be ended. Nothing of it is left running."""
    try:
        said, _ = process.communicate(timeout=timeout_s)
        return process.returncode, said
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(process)
        _running.discard(process)
        if process.stdout is not None:
            process.stdout.close()


def _end(process: subprocess.Popen[str]) -> None:
    # The thread that waits for it may find its end first.
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None:
            # First a chance to end its own child, which has a process group of its own.
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
