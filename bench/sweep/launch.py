"""One cell = one fresh process: deadline, memory cap, log, and a result whatever happens to it."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Set
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench import child, processes
from bench.config import Config
from bench.errors import one_line
from bench.sweep import record
from bench.sweep.cell import Cell
from bench.sweep.inputs import ROOT
from bench.sweep.provenance import CACHE_VARIABLE

WORKER = "bench.cell.worker"
SHOWN = 80


def run_cell(
    cell: Cell,
    result: dict[str, Any],
    log: Path,
    on_phase: Callable[[str], None] = lambda phase: None,
) -> None:
    """Runs one cell in a fresh process, within its limits, whatever happens to the process.

    Args:
        cell: which.
        result: its record; gets a status, a reason in words where it is not ok, and what was
            measured before the process ended, with the seconds that it spent in each phase.
        log: file that gets the process' output, the last MiB of it.
        on_phase: told the name of every phase as it begins.
    """
    config = cell.config
    job = {"config": config, "choices": cell.choices}
    begun = [("start", time.monotonic())]  # phases, and when
    garbage: list[str] = []

    def on_line(line: bytes) -> None:
        try:
            message = _message(line, {*result["row"], *record.FILED, "health"})
        except ValueError as error:
            garbage.append(str(error))
            return
        if "phase" in message:
            begun.append((message["phase"], time.monotonic()))
            on_phase(message["phase"])
        else:
            record.merge(result, message.get("parts", message))

    try:
        end = child.run(
            WORKER,
            job,
            on_line,
            python=config.python,
            env=environment(config, kept=log.parents[1] / "compiled"),
            deadline_s=config.limits.deadline_s,
            memory_bytes=processes.memory_cap(config.limits),
        )
    except OSError as error:  # no process or descriptor is left, or no such interpreter
        result["reason"] = f"its process could not be started: {error}"
        _save(log, f"{result['reason']}\n".encode())
        return
    running, phases = begun[-1][0], defaultdict[str, float](float)
    begun.append(("", time.monotonic()))
    for (phase, began), (_, ended) in pairwise(begun):
        phases[phase] += ended - began
    took = {"wall_s": round(begun[-1][1] - begun[0][1], 3), "phases": dict(phases)}
    record.merge(result, {"provenance": took})
    _save(log, end.output)
    if result["status"] == "crashed" and not result["reason"]:
        result["status"], result["reason"] = _ended(end, config.limits.deadline_s)
    if result["status"] in ("crashed", "oom", "timeout"):
        part = "compile" if running in record.COMPILE_PHASES else "run"
        said = result["reason"].removesuffix(".")
        result["reason"] = f"{said}, at {part} (phase {running})"
    if garbage:
        if result["status"] in record.FINE:
            result["status"] = "invalid"
        said = f"its process reported what is no part of a record: {garbage[0]}"
        result["reason"] = "; ".join(filter(None, [result["reason"], said]))


def _save(log: Path, output: bytes) -> None:
    try:
        record.write_bytes(log, output)
    except OSError as error:
        print(f"log {log.name} could not be written: {error}", file=sys.stderr)


def _message(line: bytes, taken: Set[str]) -> dict[str, Any]:
    """The phase, parts or end that a cell's process reports; a ValueError for what is none.

    No metric may have a name that is taken, as columns of the cell's own are.
    """
    try:
        message = record.plain(json.loads(line.decode()))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{line[:SHOWN].decode(errors='replace')!a} ({error})") from error
    match message:
        case {"phase": str(phase)}:
            return {"phase": phase}
        case {"status": str(status), "reason": str(reason)} if status in record.STATUSES:
            return {"status": status, "reason": one_line(reason)}
        case {"parts": dict(parts)}:
            if why := record.malformed(parts):
                raise ValueError(why)
            if clash := taken & {*parts.get("metrics", ())}:
                raise ValueError(f"a metric named {min(clash)}, which is a column of every cell")
            return {"parts": parts}
    raise ValueError(ascii(message)[:SHOWN])


def _ended(end: child.End, deadline_s: float) -> tuple[str, str]:
    """Status and reason of a process that did not report its own end."""
    code, printed = end.code, end.output.lower()
    last = one_line(end.last_line())[:300]
    if end.late:
        return "timeout", f"no result after {deadline_s:g} s (deadline)"
    if end.held:
        return "oom", f"held {end.held / 2**30:.2f} GiB, above the memory cap"
    if code == -signal.SIGABRT and (b"bad_alloc" in printed or b"out of memory" in printed):
        return "oom", last
    if code is None:
        return "crashed", "its process does not end, not even by signal 9"
    if code >= 0:
        return "crashed", f"exited with status {code} and no result ({last})"
    reason = f"ended by {_signal(-code)}"
    if code == -signal.SIGABRT and printed.strip():
        reason += f": {last}"
    if code == -signal.SIGKILL:
        reason += ", as the kernel does when memory runs out"
    return "crashed", reason


def _signal(number: int) -> str:
    names = {known.value: f" ({known.name})" for known in signal.Signals}
    return f"signal {number}{names.get(number, '')}"  # of most real-time signals there is none


def environment(config: Config, kept: Path | None = None) -> dict[str, str]:
    """The variables of a cell's process, and the folder for what is compiled and nobody times."""
    env = dict(os.environ)
    # Without bytecode files every cell would compile the libraries it imports anew.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    # No clock is read: trials of one way, which differ in a number, share a program, and leave the
    # other cores to each other.
    untimed = bool(config.metric.get("learning", {}).get("choose"))
    if untimed:
        env.setdefault("NPROC", "1")
    cache = env.get(CACHE_VARIABLE)
    # A warm compilation cache would turn compile_s into the time of a file read.
    env["JAX_ENABLE_COMPILATION_CACHE"] = "true" if cache or untimed else "false"
    env["JAX_COMPILATION_CACHE_DIR"] = cache or str(kept.resolve() if kept else "")
    env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    # Read once, at the first import of jax.
    env["JAX_PLATFORMS"] = "cuda" if config.device.platform == "gpu" else "cpu"
    env["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    if config.threads:
        env["NPROC"] = str(config.threads)
    if config.device.platform == "cpu" and config.devices > 1:
        # A CPU is one device unless it is told to be several.
        forced = f"--xla_force_host_platform_device_count={config.devices}"
        env["XLA_FLAGS"] = f"{env.get('XLA_FLAGS', '')} {forced}".strip()
    # The project's packages first, then whatever the user's plug-ins need.
    env["PYTHONPATH"] = processes.path_from(ROOT, os.getcwd())
    return env
