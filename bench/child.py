"""Processes of this project: how one is started, asked, kept to its limits, and answers.

The question comes pickled on standard input, answers go as JSON lines to a descriptor of their own:
what a plug-in prints is none. A process ends with the one that asked, and its own children with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import selectors
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bench import processes
from bench.errors import BadInput

HOME_OF_BRAINEVENT = "BRAINEVENT_CACHE_DIR"
POLL_S, FROZEN_S = 0.1, 10.0
LOOK_SPACING = 10
DRAIN_S = 2.0
# What is kept of the output, so that nobody can fill the disk.
KEPT_BYTES = 1 << 20


@dataclass(frozen=True)
class End:
    """How a process ended."""

    code: int | None  # exit status, minus the number of a signal; None when it does not end
    late: bool  # whether it was ended at its deadline
    held: int  # bytes that it held as it was ended for that; 0 otherwise
    output: bytes  # what it printed, the beginning left out where that is very long

    def last_line(self) -> str:
        """The last line that it printed."""
        lines = self.output.decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else "no output"


def asked(
    module: str, question: Any, env: Mapping[str, str], timeout_s: float, python: str | None = None
) -> tuple[list[Any], End]:
    """What ``python -m module``, which calls ``answer``, has answered when it ends.

    The arguments are those of ``run``. A BadInput where it could not be started.
    """
    lines: list[bytes] = []
    try:
        end = run(module, question, lines.append, env=env, python=python, deadline_s=timeout_s)
    except OSError as error:
        do = "Make some, and try again."
        raise BadInput("this machine", "room for a process", str(error), do) from error
    found: list[Any] = []
    with contextlib.suppress(ValueError):  # ended in the middle of one
        found += map(json.loads, lines)
    return found, end


def run(
    module: str,
    question: Any,
    on_line: Callable[[bytes], None],
    *,
    env: Mapping[str, str],
    deadline_s: float,
    python: str | None = None,
    memory_bytes: int | None = None,
) -> End:
    """Runs ``python -m module`` in a process group of its own and ends whatever is left of it.

    Args:
        module: what runs; it calls ``answer`` or ``question_here``.
        question: what the process can unpickle.
        on_line: told each line of its answers as it comes.
        env: the variables of the process.
        deadline_s: seconds after which it is ended.
        python: interpreter that runs it; None for this one.
        memory_bytes: bytes that it and its children may hold together; None for any.

    Raises:
        OSError: when it cannot be started.
    """
    processes.adopt_orphans()
    known = set(processes.children(os.getpid()))
    deadline = time.monotonic() + deadline_s
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb", buffering=0) as answers, at_home(env) as env:
        try:
            # Not a pipe: it holds 64 KiB, and the process may never read.
            with _file() as stdin:
                stdin.write(pickle.dumps(question))
                stdin.seek(0)
                arguments = [module, str(write_end), str(os.getpid())]
                process = subprocess.Popen(
                    [python or sys.executable, "-P", "-m", *arguments],
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=[write_end],
                    start_new_session=True,
                    env=env,
                )
        finally:
            os.close(write_end)
        assert process.stdout is not None
        with process.stdout:
            said = _Said(answers, process.stdout, on_line)
            try:
                late, held = _until_end(process, said, deadline, memory_bytes)
            finally:
                processes.end_tree(process.pid)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(processes.END_WITHIN_S)
                processes.end_adopted(known)
                said.drain()
    return End(process.returncode, late, held, said.output())


@contextlib.contextmanager
def at_home(env: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """The variables of a process that imports brainevent, which makes a folder in the user's home.

    Without one that can be written, as in a container, a folder of the block's is that.
    """
    with contextlib.ExitStack() as held:
        try:
            place = Path.home() / ".cache" / "brainevent"
            place.mkdir(parents=True, exist_ok=True)
            missing = not os.access(place, os.W_OK)
        except (OSError, RuntimeError):  # nowhere, or no user of that number
            missing = True
        if missing and HOME_OF_BRAINEVENT not in env:
            folder = held.enter_context(tempfile.TemporaryDirectory())
            env = {**env, HOME_OF_BRAINEVENT: folder}
        yield env


def _file() -> IO[bytes]:
    """A file without a name, in memory where that can be: the disk may be full."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("question"), "w+b")
    return tempfile.TemporaryFile()


