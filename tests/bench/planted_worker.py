"""A cell's process with a planted fault, speaking the worker's protocol without importing jax."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench import child, processes
from bench.cell.worker import failure
from bench.config import Config


def allocate_without_end() -> None:
    held = []
    while True:
        held.append(bytearray(b"x") * (32 << 20))
        time.sleep(0.01)


def ask_for_too_much() -> None:
    bytearray(1 << 50)


def sleep_for_ever() -> None:
    time.sleep(3600)


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def raise_in_the_middle() -> None:
    raise RuntimeError("planted.\nwith a second line")


def print_megabytes() -> None:
    for _ in range(200):
        print("x" * 100_000)
    print("the end")


def leave_a_child_behind() -> None:
    # In a session of its own, out of reach of a signal to the process group.
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True
    )
    print(f"child {child.pid}")


def leave_a_child_that_writes_without_end() -> None:
    subprocess.Popen(["yes"])


def share_its_memory_with_children() -> None:
    held = bytearray(b"x") * (100 << 20)
    for _ in range(5):
        if not os.fork():
            time.sleep(3)
            os._exit(0)
    time.sleep(1)
    assert held


def abort_with_words() -> None:
    print("what():  Bad StatusOr access: overflow", flush=True)
    os.abort()


def report_garbage() -> None:
    os.write(int(sys.argv[1]), b"[1, 2]\n{half\n")


def end_by_a_signal_without_a_name() -> None:
    os.kill(os.getpid(), 40)


def exit_without_a_word() -> None:
    os._exit(3)


def do_nothing_wrong() -> None:
    """Once there are two records, it takes until the sweep is ended, where a test says so."""
    records = os.environ.get("PLANTED_HOLD")
    while records and len(list(Path(records).glob("*.json"))) >= 2:
        time.sleep(0.05)


# The fault of a cell whose question names none.
BY_SEED = (
    "do_nothing_wrong",
    "raise_in_the_middle",
    "kill_itself",
    "exit_without_a_word",
    "ask_for_too_much",
)


def main() -> None:
    job, send = child.question_here(__doc__)
    config: Config = job["config"]
    processes.cap_memory(processes.memory_cap(config.limits))
    send({"phase": "compile"})
    send({"parts": {"metrics": {"trace_s": 1.0, "loss_final": float("nan")}}})
    send({"phase": "timing"})
    status, reason = "ok", ""
    try:
        globals()[config.question or BY_SEED[config.seed % len(BY_SEED)]]()
    except Exception as error:
        status, reason = failure(error)
    send({"status": status, "reason": reason})


if __name__ == "__main__":
    main()
