"""Linux process plumbing: memory of a tree of processes, and ending all of it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Makes orphaned descendants children of this process, so that they can be found and ended."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Asks the kernel to end this process when its parent ends, however that happens.

    Args:
        parent: process id of the expected parent; if it is gone already this process exits now.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def descendants(pid: int) -> list[int]:
    """Process ids of all living descendants of ``pid``, nearest first."""
    found: list[int] = []
    for child in _children(pid):
        found += [child, *descendants(child)]
    return found


def resident_bytes(pid: int) -> int:
    """Bytes of memory that ``pid`` and its descendants hold, shared pages counted once each."""
    return sum(_resident(p) for p in [pid, *descendants(pid)])


def end_tree(pid: int) -> None:
    """Ends ``pid``, its process group and every descendant at once. Nothing of it is reaped."""
    tree = [pid, *descendants(pid)]
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for member in tree:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(member, signal.SIGKILL)


def end_adopted(known: set[int]) -> None:
    """Ends and reaps children of this process that are not in ``known``: a cell's leftovers."""
    while strays := [child for child in _children(os.getpid()) if child not in known]:
        for stray in strays:
            end_tree(stray)
        for stray in strays:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(stray, 0)


def children() -> set[int]:
    """Process ids of this process' children."""
    return set(_children(os.getpid()))


def memory_available_bytes() -> int:
    """Bytes of memory on this machine that a process may hold, a container's limit included.

    A job of a cluster has its limit in a control group of its own, or in one above it.
    """
    total = psutil.virtual_memory().total
    root = Path("/sys/fs/cgroup")
    own = root
    with contextlib.suppress(OSError, IndexError):
        # Version 2 has one line, 0::/path/of/the/group.
        own = root / Path("/proc/self/cgroup").read_text("utf-8").split("0::/", 1)[1].strip()
    for group in (own, *own.parents):
        if group.is_relative_to(root):
            with contextlib.suppress(OSError, ValueError):
                total = min(total, int((group / "memory.max").read_text(encoding="utf-8")))
    return total


def _children(pid: int) -> list[int]:
    # Each thread lists the children that it forked itself.
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        texts = []
        for thread in threads:
            with contextlib.suppress(OSError):
                texts.append(Path(f"/proc/{pid}/task/{thread}/children").read_text("utf-8"))
        return [int(child) for text in texts for child in text.split()]
    except OSError:
        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(pid).children()]
        return []


def _resident(pid: int) -> int:
    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _prctl(option: int, value: int) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
