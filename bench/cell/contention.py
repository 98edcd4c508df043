"""Whether a process had the machine to itself while it was timed, as it can notice by itself."""

from __future__ import annotations

import contextlib
import resource
import time
from pathlib import Path
from typing import NamedTuple

import psutil

# Steps follow each other without a pause, so that a process alone computes nearly all the time.
LEAST_CPU = 0.85
# Other programs matter when they compute for more than this, and hardly a core is left. The
# process's own threads also take cores from each other, so that lost cores and pressure, which do
# not say to whom, are recorded and decide nothing.
MOST_OTHER_CORES, MOST_CORES = 0.15, 0.75


class Usage(NamedTuple):
    """What a process had used at one moment.

    Attributes:
        wall_s: of a clock that never goes back.
        cpu_s: seconds on a core, of all its threads together.
        switches: times that a thread had to give up its core.
        waited_s: seconds that something in the control group, or on the machine, waited for a core;
            None where the kernel does not tell.
        machine_s: seconds on a core of everybody.
    """

    wall_s: float
    cpu_s: float
    switches: int
    waited_s: float | None
    machine_s: float


def usage() -> Usage:
    """What this process has used up to now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime
    return Usage(time.perf_counter(), cpu, used.ru_nivcsw, _waited_s(), _machine_s())


def contention(
    before: Usage, after: Usage, waited_s: float = 0.0, on_gpu: bool = False
) -> dict[str, float | None]:
    """Columns about the time between two moments.

    Args:
        before, after: its ends.
        waited_s: seconds of it in which the process waited on purpose.
        on_gpu: whether the work was done elsewhere, so that the process itself idles.
    """
    wall = max(after.wall_s - before.wall_s - waited_s, 1e-9)
    switches = (after.switches - before.switches) / wall
    cpu = (after.cpu_s - before.cpu_s) / wall
    pressure = others = None
    if not waited_s:  # while this one waits it is another's turn
        others = max((after.machine_s - before.machine_s) / wall - cpu, 0.0)
        if before.waited_s is not None and after.waited_s is not None:
            pressure = (after.waited_s - before.waited_s) / wall
    full = others is not None and others + cpu > MOST_CORES * (psutil.cpu_count() or 1)
    contended = (cpu < LEAST_CPU and not on_gpu) or (
        others is not None and others > MOST_OTHER_CORES and full
    )
    return {
        "contended": contended,
        "other_cores": others,
        "cpu_per_wall": cpu,
        "involuntary_switches_per_s": switches,
        "cpu_pressure": pressure,
    }


def _machine_s() -> float:
    """Seconds that the machine's cores were in use, by others of its host (steal) as well."""
    times = psutil.cpu_times()
    return float(
        sum(times)
        - sum(getattr(times, name, 0.0) for name in ("idle", "iowait", "guest", "guest_nice"))
    )


def _waited_s() -> float | None:
    """Total of the line ``some ... total=MICROSECONDS`` of the kernel's pressure of CPUs."""
    places = [Path("/proc/pressure/cpu")]
    with contextlib.suppress(OSError, IndexError):
        own = Path("/proc/self/cgroup").read_text("utf-8").split("0::/", 1)[1].strip()
        places.insert(0, Path("/sys/fs/cgroup") / own / "cpu.pressure")
    for place in places:
        with contextlib.suppress(OSError, ValueError, IndexError):
            some = place.read_text("utf-8").splitlines()[0]
            return int(some.rpartition("total=")[2]) / 1e6
    return None
