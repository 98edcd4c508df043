"""Whether a process had the machine to itself while it was timed, as it can notice by itself."""

from __future__ import annotations

import contextlib
import resource
import time
from pathlib import Path
from typing import NamedTuple

# A process alone on its cores is hardly ever made to wait. One that shares a core loses it every
# few milliseconds, for as long: at this rate a tenth of the time is gone, and more.
SWITCHES_PER_S = 30.0
# Steps follow each other without a pause, so that a process alone computes nearly all the time.
LEAST_CPU = 0.85
# Share of the time that somebody waited for a core; threads of the process itself do at times.
MOST_PRESSURE = 0.2


class Usage(NamedTuple):
    """What a process had used at one moment.

    Attributes:
        wall_s: of a clock that never goes back.
        cpu_s: seconds on a core, of all its threads together.
        switches: times that a thread had to give up its core.
        waited_s: seconds that something in the control group, or on the machine, waited for a core;
            None where the kernel does not tell.
    """

    wall_s: float
    cpu_s: float
    switches: int
    waited_s: float | None


def usage() -> Usage:
    """What this process has used up to now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(time.perf_counter(), used.ru_utime + used.ru_stime, used.ru_nivcsw, _waited_s())


def contention(before: Usage, after: Usage, waited_s: float = 0.0, on_gpu: bool = False
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
    pressure = None
    if before.waited_s is not None and after.waited_s is not None and not waited_s:
        pressure = (after.waited_s - before.waited_s) / wall
    contended = (switches > SWITCHES_PER_S or (cpu < LEAST_CPU and not on_gpu)
                 or (pressure is not None and pressure > MOST_PRESSURE))
    return {"contended": contended, "involuntary_switches_per_s": switches, "cpu_per_wall": cpu,
            "cpu_pressure": pressure}


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
