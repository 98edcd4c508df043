"""Memory of a training step: XLA's account, the measured peak, and the eligibility traces."""

import ctypes
import gc
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.bounds import NotNegative
from bench.metrics.base import Metric, Run

MIB = 2**20

# Options of glibc's mallopt.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
REHEARSALS = 5

# A peak may fall short of the temporaries by the larger of these, for pages and alignment.
SHORT_MIB, SHORT_FRACTION = 2.0, 0.1


@dataclass
class Memory(Metric):
    """A pass of its own: one step from arguments to outputs above an idle baseline."""

    of_process = True

    # The allocator's thresholds cannot be given back to glibc's own adaptation.
    disturbs_clock = True

    disagree_above: NotNegative = 0.25  # fraction by which the peak may differ from XLA's account
    slack_mib: NotNegative = 8.0  # MiB by which they may always differ

    def measure(self, run: Run) -> dict[str, Any]:
        largest = run.stepper.largest()
        account, total = largest.memory(), largest.memory_total()
        peak, source = _peak_of_step(run)
        peak_mib = None if peak is None else peak / MIB
        traces = run.trainee.trace_bytes(_first(run))
        return {
            "metrics": {
                "memory_xla_mib": total,
                "memory_temp_mib": account["temp"],
                "memory_peak_mib": peak_mib,
                "etrace_mib": sum(traces.values()) / MIB,
                "window_steps": run.trainee.window_steps(_first(run)),
            },
            "traces": traces,
            "memory": {
                "source": source,
                "xla": account,
                "peak_mib": peak_mib,
                "disagreement": self._disagreement(peak_mib, total, account["temp"]),
            },
        }

    def _disagreement(self, peak: float | None, account: float, temp: float) -> str:
        if peak is None:
            return ""
        # A step holds its temporaries: a smaller peak missed pages that were resident before.
        if peak < temp - max(SHORT_MIB, SHORT_FRACTION * temp):
            return f"measured peak {peak:.1f} MiB, below XLA's temporaries of {temp:.1f} MiB"
        allowed = max(self.slack_mib, self.disagree_above * account)
        if abs(peak - account) <= allowed:
            return ""
        return f"measured peak {peak:.1f} MiB, XLA's account {account:.1f} MiB"


def _first(run: Run) -> np.ndarray:
    """Inputs like those one call gets: [T, B, I], or [T, I] sample by sample."""
    xs = run.batch[0]
    return xs[:, 0] if run.config.batching.mode == "single" else xs


def _peak_of_step(run: Run) -> tuple[int | None, str]:
    """Bytes that one step holds at most, arguments included, and where the number comes from."""
    if run.device_peak is not None:
        return run.device_peak, "device peak of the process up to its first step"
    if not sys.platform.startswith("linux"):
        return None, "not measured on this system"
    import jax

    from bench.cell.stepper import timed

    _show_blocks_to_the_kernel()
    for _ in range(REHEARSALS):
        # Copies and conversions compile small programs the first time, and every heap that a
        # step's blocks are freed to gives its free top back.
        timed(run.stepper, *_arguments(run))
    baseline = _settled()
    # Until the copies are made, what they are made from is held as well.
    arguments = jax.block_until_ready(_arguments(run))
    _settled()
    # Resets the high-water mark to what is resident now; making the arguments held more.
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    timed(run.stepper, *arguments)
    return max(0, _status_bytes("VmHWM") - baseline), "VmHWM above VmRSS before the arguments"


def _arguments(run: Run) -> tuple[Any, Any]:
    """Copies of a step's arguments, which then count above a baseline taken before."""
    from bench.cell.trees import owned

    return owned(run.initial), owned(run.stepper.prepare(*run.batch))


def _status_bytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


def _settled() -> int:
    """Resident bytes once garbage is collected and free blocks within heaps are given back."""
    gc.collect()
    getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)(0)
    return _status_bytes("VmRSS")


def _show_blocks_to_the_kernel() -> None:
    """Has large blocks mapped, and free heap tops given back, so that no block reuses them unseen.

    ``malloc_trim`` alone leaves what is free at the top of the heaps of other threads, where a
    step's blocks usually lie. Where the C library is not glibc, nothing is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda *_: None)
    mallopt(M_MMAP_THRESHOLD, resource.getpagesize())
    mallopt(M_TRIM_THRESHOLD, 0)
