"""One cell = one fresh process: deadline, memory cap, log, and a result whatever happens to it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from bench import processes
from bench.config import Config
from bench.environments import executable
from bench.sweep import record
from bench.sweep.provenance import CACHE_VARIABLE, root_of

POLL_S = 0.1
LOOK_SPACING = 10
DRAIN_S = 2.0
SHOWN = 80
LOG_HEAD_BYTES = 1 << 20
LOG_TAIL_BYTES = 1 << 16


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
    """

    status: str = "crashed"
    reason: str = ""
    parts: dict[str, Any] = field(default_factory=dict)
    phase: str = "start"
    phases: dict[str, float] = field(default_factory=dict)
    wall_s: float = 0.0


def run_cell(
    job: Mapping[str, Any],
    log: Path,
    *,
    deadline_s: float,
    memory_bytes: int,
    on_phase: Callable[[str], None] = lambda phase: None,
    module: str = "bench.cell.worker",
) -> Outcome:
    """Runs one cell in a fresh process group and ends whatever is left of it.

    Args:
        job: what the worker needs: ``config``, ``choices``, ``repeat``.
        log: file that gets the process' output, its middle left out when it is very long.
        deadline_s: seconds after which the process is ended.
        memory_bytes: bytes that the process and its children may hold together.
        on_phase: told the name of every phase as it begins.
        module: what runs in the process; it speaks the protocol of ``bench.cell.worker``.

    Returns:
        The outcome; this function raises only when it is interrupted itself.
    """
    processes.adopt_orphans()
    known = processes.children()
    outcome, output = Outcome(), _Log(log)
    started = time.monotonic()
    try:
        process, report = _started(job["config"], module)
    except OSError as error:  # no process or descriptor is left, or no such interpreter
        outcome.reason = f"its process could not be started: {error}"
        output.write(f"{outcome.reason}\n".encode())
        output.save()
        return outcome
    watch = _Watch(process, report, output, outcome, on_phase)
    try:
        watch.hand_over(json.dumps({**job, "config": job["config"].plain(),
                                     "memory_bytes": memory_bytes}).encode())
        ended = watch.until_end(started + deadline_s, memory_bytes)
    finally:
        processes.end_tree(process.pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(processes.END_WITHIN_S)
        processes.end_adopted(known)
        watch.close()
        outcome.wall_s = time.monotonic() - started
    _conclude(outcome, ended, process.returncode, output.tail_text(), deadline_s)
    if watch.garbage:
        outcome.status = "invalid" if outcome.status in record.FINE else outcome.status
        said = f"its process reported what is no part of a record: {watch.garbage}"
        outcome.reason = "; ".join(filter(None, [outcome.reason, said]))
    return outcome


def _started(config: Config, module: str) -> tuple[subprocess.Popen[bytes], int]:
    """A cell's process, and the descriptor that its reports come from."""
    read_end, write_end = os.pipe()
    try:
        process = subprocess.Popen(
            [executable(config.python), "-P", "-m", module, str(write_end), str(os.getpid())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            pass_fds=[write_end], start_new_session=True, env=environment(config),
        )
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    return process, read_end


class _Log:
    """The first and the last part of a stream, so that a chatty cell cannot fill the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def write(self, chunk: bytes) -> None:
        room = LOG_HEAD_BYTES - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:] if room < len(chunk) else b""
        surplus = len(self._tail) - LOG_TAIL_BYTES
        if surplus > 0:
            del self._tail[:surplus]
            self._dropped += surplus

    def tail_text(self) -> str:
        return bytes((self._head + self._tail)[-LOG_TAIL_BYTES:]).decode(errors="replace")

    def save(self) -> None:
        gap = f"\n[{self._dropped} bytes left out]\n".encode() if self._dropped else b""
        try:
            record.write_bytes(self._path, bytes(self._head) + gap + bytes(self._tail))
        except OSError as error:
            print(f"log {self._path.name} could not be written: {error}", file=sys.stderr)


class _Watch:
    """Hands a process its job, and reads its reports and output while it keeps to its limits.

    Attributes:
        garbage: what it reported that is no report, the first of it, in words; empty if nothing.
    """

    def __init__(self, process: subprocess.Popen[bytes], report: int, log: _Log,
                 outcome: Outcome, on_phase: Callable[[str], None]) -> None:
        self.garbage = ""
        self._log = log
        self._process = process
        self._report: IO[bytes] = os.fdopen(report, "rb", buffering=0)
        self._job = memoryview(b"")
        self._pending = bytearray()
        self._reported = 0
        self._outcome = outcome
        self._on_phase = on_phase
        self._entered = time.monotonic()
        # Of the kinds of selectors the one that takes no descriptor, of which none may be left.
        self._selector = selectors.PollSelector()
        self._selector.register(self._report, selectors.EVENT_READ, self._on_report)
        assert process.stdout is not None
        self._selector.register(process.stdout, selectors.EVENT_READ, log.write)

    def hand_over(self, job: bytes) -> None:
        """Writes the job as the process reads it: a pipe holds 64 KiB, and it may never read."""
        self._job = memoryview(job)
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        self._selector.register(self._process.stdin, selectors.EVENT_WRITE)

    def enter(self, phase: str) -> None:
        """Closes the account of the running phase and opens that of the next."""
        now = time.monotonic()
        phases, running = self._outcome.phases, self._outcome.phase
        phases[running] = phases.get(running, 0.0) + now - self._entered
        self._outcome.phase, self._entered = phase, now

    def until_end(self, deadline: float, memory_bytes: int) -> str:
        """Waits; returns why it stopped: ``exit``, ``deadline`` or ``memory ...``."""
        next_look = 0.0
        while self._process.poll() is None:
            self._pump(POLL_S)
            now = time.monotonic()
            if now > deadline:
                return "deadline"
            if now > next_look:
                held = processes.resident_bytes(self._process.pid, memory_bytes)
                if held > memory_bytes:
                    return f"memory {held}"
                # Looking at a thousand processes takes long, and disturbs them.
                looked = time.monotonic()
                next_look = looked + max(2 * POLL_S, LOOK_SPACING * (looked - now))
        return "exit"

    def close(self) -> None:
        """Reads what is left, saves the log and closes the pipes."""
        # Not for ever: a process that could not be ended may go on writing.
        until = time.monotonic() + DRAIN_S
        while self._pump(0) and time.monotonic() < until:
            pass
        if self._pending:
            self._on_line(bytes(self._pending))
        self.enter(self._outcome.phase)
        self._selector.close()
        self._report.close()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        self._log.save()

    def _pump(self, timeout: float) -> bool:
        """Handles what can be read or written now; False when nothing could be read."""
        handled = False
        if not self._selector.get_map():
            time.sleep(timeout)
            return False
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._process.stdin:
                self._write(key.fd)
            elif chunk := os.read(key.fd, 1 << 16):
                key.data(chunk)
                handled = True
            else:
                self._selector.unregister(key.fileobj)
        return handled

    def _write(self, descriptor: int) -> None:
        try:
            self._job = self._job[os.write(descriptor, self._job[: 1 << 16]):]
        except BlockingIOError:
            return
        except OSError:
            self._job = self._job[:0]  # it ended before it read its job; its status says how
        if not self._job:
            stdin = self._process.stdin
            assert stdin is not None
            self._selector.unregister(stdin)
            stdin.close()

    def _on_report(self, chunk: bytes) -> None:
        self._reported += len(chunk)
        if self._reported > record.LARGEST:
            self._pending.clear()
            self.garbage = self.garbage or f"more than {record.LARGEST >> 20} MiB"
            return
        self._pending += chunk
        if b"\n" in chunk:
            *lines, self._pending = self._pending.split(b"\n")
            for line in lines:
                self._on_line(bytes(line))

    def _on_line(self, line: bytes) -> None:
        try:
            message = _message(line)
        except (ValueError, RecursionError) as error:
            self.garbage = self.garbage or str(error)
            return
        if "phase" in message:
            self.enter(message["phase"])
            self._on_phase(message["phase"])
        self._outcome.parts = record.merge(self._outcome.parts, message.get("parts", {}))
        if "status" in message:
            self._outcome.status = message["status"]
            self._outcome.reason = record.one_line(message["reason"])


def _message(line: bytes) -> dict[str, Any]:
    """A line that a cell's process reported.

    Raises:
        ValueError: when the worker, or what wrote to its descriptor, sent something else.
    """
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
            "status" in message and not (message["status"] in record.STATUSES
                                         and "reason" in message)):
        raise ValueError(ascii(message)[:SHOWN])
    return message


def _conclude(outcome: Outcome, ended: str, code: int | None, tail: str, deadline_s: float) -> None:
    """Sets status and reason of a process that did not report its own end."""
    if outcome.reason or outcome.status != "crashed":
        return
    part = "compile" if outcome.phase in record.COMPILE_PHASES else "run"
    where = f"at {part} (phase {outcome.phase})"
    if ended == "deadline":
        outcome.status = "timeout"
        outcome.reason = f"no result after {deadline_s:g} s (deadline), {where}"
    elif ended.startswith("memory"):
        held = int(ended.split()[1]) / 2**30
        outcome.status = "oom"
        outcome.reason = f"held {held:.2f} GiB, above the memory cap, {where}"
    elif code == -signal.SIGABRT and ("bad_alloc" in tail or "out of memory" in tail.lower()):
        outcome.status = "oom"
        outcome.reason = f"{_last_line(tail)}, {where}"
    elif code is None:
        outcome.reason = f"its process does not end, not even by signal 9, {where}"
    elif code < 0:
        outcome.reason = f"ended by {_signal(-code)}, {where}"
        if code == -signal.SIGABRT and tail.strip():
            outcome.reason += f": {_last_line(tail)}"
        if code == -signal.SIGKILL:
            outcome.reason += "; the kernel does this when memory runs out"
    else:
        outcome.reason = f"exited with status {code} and no result, {where}: {_last_line(tail)}"


def _signal(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"  # such as one of the real-time signals between the first and last


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return record.one_line(lines[-1])[:300] if lines else "no output"


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
    paths = [str(root_of(config.python)), env.get("PYTHONPATH", ""), os.getcwd()]
    env["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return env


def _cached(folder: str) -> dict[str, str]:
    """The variables that have jax keep what it compiles."""
    return {"JAX_ENABLE_COMPILATION_CACHE": "true", "JAX_COMPILATION_CACHE_DIR": folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
