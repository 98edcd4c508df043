"""Linux process plumbing: memory of a tree of processes, and ending all of it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from bench.config import Limits

END_WITHIN_S, END_POLL_S = 5.0, 0.005
CONTROL_GROUPS = Path("/sys/fs/cgroup")

# Address space that the libraries reserve without using it counts as data for the kernel.
RESERVED_BYTES = 4 << 30

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def output_of(
    command: Sequence[str], timeout_s: float | None = None, env: Mapping[str, str] | None = None
) -> str | None:
    """What a program prints, without space around it; None when it fails or is not there."""
    try:
        answer = subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def path_from(root: Path, *behind: str) -> str:
    """``PYTHONPATH`` with a folder before all that is on it, and others behind; for any folder."""
    own = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return os.pathsep.join([str(root), *map(os.path.abspath, own), *behind])


def adopt_orphans() -> None:
    """Makes orphaned descendants children of this process, so that they can be found and ended."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Asks the kernel to end this process when its parent ends; exits now where it is gone."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    # A dump of the memory, named core, would go to the user's folder.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def descendants(pid: int) -> list[int]:
    """Process ids of all living descendants of ``pid``, nearest first."""
    queue, seen = [pid], {pid}
    for member in queue:  # grows meanwhile
        fresh = [child for child in children(member) if child not in seen]
        queue += fresh
        seen.update(fresh)
    return queue[1:]


def resident_bytes(pid: int, most: float = 0.0) -> int:
    """Bytes of memory that ``pid`` and its descendants hold.

    Pages that forked processes share are counted once, which takes long to find out: only where the
    sum of what each holds is above ``most``, of which the result then tells whether it is too much.
    """
    members = [pid, *descendants(pid)]
    held = sum(map(_resident, members))
    return sum(map(_proportional, members)) if held > most and len(members) > 1 else held


def end_tree(pid: int) -> None:
    """Ends ``pid``, its process group and every descendant at once. Nothing of it is reaped."""
    tree = [pid, *descendants(pid)]
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for member in tree:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(member, signal.SIGKILL)


def end_adopted(known: set[int]) -> None:
    """Ends and reaps children of this process that are not in ``known``: a cell's leftovers.

    What cannot be ended, such as another user's process, is left after ``END_WITHIN_S``.
    """
    deadline = time.monotonic() + END_WITHIN_S
    while strays := [child for child in children(os.getpid()) if child not in known]:
        for stray in strays:
            end_tree(stray)
        for stray in strays:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(stray, os.WNOHANG)
        if time.monotonic() > deadline:
            return
        time.sleep(END_POLL_S)


def cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def memory_available_bytes() -> int:
    """Bytes of memory on this machine that a process may hold, a container's limit included.

    A job of a cluster has its limit in a control group of its own, or in one above it.
    """
    total, own = psutil.virtual_memory().total, control_group()
    for group in (own, *own.parents):
        if group.is_relative_to(CONTROL_GROUPS):
            with contextlib.suppress(OSError, ValueError):
                total = min(total, int((group / "memory.max").read_text(encoding="utf-8")))
    return total


def control_group() -> Path:
    """The folder of this process' control group; that of all of them where the kernel has none."""
    with contextlib.suppress(OSError, IndexError):
        # Version 2 has one line, 0::/path/of/the/group.
        name = Path("/proc/self/cgroup").read_text("utf-8").split("0::/", 1)[1].strip()
        return CONTROL_GROUPS / name
    return CONTROL_GROUPS


def memory_cap(limits: Limits) -> int:
    """Bytes that a cell may hold."""
    asked = limits.memory_gib
    return int(asked * 2**30 if asked else 0.8 * memory_available_bytes())


def cap_memory(cap_bytes: int) -> None:
    """Makes allocations beyond the cap fail with an error that says how much was asked for."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = cap_bytes + RESERVED_BYTES
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def children(pid: int) -> list[int]:
    """Process ids of the living children of ``pid``."""
    # Each thread lists those that it forked itself.
    texts: list[str] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                texts.append(Path(f"/proc/{pid}/task/{thread}/children").read_text("utf-8"))
    if texts:
        return [int(child) for text in texts for child in text.split()]
    with contextlib.suppress(psutil.Error):  # it is gone, or this kernel keeps no such lists
        return [child.pid for child in psutil.Process(pid).children()]
    return []


def _resident(pid: int) -> int:
    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _proportional(pid: int) -> int:
    """Resident bytes, each page divided by the number of processes that hold it."""
    with contextlib.suppress(psutil.Error, AttributeError):  # only Linux tells
        return int(psutil.Process(pid).memory_full_info().pss)
    return _resident(pid)


def _prctl(option: int, value: int) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
