"""Measures one cell in a process of its own and makes its record."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import psutil

from bench import processes
from bench.backends.base import Backend
from bench.instantiate import instantiate
from bench.sweep import launch, provenance, record
from bench.sweep.cell import Cell
from bench.sweep.folder import Folder
from bench.sweep.interpreters import packages
from bench.sweep.machine_rates import against_floor, rates_here

WORKER = "bench.cell.worker"

# What may run beside a cell that is timed again, in cores, looked at for so long.
QUIET_CORES, LOOK_S = 0.3, 0.5


def measured(
    cell: Cell, key: str, folder: Folder, on_phase: Callable[[str], None] = lambda phase: None
) -> dict[str, Any]:
    """The record of one cell, run in a process of its own unless it is skipped."""
    result = record.blank(key, cell.config.experiment, cell.row(), cell.config.plain())
    own = {**provenance.describe(cell), "load_before": _load()}
    result["provenance"] = {"wall_s": 0.0, **own}
    if reason := why_skipped(cell):
        return {**result, "status": "skipped", "reason": reason}
    beside = OtherCells(cell.config.device.platform)

    def phase_begins(phase: str) -> None:
        on_phase(phase)
        beside.phase(phase)

    launch.run_cell(cell, result, folder.cells / f"{key}.log", phase_begins)
    # Whatever a cell's process says about itself.
    result["provenance"] |= {**own, "load_after": _load()}
    if beside.most is not None:
        result["metrics"]["shared_with"] = beside.most
    if provenance.code_changed(cell):
        return {
            **result,
            "status": "invalid",
            "reason": (
                "core, bench or a plug-in was edited since the sweep began, so this is not the "
                "code that the row is filed under; the same command measures it again"
            ),
        }
    _add_floor(result, folder, cell)
    if result["status"] not in record.FINE:
        result["reason"] += f" [log: {result['log']}]"
    return result


def timed_again(cell: Cell, result: dict[str, Any], folder: Folder) -> dict[str, Any]:
    """The record with the times of another process, where those were disturbed less."""
    key, alone = result["key"], cell.having(metric={"timing": cell.config.metric["timing"]})
    again = record.blank(key, None, {}, {})
    beside, log = OtherCells(cell.config.device.platform), folder.cells / f".{key}.log"
    load = _load()
    launch.run_cell(alone, again, log, beside.phase)
    log.unlink(missing_ok=True)
    if again["status"] != "ok" or not _quieter(again["metrics"], result["metrics"]):
        return result
    record.merge(result, {part: again[part] for part in ("metrics", "samples")})
    result["metrics"]["shared_with"] = beside.most
    _add_floor(result, folder, cell)
    result["provenance"]["timed_again"] = {"load_before": load, "load_after": _load()}
    return result


def _quieter(metrics: Mapping[str, Any], than: Mapping[str, Any]) -> bool:
    now, before = (times.get("other_cores") for times in (metrics, than))
    return not metrics["contended"] or (now is not None and before is not None and now < before / 2)


def was_contended(result: Mapping[str, Any]) -> bool:
    """Whether a record holds times of a busy machine."""
    return result["status"] == "ok" and bool(result["metrics"].get("contended"))


def machine_is_quiet() -> bool:
    """Whether, at this moment, next to nothing runs here."""
    busy = psutil.cpu_percent(interval=LOOK_S) / 100 * (os.cpu_count() or 1)
    return bool(busy < QUIET_CORES)


def _add_floor(result: dict[str, Any], folder: Folder, cell: Cell) -> None:
    """Adds the machine's least time for the step's work, where that work was counted."""
    if "product_flops_per_step" in result["metrics"]:
        rates = rates_here(folder, cell)
        result["metrics"].update(against_floor(result["metrics"], rates))
        result["provenance"]["rates"] = rates


def why_skipped(cell: Cell, elsewhere: bool = False) -> str:
    """Why this cell cannot run here (or anywhere), as far as can be told without starting it."""
    platform = cell.config.device.platform
    missing = "" if elsewhere else provenance.missing_device(platform)
    backend: Backend = instantiate(cell.config.backend)
    return (
        missing
        or _unsplittable(cell)
        or backend.unsupported(cell.config, cell.choices)
        or ("" if elsewhere else _not_installed(cell, backend))
    )


def _not_installed(cell: Cell, backend: Backend) -> str:
    python, needed = cell.config.python, tuple(backend.requires)
    has = packages(python, needed)["versions"] if needed else {}
    lacks = [package for package in needed if package not in has]
    where = "the project's environment" if python is None else python
    return f"{where} lacks {', '.join(lacks)}" if lacks else ""


def _unsplittable(cell: Cell) -> str:
    devices, batch = cell.config.devices, cell.config.batch_size
    if devices > 1 and cell.config.batching.mode == "single":
        return "batching=single has no batch to split over devices"
    return f"batch_size={batch} does not split over devices={devices}" if batch % devices else ""


def _load() -> float:
    return round(psutil.getloadavg()[0], 2)


class OtherCells:
    """Looks for other cells at both ends of the phase in which a cell is timed.

    A cell takes longer than that phase, so one that runs beside it is seen at one of the ends. Only
    the processes that this one may see count: not those of another container.

    Args:
        platform: ``cpu`` or ``gpu``, the device of the cell.

    Attributes:
        most: other cells seen on the same device; None as long as nothing was timed.
    """

    def __init__(self, platform: str) -> None:
        self.most: int | None = None
        self._platform = platform
        self._timing = False

    def phase(self, name: str) -> None:
        """The cell enters a phase."""
        if self._timing or name == "timing":
            self.most = max(self.most or 0, others(self._platform))
        self._timing = name == "timing"


def others(platform: str) -> int:
    """Cells on this machine that may use the same device and were not started by this process."""
    own = set(processes.descendants(os.getpid()))
    return sum(
        WORKER in (process.info["cmdline"] or ())
        and process.pid not in own
        and _may_share(process, platform)
        for process in psutil.process_iter(["cmdline"])
    )


def _may_share(process: psutil.Process, platform: str) -> bool:
    try:
        env = process.environ()
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True  # another user's: it may
    if ("gpu" if env.get("JAX_PLATFORMS") == "cuda" else "cpu") != platform:
        return False
    if platform == "cpu":
        return True
    mine, theirs = (e.get("CUDA_VISIBLE_DEVICES") for e in (os.environ, env))
    return mine is None or theirs is None or bool(set(mine.split(",")) & set(theirs.split(",")))
