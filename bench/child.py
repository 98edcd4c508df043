"""Processes of this project: how one is started, asked, kept to its limits, and answers.

The question comes as JSON on standard input, answers go as JSON lines to a descriptor of their own:
what a plug-in prints is none. A process ends with the one that asked, and its own children with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import IO, Any, TextIO

from bench import processes
from bench.errors import BadInput

POLL_S = 0.1
LOOK_SPACING = 10
DRAIN_S = 2.0
HEAD_BYTES = 1 << 20
TAIL_BYTES = 1 << 16


@dataclass(frozen=True)
class End:
    """How a process ended.

    Attributes:
        code: its exit status, minus the number of a signal; None when it does not end.
        late: whether it was ended at its deadline.
        held: bytes that it held as it was ended for that; 0 otherwise.
        output: what it printed, the middle left out where that is very long.
        too_much: whether it answered more than was to be kept.
    """

    code: int | None
    late: bool
    held: int
    output: bytes
    too_much: bool

    def tail(self) -> str:
        """The end of what it printed."""
        return self.output[-TAIL_BYTES:].decode(errors="replace")

    def last_line(self) -> str:
        """The last line that it printed."""
        return next(
            (line.strip() for line in reversed(self.tail().splitlines()) if line.strip()),
            "no output",
        )


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        found: the answers, as many as there were.
        last: the last line that the process printed.
        late: whether it was ended at its deadline.
    """

    found: list[Any]
    last: str
    late: bool


def asked(
    module: str,
    question: Any,
    *,
    env: Mapping[str, str],
    timeout_s: float,
    python: str | None = None,
) -> Answer:
    """Runs ``python -m module`` and waits for its answers.

    Args:
        module: calls ``answer`` when it is run.
        question: anything JSON can hold.
        env: the variables of the process.
        timeout_s: seconds after which it is ended.
        python: interpreter that runs it; None for this one.

    Raises:
        BadInput: when it could not be started.
    """
    lines: list[bytes] = []
    try:
        end = run(module, question, lines.append, env=env, python=python, deadline_s=timeout_s)
    except OSError as error:
        raise BadInput(
            "this machine", "room for a process", str(error), "Make some, and try again."
        ) from error
    found: list[Any] = []
    with contextlib.suppress(ValueError):  # ended in the middle of one
        found += map(json.loads, lines)
    return Answer(found, end.last_line(), end.late)