def _until_end(
    process: subprocess.Popen[bytes], said: _Said, deadline: float, memory_bytes: int | None
) -> tuple[bool, int]:
    """Waits; whether it was late, and the bytes that it held where those were too many."""
    next_look, now = 0.0, time.monotonic()
    while process.poll() is None:
        said.listen(POLL_S)
        before, now = now, time.monotonic()
        if now - before > FROZEN_S:  # stopped, often with all that it started
            deadline += now - before
        if now > deadline:
            return True, 0
        if memory_bytes is not None and now > next_look:
            held = processes.resident_bytes(process.pid, memory_bytes)
            if held > memory_bytes:
                return False, held
            # Looking at a thousand processes takes long, and disturbs them.
            looked = time.monotonic()
            next_look = looked + max(2 * POLL_S, LOOK_SPACING * (looked - now))
    return False, 0


class _Said:
    """What a process answers, handed on line by line, and what it prints, which is kept."""

    def __init__(
        self, answers: IO[bytes], output: IO[bytes], on_line: Callable[[bytes], None]
    ) -> None:
        self._on_line = on_line
        self._printed = 0
        self._line, self._kept = bytearray(), bytearray()
        # Of the kinds of selectors the one that takes no descriptor, of which none may be left.
        self._selector = selectors.PollSelector()
        self._selector.register(answers, selectors.EVENT_READ, self._hear)
        self._selector.register(output, selectors.EVENT_READ, self._keep)

    def listen(self, timeout: float) -> bool:
        """Takes in what can be read now; False when there was nothing."""
        ready = self._selector.select(timeout)
        for key, _ in ready:
            if chunk := os.read(key.fd, 1 << 16):
                key.data(chunk)
            else:
                self._selector.unregister(key.fileobj)
        return bool(ready)

    def drain(self) -> None:
        """Takes in what is left, but not for ever: what could not be ended may go on writing."""
        until = time.monotonic() + DRAIN_S
        while self.listen(0) and time.monotonic() < until:
            pass
        if self._line:
            self._on_line(bytes(self._line))

    def output(self) -> bytes:
        """What was printed."""
        dropped = self._printed - len(self._kept)
        return (f"[{dropped} bytes left out]\n".encode() if dropped else b"") + self._kept

    def _keep(self, chunk: bytes) -> None:
        self._printed += len(chunk)
        self._kept += chunk
        del self._kept[:-KEPT_BYTES]

    def _hear(self, chunk: bytes) -> None:
        self._line += chunk
        if b"\n" in chunk:
            *lines, self._line = self._line.split(b"\n")
            for line in lines:
                self._on_line(bytes(line))


def answer(answers: Callable[[Any], Iterable[Any]], about: str | None) -> None:
    """The other side of ``asked``: sends what ``answers`` makes of the question, one by one.

    ``about`` is as of ``question_here``.
    """
    question, send = question_here(about)
    with leaving():
        for found in answers(question):
            send(found)


@contextlib.contextmanager
def leaving() -> Iterator[None]:
    """Ends this process behind the block, whatever threads a plug-in has left running in it.

    Tearing down the libraries would take another second as well.
    """
    status = 0
    try:
        yield
    except BaseException as error:
        traceback.print_exc()
        status = code if isinstance(code := getattr(error, "code", None), int) else 1
    finally:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with contextlib.suppress(Exception):  # somebody closed it
                stream.flush()
        os._exit(status)


def question_here(about: str | None) -> tuple[Any, Callable[[Any], None]]:
    """The question to this process, which ends with its parent, and what sends an answer.

    A command line that is not ``run``'s comes from a person, who is told what the module is
    ``about``, its docstring, and nothing else happens.
    """
    try:
        descriptor, parent = map(int, sys.argv[1:])
    except ValueError:
        print(
            f"{(about or '').strip()}\n\nThe harness starts this itself: see python -m bench "
            "--help."
        )
        sys.exit(0 if {"-h", "--help"} & set(sys.argv) else 2)
    processes.die_with_parent(parent)
    file = os.fdopen(descriptor, "w", encoding="utf-8")

    def send(found: Any) -> None:
        file.write(json.dumps(found) + "\n")
        file.flush()

    return pickle.load(sys.stdin.buffer), send
