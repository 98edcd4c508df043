"""Measures one cell in a process of its own and makes its record."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from bench import bounds, processes
from bench.backends.base import Backend
from bench.errors import kind_and_words
from bench.instantiate import instantiate
from bench.sweep import launch, provenance, record
from bench.sweep.cell import Cell
from bench.sweep.folder import Folder
from bench.sweep.interpreters import packages
from bench.sweep.machine_rates import against_floor, rates_here

# What may run beside a cell that is timed again, in cores, looked at for so long.
QUIET_CORES, LOOK_S = 0.3, 0.5


def measured(
    cell: Cell, folder: Folder, on_phase: Callable[[str], None] = lambda phase: None
) -> dict[str, Any]:
    """The record of one cell, run in a process of its own unless it is skipped."""
    result = record.blank(cell.key, cell.config.experiment, cell.row(), cell.config.plain())
    try:
        _measure(cell, result, folder, on_phase)
    except Exception as error:  # costs its own row alone
        why = f"not measured: {kind_and_words(error)}"
        result |= {"status": "crashed", "reason": why}
    return result


def _measure(
    cell: Cell, result: dict[str, Any], folder: Folder, on_phase: Callable[[str], None]
) -> None:
    own = provenance.describe(cell.config)
    own |= {"identity": cell.identity, "identity_anywhere": cell.identity_anywhere}
    result["provenance"] = {"wall_s": 0.0, **own}
    if reason := why_skipped(cell):
        result |= {"status": "skipped", "reason": reason}
        return
    _run(cell, result, folder.cells / f"{cell.key}.log", on_phase)
    result["provenance"] |= own  # whatever a cell's process says about itself
    if provenance.code_changed(cell.config):
        result["status"], result["provenance"]["edited"] = "invalid", True
        result["reason"] = (
            "core, bench or a plug-in was edited since the sweep began, so this is not the "
            "code that the row is filed under; the same command measures it again"
        )
        return
    _add_floor(result, folder, cell)
    if result["status"] not in record.FINE:
        result["reason"] += f" [log: {result['log']}]"


def timed_again(cell: Cell, result: dict[str, Any], folder: Folder) -> dict[str, Any]:
    """The record with the times of another process, where those were disturbed less."""
    again, log = record.blank(result["key"], None, {}, {}), folder.cells / f".{result['key']}.log"
    alone = cell.having(metric={name: cell.config.metric[name] for name in cell.clocks})
    _run(alone, again, log, lambda phase: None)
    log.unlink(missing_ok=True)
    if again["status"] != "ok" or not _quieter(again["metrics"], result["metrics"]):
        return result
    record.merge(result, {part: again[part] for part in ("metrics", "samples")})
    _add_floor(result, folder, cell)
    loads = {name: again["provenance"][name] for name in ("load_before", "load_after")}
    result["provenance"]["timed_again"] = loads
    return result


def _run(cell: Cell, result: dict[str, Any], log: Path, on_phase: Callable[[str], None]) -> None:
    """Fills a record with what comes of the cell, and what else the machine did.

    Other cells are looked for at both ends of the phase in which this one is timed: a cell takes
    longer than that phase.
    """
    load, beside, timing, clocks = _load(), list[int](), False, cell.clocks

    def phase_begins(phase: str) -> None:
        nonlocal timing
        on_phase(phase)
        if timing or phase in clocks:
            beside.append(others(cell.config.device.platform))
        timing = phase in clocks

    launch.run_cell(cell, result, log, phase_begins)
    result["provenance"] |= {"load_before": load, "load_after": _load()}
    if beside:
        result["metrics"]["shared_with"] = max(beside)


def _quieter(metrics: Mapping[str, Any], than: Mapping[str, Any]) -> bool:
    now, before = (times.get("other_cores") for times in (metrics, than))
    return not metrics["contended"] or (now is not None and before is not None and now < before / 2)


def was_contended(cell: Cell, result: Mapping[str, Any]) -> bool:
    """Whether a record holds times of a busy machine, which can be taken once more."""
    busy = result["status"] == "ok" and result["metrics"].get("contended")
    return bool(busy and cell.clocks)


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
    return str(
        missing
        or _unsplittable(cell)
        or backend.unsupported(cell.config, cell.choices)
        or ("" if elsewhere else _not_installed(cell, backend))
    )


def _not_installed(cell: Cell, backend: Backend) -> str:
    bounds.check("backend.requires", backend.requires, tuple)
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


def others(platform: str) -> int:
    """Cells on this machine that may use the same device and were not started by this process.

    Those of another container are not seen.
    """
    own = set(processes.descendants(os.getpid()))
    found = [p for p in psutil.process_iter(["cmdline", "environ"]) if p.pid not in own]
    cells = [p.info["environ"] for p in found if launch.WORKER in (p.info["cmdline"] or ())]
    return sum(_may_share(env, platform) for env in cells)


def _may_share(env: Mapping[str, str] | None, platform: str) -> bool:
    if env is None:
        return True  # another user's: it may
    if ("gpu" if env.get("JAX_PLATFORMS") == "cuda" else "cpu") != platform:
        return False
    if platform == "cpu":
        return True
    mine, theirs = (e.get("CUDA_VISIBLE_DEVICES") for e in (os.environ, env))
    return mine is None or theirs is None or bool(set(mine.split(",")) & set(theirs.split(",")))
