"""A question to a process of this project: JSON in, JSON lines out, on a descriptor of their own.

What a plug-in prints there is no answer. The process ends with the one that asked, and its own
children with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bench import processes
from bench.environments import executable
from bench.errors import BadInput

TAIL_BYTES = 1 << 16


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


def asked(module: str, question: Any, *, env: Mapping[str, str], timeout_s: float,
          python: str | None = None) -> Answer:
    """Runs ``python -m module`` and waits for its answers.

    Args:
        module: calls ``answer`` when it is run.
        question: anything JSON can hold.
        env: the variables of the process.
        timeout_s: seconds after which it is ended.
        python: interpreter that runs it; None for this one.

    Raises:
        BadInput: when it could not be started, or there is no room for its files.
    """
    try:
        return _answered(module, question, env, timeout_s, python)
    except OSError as error:
        raise BadInput("this machine", expected="room for a process and its temporary files",
                       came=str(error), do="Make some, and try again.") from error


def _answered(module: str, question: Any, env: Mapping[str, str], timeout_s: float,
              python: str | None) -> Answer:
    # Files: a pipe holds 64 KiB, and whoever inherited it could keep it open.
    with (tempfile.TemporaryFile() as questions, tempfile.TemporaryFile() as answers,
          tempfile.TemporaryFile() as words):
        questions.write(json.dumps(question).encode())
        questions.seek(0)
        process = subprocess.Popen(
            [executable(python), "-P", "-m", module, str(answers.fileno()), str(os.getpid())],
            stdin=questions, stdout=words, stderr=subprocess.STDOUT, env=env,
            pass_fds=[answers.fileno()], start_new_session=True)
        late = False
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            processes.end_tree(process.pid)
            process.wait()
        answers.seek(0)
        found = []
        with contextlib.suppress(ValueError):  # ended in the middle of one
            found += [json.loads(line) for line in answers]
        words.seek(max(0, words.seek(0, os.SEEK_END) - TAIL_BYTES))
        lines = words.read().decode(errors="replace").strip().splitlines()
    return Answer(found, lines[-1].strip() if lines else "no output", late)


def answer(answers: Callable[[Any], Iterable[Any]], about: str | None) -> None:
    """The other side of ``asked``, called by the module that it runs.

    Args:
        answers: from the question to what is answered, each as soon as it is there.
        about: the module's docstring, for whoever runs it by hand.
    """
    descriptor, parent = arguments(about)
    processes.guarded(parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        for found in answers(json.load(sys.stdin)):
            file.write(json.dumps(found) + "\n")
            file.flush()


def arguments(about: str | None) -> tuple[int, int]:
    """The descriptor for answers and the parent's process id, from the command line.

    Anything else comes from a person, who is told what the module is, and ends this process.
    """
    try:
        descriptor, parent = map(int, sys.argv[1:])
    except ValueError:
        print(f"{(about or '').strip()}\n\nThe harness starts this itself: see python -m bench "
              "--help.")
        sys.exit(0 if {"-h", "--help"} & set(sys.argv) else 2)
    return descriptor, parent
