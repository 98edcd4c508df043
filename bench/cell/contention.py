"""Whether a process had the machine to itself while it was timed, as it can notice by itself."""

from __future__ import annotations

import contextlib
import gc
import resource
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.processes import control_group

# Steps follow each other without a pause, so that a process alone computes nearly all the time.
LEAST_CPU = 0.85
# Other programs matter when they compute for more than this, and hardly a core is left. The
# process's own threads also take cores from each other, so that lost cores and pressure, which do
# not say to whom, are recorded and decide nothing.
MOST_OTHER_CORES, MOST_CORES = 0.15, 0.75


class Usage(NamedTuple):
    """What a process had used at one moment."""

    wall_s: float  # of a clock that never goes back
    cpu_s: float  # seconds on a core, of all its threads together
    switches: int  # times that a thread had to give up its core
    # Seconds that something in the control group, or on the machine, waited for a core; None where
    # the kernel does not tell.
    waited_s: float | None
    machine_s: float  # seconds on a core of everybody


def usage() -> Usage:
    """What this process has used up to now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime
    return Usage(time.perf_counter(), cpu, used.ru_nivcsw, _waited_s(), _machine_s())


def contention(
    before: Usage, after: Usage, waited_s: float = 0.0, on_gpu: bool = False
) -> dict[str, float | None]:
    """Columns about the time between two moments, but for ``waited_s`` of waiting on purpose.

    ``on_gpu``: the work was done elsewhere, so that the process itself idles.
    """
    wall = max(after.wall_s - before.wall_s - waited_s, 1e-9)
    cpu = (after.cpu_s - before.cpu_s) / wall
    pressure = others = None
    if not waited_s:  # while this one waits it is another's turn
        others = max((after.machine_s - before.machine_s) / wall - cpu, 0.0)
        if before.waited_s is not None and after.waited_s is not None:
            pressure = (after.waited_s - before.waited_s) / wall
    full = others is not None and others + cpu > MOST_CORES * (psutil.cpu_count() or 1)
    return {
        "contended": (cpu < LEAST_CPU and not on_gpu)
        or (others is not None and others > MOST_OTHER_CORES and full),
        "other_cores": others,
        "cpu_per_wall": cpu,
        "involuntary_switches_per_s": (after.switches - before.switches) / wall,
        "cpu_pressure": pressure,
    }


class Watch:
    """While steps are timed inside: garbage waits, and what else happens is noticed."""

    def __enter__(self) -> Watch:
        from bench.cell.program import compilations

        gc.collect()
        gc.disable()
        self._compilations = compilations
        self._compiled, self._before = compilations(), usage()
        return self

    def __exit__(self, *_: object) -> None:
        self._after = usage()
        self._compiled = self._compilations() - self._compiled
        gc.enable()

    def columns(self, waited_s: float = 0.0) -> dict[str, float | None]:
        """As of ``contention``."""
        import jax

        on_gpu = jax.default_backend() != "cpu"
        return contention(self._before, self._after, waited_s, on_gpu)

    def invalid(self) -> dict[str, str]:
        """Why times cannot be used, as an entry of a record's parts; empty where they can."""
        if not self._compiled:
            return {}
        return {
            "invalid": f"{self._compiled} compilations inside the timed region: "
            "its times are not those of a step"
        }


def _machine_s() -> float:
    """Seconds that the machine's cores were in use, by others of its host (steal) as well."""
    others = ("idle", "iowait", "guest", "guest_nice")
    times = psutil.cpu_times()._asdict()
    return float(sum(seconds for name, seconds in times.items() if name not in others))


def _waited_s() -> float | None:
    """Total of the line ``some ... total=MICROSECONDS`` of the kernel's pressure of CPUs."""
    for place in (control_group() / "cpu.pressure", Path("/proc/pressure/cpu")):
        with contextlib.suppress(OSError, ValueError, IndexError):
            some = place.read_text("utf-8").splitlines()[0]
            return int(some.rpartition("total=")[2]) / 1e6
    return None