def run(
    module: str,
    question: Any,
    on_line: Callable[[bytes], None],
    *,
    env: Mapping[str, str],
    deadline_s: float,
    python: str | None = None,
    memory_bytes: int | None = None,
    most_bytes: int | None = None,
) -> End:
    """Runs ``python -m module`` in a process group of its own and ends whatever is left of it.

    Args:
        module: what runs; it calls ``answer`` or ``question_here``.
        question: anything JSON can hold.
        on_line: told each line of its answers as it comes.
        env, python: as of ``asked``.
        deadline_s: seconds after which it is ended.
        memory_bytes: bytes that it and its children may hold together; None for any.
        most_bytes: bytes of answers that are listened to; None for all.

    Raises:
        OSError: when it cannot be started.
    """
    processes.adopt_orphans()
    known = processes.children()
    deadline = time.monotonic() + deadline_s
    read_end, write_end = os.pipe()
    try:
        # Not a pipe: it holds 64 KiB, and the process may never read.
        with _file() as stdin:
            stdin.write(json.dumps(question).encode())
            stdin.seek(0)
            process = subprocess.Popen(
                [python or sys.executable, "-P", "-m", module, str(write_end), str(os.getpid())],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[write_end],
                start_new_session=True,
                env=env,
            )
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    talk = _Talk(process, read_end, on_line, most_bytes)
    late, held = False, 0
    try:
        late, held = talk.until_end(deadline, memory_bytes)
    finally:
        processes.end_tree(process.pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(processes.END_WITHIN_S)
        processes.end_adopted(known)
        talk.close()
    return End(process.returncode, late, held, talk.output(), talk.too_much)


def _file() -> IO[bytes]:
    """A file without a name, in memory where that can be: the disk may be full."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("question"), "w+b")
    return tempfile.TemporaryFile()


class _Talk:
    """Reads answers and output as they come.

    Attributes:
        too_much: as of ``End``.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        answers: int,
        on_line: Callable[[bytes], None],
        most_bytes: int | None,
    ) -> None:
        self.too_much = False
        self._process = process
        self._answers: IO[bytes] = os.fdopen(answers, "rb", buffering=0)
        self._on_line, self._most_bytes = on_line, most_bytes
        self._pending = bytearray()
        self._heard = 0
        self._head, self._tail, self._dropped = bytearray(), bytearray(), 0
        # Of the kinds of selectors the one that takes no descriptor, of which none may be left.
        self._selector = selectors.PollSelector()
        assert process.stdout is not None
        self._output: IO[bytes] = process.stdout
        self._selector.register(self._answers, selectors.EVENT_READ, self._on_answer)
        self._selector.register(self._output, selectors.EVENT_READ, self._on_output)

    def until_end(self, deadline: float, memory_bytes: int | None) -> tuple[bool, int]:
        """Waits; whether it was late, and the bytes that it held where those were too many."""
        next_look = 0.0
        while self._process.poll() is None:
            self._pump(POLL_S)
            now = time.monotonic()
            if now > deadline:
                return True, 0
            if memory_bytes is not None and now > next_look:
                held = processes.resident_bytes(self._process.pid, memory_bytes)
                if held > memory_bytes:
                    return False, held
                # Looking at a thousand processes takes long, and disturbs them.
                looked = time.monotonic()
                next_look = looked + max(2 * POLL_S, LOOK_SPACING * (looked - now))
        return False, 0

    def close(self) -> None:
        """Reads what is left and closes both."""
        # Not for ever: a process that could not be ended may go on writing.
        until = time.monotonic() + DRAIN_S
        while self._pump(0) and time.monotonic() < until:
            pass
        if self._pending:
            self._on_line(bytes(self._pending))
        self._selector.close()
        self._answers.close()
        self._output.close()

    def output(self) -> bytes:
        """What was printed: the first and the last part, so that nobody can fill the disk."""
        gap = f"\n[{self._dropped} bytes left out]\n".encode() if self._dropped else b""
        return bytes(self._head) + gap + bytes(self._tail)

    def _pump(self, timeout: float) -> bool:
        """Handles what can be read now; False when there was nothing."""
        handled = False
        if not self._selector.get_map():
            time.sleep(timeout)
            return False
        for key, _ in self._selector.select(timeout):
            if chunk := os.read(key.fd, 1 << 16):
                key.data(chunk)
                handled = True
            else:
                self._selector.unregister(key.fileobj)
        return handled

    def _on_output(self, chunk: bytes) -> None:
        room = HEAD_BYTES - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:] if room < len(chunk) else b""
        surplus = len(self._tail) - TAIL_BYTES
        if surplus > 0:
            del self._tail[:surplus]
            self._dropped += surplus

    def _on_answer(self, chunk: bytes) -> None:
        self._heard += len(chunk)
        if self._most_bytes is not None and self._heard > self._most_bytes:
            self._pending.clear()
            self.too_much = True
            return
        self._pending += chunk
        if b"\n" in chunk:
            *lines, self._pending = self._pending.split(b"\n")
            for line in lines:
                self._on_line(bytes(line))


def answer(answers: Callable[[Any], Iterable[Any]], about: str | None) -> None:
    """The other side of ``asked``, called by the module that it runs.

    Args:
        answers: from the question to what is answered, each as soon as it is there.
        about: the module's docstring, for whoever runs it by hand.
    """
    question, file = question_here(about)
    with file:
        for found in answers(question):
            file.write(json.dumps(found) + "\n")
            file.flush()


def question_here(about: str | None) -> tuple[Any, TextIO]:
    """The question to this process, which is guarded from here on, and the file for its answers.

    Args:
        about: as of ``answer``. A command line that is not ``run``'s comes from a person, who is
            told what the module is, and ends this process.
    """
    try:
        descriptor, parent = map(int, sys.argv[1:])
    except ValueError:
        print(
            f"{(about or '').strip()}\n\nThe harness starts this itself: see python -m bench "
            "--help."
        )
        sys.exit(0 if {"-h", "--help"} & set(sys.argv) else 2)
    processes.guarded(parent)
    return json.load(sys.stdin), os.fdopen(descriptor, "w", encoding="utf-8")
