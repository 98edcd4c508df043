"""One cell = one fresh process: deadline, memory cap, log, and a result whatever happens to it."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import child, processes
from bench.config import Config
from bench.sweep import record
from bench.sweep.cell import Cell
from bench.sweep.inputs import ROOT
from bench.sweep.provenance import CACHE_VARIABLE

SHOWN = 80


@dataclass
class Outcome:
    """What came back from a cell's process.

    Attributes:
        status: one of the record's statuses.
        reason: why it is not ok, or what has to be known about it, in words.
        parts: the record's parts that were measured before the process ended.
        phase: what the process was doing last.
        phases: seconds spent in each phase.
        wall_s: seconds from start to end of the process.
        garbage: what it reported that is no report, the first of it, in words; empty if nothing.
    """

    status: str = "crashed"
    reason: str = ""
    parts: dict[str, Any] = field(default_factory=dict)
    phase: str = "start"
    phases: dict[str, float] = field(default_factory=dict)
    wall_s: float = 0.0
    garbage: str = ""

    def hear(self, line: bytes) -> str:
        """Takes over what its process reports in a line; returns the phase that begins, if any."""
        try:
            message = _message(line)
        except ValueError as error:
            self.garbage = self.garbage or str(error)
            return ""
        record.merge(self.parts, message.get("parts", {}))
        if "status" in message:
            self.status = message["status"]
            self.reason = record.one_line(message["reason"])
        return str(message.get("phase", ""))


def run_cell(
    cell: Cell,
    log: Path,
    on_phase: Callable[[str], None] = lambda phase: None,
    module: str = "bench.cell.worker",
    **more: Any,
) -> Outcome:
    """Runs one cell in a fresh process; it raises only when it is interrupted itself.

    Args:
        cell: whose limits its process is kept to.
        log: file that gets the process' output, the last MiB of it.
        on_phase: told the name of every phase as it begins.
        module: what runs in the process, with what it is told beside the cell.
    """
    config, memory_bytes = cell.config, processes.memory_cap(cell.config.limits)
    job = {"config": config.plain(), "choices": cell.choices, "memory_bytes": memory_bytes, **more}
    outcome = Outcome()
    started = entered = time.monotonic()

    def enter(phase: str) -> None:
        nonlocal entered
        now, last = time.monotonic(), outcome.phase
        outcome.phases[last] = outcome.phases.get(last, 0.0) + now - entered
        outcome.phase, entered = phase, now

    def on_line(line: bytes) -> None:
        if phase := outcome.hear(line):
            enter(phase)
            on_phase(phase)

    try:
        end = child.run(
            module,
            job,
            on_line,
            python=config.python,
            env=environment(config),
            deadline_s=config.limits.deadline_s,
            memory_bytes=memory_bytes,
        )
    except OSError as error:  # no process or descriptor is left, or no such interpreter
        outcome.reason = f"its process could not be started: {error}"
        _save(log, f"{outcome.reason}\n".encode())
        return outcome
    enter(outcome.phase)
    outcome.wall_s = time.monotonic() - started
    _save(log, end.output)
    if outcome.status == "crashed" and not outcome.reason:
        _conclude(outcome, end, config.limits.deadline_s)
    if outcome.garbage:
        outcome.status = "invalid" if outcome.status in record.FINE else outcome.status
        said = f"its process reported what is no part of a record: {outcome.garbage}"
        outcome.reason = "; ".join(filter(None, [outcome.reason, said]))
    return outcome


def _save(log: Path, output: bytes) -> None:
    try:
        record.write_bytes(log, output)
    except OSError as error:
        print(f"log {log.name} could not be written: {error}", file=sys.stderr)


def _message(line: bytes) -> dict[str, Any]:
    """A line that a cell's process reported; a ValueError where something else wrote it."""
    try:
        message = record.plain(json.loads(line.decode()))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{line[:SHOWN].decode(errors='replace')!a} ({error})") from error
    if not isinstance(message, dict):
        raise ValueError(ascii(message)[:SHOWN])
    parts = message.get("parts", {})
    if why := record.malformed(parts) if isinstance(parts, dict) else "no parts by name":
        raise ValueError(why)
    texts = [message.get("phase", ""), message.get("status", ""), message.get("reason", "")]
    if not all(isinstance(text, str) for text in texts) or (
        "status" in message and not (message["status"] in record.STATUSES and "reason" in message)
    ):
        raise ValueError(ascii(message)[:SHOWN])
    return message


def _conclude(outcome: Outcome, end: child.End, deadline_s: float) -> None:
    """Sets status and reason of a process that did not report its own end."""
    part = "compile" if outcome.phase in record.COMPILE_PHASES else "run"
    where = f"at {part} (phase {outcome.phase})"
    code, printed = end.code, end.output.lower()
    last = record.one_line(end.last_line())[:300]
    if end.late:
        outcome.status = "timeout"
        outcome.reason = f"no result after {deadline_s:g} s (deadline), {where}"
    elif end.held:
        outcome.status = "oom"
        outcome.reason = f"held {end.held / 2**30:.2f} GiB, above the memory cap, {where}"
    elif code == -signal.SIGABRT and (b"bad_alloc" in printed or b"out of memory" in printed):
        outcome.status = "oom"
        outcome.reason = f"{last}, {where}"
    elif code is None:
        outcome.reason = f"its process does not end, not even by signal 9, {where}"
    elif code < 0:
        outcome.reason = f"ended by {_signal(-code)}, {where}"
        if code == -signal.SIGABRT and printed.strip():
            outcome.reason += f": {last}"
        if code == -signal.SIGKILL:
            outcome.reason += "; the kernel does this when memory runs out"
    else:
        outcome.reason = f"exited with status {code} and no result, {where}: {last}"


def _signal(number: int) -> str:
    names = {known.value: f" ({known.name})" for known in signal.Signals}
    return f"signal {number}{names.get(number, '')}"  # of most real-time signals there is none


def environment(config: Config) -> dict[str, str]:
    """The variables of a cell's process."""
    env = dict(os.environ)
    # Without bytecode files every cell would compile the libraries it imports anew.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    # A warm compilation cache would turn compile_s into the time of a file read.
    env.pop("JAX_COMPILATION_CACHE_DIR", None)
    env["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    if cache := env.get(CACHE_VARIABLE):
        env.update(_cached(cache))
    if config.metric.get("learning", {}).get("choose") and config.out:
        # No clock is read: trials of one way, which differ in a number, share a program, and leave
        # the other cores to each other.
        env.setdefault("NPROC", "1")
        env.update(_cached(str(Path(config.out) / "compiled")))
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
    paths = [str(ROOT), env.get("PYTHONPATH", ""), os.getcwd()]
    env["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return env


def _cached(folder: str) -> dict[str, str]:
    """The variables that have jax keep what it compiles."""
    return {
        "JAX_ENABLE_COMPILATION_CACHE": "true",
        "JAX_COMPILATION_CACHE_DIR": folder,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
