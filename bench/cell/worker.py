"""Inside a cell's process: build, compile, measure, and report each part as soon as it is there.

Started as ``python -m bench.cell.worker FD PARENT``: the job comes as JSON on standard input,
reports go as JSON lines to the file descriptor FD, and the process dies with PARENT.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any

from bench import child, processes
from bench.cell import late_imports
from bench.config import Config
from bench.errors import BadInput, Skip
from bench.sweep.record import COMPILE_PHASES, merge, plain
from core.errors import NotRepresentable


class Reporter:
    """Writes phases, parts and the end of a cell to the parent."""

    def __init__(self, send: Callable[[Any], None]) -> None:
        self._send = send
        self.current = "start"

    def phase(self, name: str) -> None:
        """The cell enters a phase."""
        self.current = name
        self._send({"phase": name})

    def parts(self, parts: Mapping[str, Any]) -> None:
        """Parts of the record that are final."""
        self._send({"parts": plain(parts)})

    def end(self, status: str, reason: str = "") -> None:
        """The cell is done."""
        self._send({"status": status, "reason": reason})


def main() -> None:
    """Runs the job on standard input; every outcome is reported, none is raised."""
    job, send = child.question_here(__doc__)
    reporter = Reporter(send)
    config = Config.of(job["config"])
    processes.cap_memory(processes.memory_cap(config.limits))
    late_imports.load_later()
    with child.leaving():
        try:
            invalid, notes = measure(config, job["choices"], reporter)
            reporter.phase("end")
            reporter.end("invalid" if invalid else "ok", "; ".join([*invalid, *notes]))
        except Skip as reason:
            reporter.end("skipped", str(reason))
        except Exception as error:
            traceback.print_exc()
            reporter.end(*failure(error, reporter.current))


def measure(
    config: Config, choices: Mapping[str, str], reporter: Reporter
) -> tuple[list[str], list[str]]:
    """Measures a cell: why its numbers cannot be used, and what has to be known about them."""
    # Imported here so that a failing import is a row like any other failure.
    from bench.cell.build import build
    from bench.instantiate import instantiate
    from bench.metrics.base import in_order

    run, parts = build(config, choices, reporter.phase)
    reporter.parts(parts)
    run.parts = merge({}, parts)
    invalid: list[str] = []
    notes: list[str] = []
    metrics = {name: instantiate(node) for name, node in config.metric.items()}
    for name, metric in in_order(metrics).items():
        reporter.phase(name)
        # Whether a record has room for it, the sweep says of each part.
        found = metric.measure(run)
        if not isinstance(found, Mapping):
            raise BadInput(f"metric.{name}", "parts of a record by name", type(found).__name__)
        found = dict(found)
        invalid += map(str, filter(None, [found.pop("invalid", "")]))
        notes += map(str, filter(None, [found.pop("note", "")]))
        if twice := _entries(run.parts) & _entries(found):
            came, do = f"{min(twice)}, which the cell has already", "Give it another name."
            raise BadInput(f"metric.{name}", "entries of the record of its own", came, do)
        merge(run.parts, found)
        reporter.parts(found)
    return invalid, notes


def _entries(parts: Mapping[str, Any]) -> set[str]:
    """Names of what parts of a record hold."""
    inside = {part: f for part, f in parts.items() if isinstance(f, Mapping)}
    return {
        *(parts.keys() - inside),
        *(f"{part}.{name}" for part in inside for name in inside[part]),
    }


def failure(error: Exception, phase: str) -> tuple[str, str]:
    """Status and reason of a cell that raised, told from the error's own words."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0][:400]}" if lines else type(error).__name__
    if isinstance(error, NotRepresentable):  # of an algorithm on a model: an answer, not a fault
        return "skipped", text.partition(": ")[2]
    words = "RESOURCE_EXHAUSTED", "Out of memory", "out of memory"
    if isinstance(error, MemoryError) or any(word in str(error) for word in words):
        where = "compile" if phase in COMPILE_PHASES else "run"
        return "oom", f"out of memory at {where} (phase {phase}): {text}"
    return "crashed", f"{text} (phase {phase})"


if __name__ == "__main__":
    main()
