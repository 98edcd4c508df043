"""A fresh process of either side: what it measured, read from the record that it wrote."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from bench import processes
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


class Process:
    """One cell by a tree's own code; after the ``with`` nothing of it is left running.

    The folder is that of all processes of the side: what is measured once a sweep is measured once.
    """

    def __init__(
        self, tree: Tree, overrides: Sequence[str], folder: Path, variables: Mapping[str, str]
    ) -> None:
        self._tree, self._overrides, self._folder = tree, overrides, folder
        folder.mkdir(parents=True, exist_ok=True)
        quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
        arguments = [*SAMPLING, *overrides, *MEASURE, f"out='{quoted}'"]
        self._output = TemporaryFile()  # noqa: SIM115  closed on the way out
        # Started in the sweep's folder: a package in the caller's would come before the tree's.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench", *arguments],
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
            processes.end_tree(self._process.pid)
            self._process.wait()

    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    def outcome(self, keep: Path) -> dict[str, Any]:
        """What it measured, once it has ended or has had its time; its record goes to ``keep``.

        Status and row are those of the record, ``value`` is the median time of a training step in
        ms, None unless the status is ``ok``, and ``reason`` why there is none. A BadInput where the
        tree refused the overrides, or they are several cells.
        """
        status = self.status()
        if status is None:
            return _without("timeout", "not finished in time")
        self._output.seek(0)
        said = self._output.read().decode(errors="replace").strip()
        last = said.splitlines()[-1] if said else f"exit status {status}"
        records = sorted((self._folder / "cells").glob("*.json"))
        if status == 2 or len(records) > 1:
            raise BadInput(
                " ".join(self._overrides) or "the default cell",
                f"overrides of one cell that {self._tree.asked} knows",
                f"{len(records)} cells" if records else f'"{last.removeprefix("error: ")}"',
                "Both sides must know every key.",
            )
        if not records:
            return _without("crashed", last)
        try:
            found = record.load(records[0])
            told = {
                "status": found["status"],
                "value": found["metrics"].get(COLUMN) if found["status"] == "ok" else None,
                "reason": str(found.get("reason", "")),
                "row": dict(found["row"]),
            }
            if found["status"] == "ok" and not is_number(told["value"]):
                told |= {"status": "invalid", "value": None}
        except (OSError, LookupError, AttributeError, TypeError, ValueError) as e:
            told = _without("crashed", f"no record of a cell ({e})")
        keep.parent.mkdir(exist_ok=True)
        records[0].replace(keep)
        return told


def _without(status: str, reason: str) -> dict[str, Any]:
    """The outcome of a process that left no record."""
    return {"status": status, "value": None, "reason": reason, "row": {}}
