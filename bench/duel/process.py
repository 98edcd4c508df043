"""Fresh processes of either side: what one measured, read from the record that it wrote."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
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
POLL_S = 0.05


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


class Process:
    """``python -m bench`` with a tree's own code; after the ``with`` nothing of it is left running.

    Args:
        tree: the side.
        arguments: of the command.
        folder: sweep folder of the side, so that what is measured once a sweep is measured once.
        variables: of its environment, beside the caller's and the tree's own.
    """

    def __init__(
        self, tree: Tree, arguments: Sequence[str], folder: Path, variables: Mapping[str, str]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
        self._output = TemporaryFile()  # noqa: SIM115  closed on the way out
        # Started in the sweep's folder: a package in the caller's would come before the tree's.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench", *arguments, f"out='{quoted}'"],
            cwd=folder,
            env={**tree.environment(), **variables},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._output.close()
        if self.status() is None:
            # First a chance to end its own child, which has a process group of its own.
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    def said(self) -> str:
        """What it printed."""
        self._output.seek(0)
        return self._output.read().decode(errors="replace").strip()


def wait(
    processes: Collection[Process], timeout_s: float, on_end: Callable[[], None] = lambda: None
) -> None:
    """Waits until all of them have ended, for so many seconds at most.

    Args:
        processes: what is waited for.
        timeout_s: seconds.
        on_end: called once some have ended, and perhaps again.
    """
    until = time.monotonic() + timeout_s
    while (left := sum(p.status() is None for p in processes)) and time.monotonic() < until:
        if left < len(processes):
            on_end()
        time.sleep(POLL_S)


def start(
    tree: Tree, overrides: Sequence[str], folder: Path, variables: Mapping[str, str]
) -> Process:
    """A process that times one cell; the arguments are as of ``Process``."""
    return Process(tree, [*SAMPLING, *overrides, *MEASURE], folder, variables)


def outcome(
    process: Process, tree: Tree, overrides: Sequence[str], folder: Path, keep: Path
) -> Outcome:
    """What a process measured that has ended, or has had its time.

    Args:
        process: as ``start`` gave it, with ``tree``, ``overrides`` and ``folder``.
        keep: where its record goes.

    Raises:
        BadInput: when the tree refused the overrides.
    """
    status = process.status()
    if status is None:
        return Outcome("timeout", None, "not finished in time", {})
    if status == 2:
        _refused(tree, overrides, process.said())
    records = sorted((folder / "cells").glob("*.json"))
    if not records:
        last = process.said().splitlines()[-1:] or [f"exit status {status}"]
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
    with Process(tree, [*overrides, *MEASURE, "plan=true"], folder, {}) as process:
        wait([process], CHECK_TIMEOUT_S)
        if process.status() is None:
            raise BadInput(
                " ".join(overrides) or "the default cell",
                f"a plan of {tree.asked}",
                f"none within {CHECK_TIMEOUT_S:.0f} s",
            )
        if process.status() != 0:
            _refused(tree, overrides, process.said())


def _refused(tree: Tree, overrides: Sequence[str], said: str) -> None:
    last = said.splitlines()[-1:] or ["no word"]
    raise BadInput(
        " ".join(overrides) or "the default cell",
        f"overrides that {tree.asked} knows",
        f'"{last[0].removeprefix("error: ")}"',
        "Both sides must know every key.",
    )
