"""Inside a cell's process: build, compile, measure, and report each part as soon as it is there.

A report is ``{"phase": NAME}`` as one begins, ``{"parts": {...}}`` of the record that are final, or
the end, ``{"status": ..., "reason": ...}``.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any

from bench import child, processes
from bench.cell import late_imports
from bench.config import Config
from bench.errors import BadInput, Skip
from bench.sweep.record import merge, plain
from core.errors import NotRepresentable


def main() -> None:
    """Runs the job on standard input; every outcome is reported, none is raised."""
    job, send = child.question_here(__doc__)
    config: Config = job["config"]
    processes.cap_memory(processes.memory_cap(config.limits))
    late_imports.load_later()
    with child.leaving():
        try:
            invalid, notes = measure(config, job["choices"], send)
            send({"phase": "end"})
            status, reason = "invalid" if invalid else "ok", "; ".join([*invalid, *notes])
        except Exception as error:
            traceback.print_exc()
            status, reason = failure(error)
        send({"status": status, "reason": reason})


def measure(
    config: Config, choices: Mapping[str, str], send: Callable[[Any], None]
) -> tuple[list[str], list[str]]:
    """Measures a cell: why its numbers cannot be used, and what has to be known about them."""
    # Imported here so that a failing import is a row like any other failure.
    from bench.cell.build import build
    from bench.instantiate import instantiate
    from bench.metrics.base import in_order

    run, parts = build(config, choices, lambda phase: send({"phase": phase}))
    send({"parts": plain(parts)})
    run.parts = merge({}, parts)
    invalid: list[str] = []
    notes: list[str] = []
    metrics = {name: instantiate(node) for name, node in config.metric.items()}
    for name, metric in in_order(metrics).items():
        send({"phase": name})
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
        send({"parts": plain(found)})
    return invalid, notes


def _entries(parts: Mapping[str, Any]) -> set[str]:
    """Names of what parts of a record hold."""
    inside = {part: f for part, f in parts.items() if isinstance(f, Mapping)}
    return {
        *(parts.keys() - inside),
        *(f"{part}.{name}" for part in inside for name in inside[part]),
    }


def failure(error: Exception) -> tuple[str, str]:
    """Status and reason of a cell that raised, told from the error's own words."""
    if isinstance(error, Skip):
        return "skipped", str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0][:400]}" if lines else type(error).__name__
    if isinstance(error, NotRepresentable):  # of an algorithm on a model: an answer, not a fault
        return "skipped", text.partition(": ")[2]
    words = "RESOURCE_EXHAUSTED", "Out of memory", "out of memory"
    if isinstance(error, MemoryError) or any(word in str(error) for word in words):
        return "oom", f"out of memory: {text}"
    return "crashed", text


if __name__ == "__main__":
    main()
