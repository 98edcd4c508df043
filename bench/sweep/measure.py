"""Measures one cell in a process of its own and makes its record."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

import psutil

from bench.backends.base import Backend
from bench.instantiate import instantiate
from bench.sweep import launch, provenance, record
from bench.sweep.cell import Cell
from bench.sweep.folder import Folder
from bench.sweep.machine_rates import against_floor, rates_here
from bench.sweep.other_cells import OtherCells
from bench.sweep.progress import Watcher

# What may run beside a cell that is timed again, in cores, looked at for so long.
QUIET_CORES, LOOK_S = 0.3, 0.5


def measured(cell: Cell, key: str, folder: Folder, watcher: Watcher) -> dict[str, Any]:
    """The record of one cell, run in a process of its own unless it is skipped."""
    result = record.blank(key, cell.config.experiment, cell.row(), cell.config.plain())
    result["provenance"] = {
        **provenance.describe(cell),
        "identity": cell.identity(provenance.environment_of(cell)),
        "identity_anywhere": identity_anywhere(cell),
        "load_before": _load(),
    }
    reason = why_skipped(cell)
    if reason:
        result["provenance"]["wall_s"] = 0.0
        return {**result, "status": "skipped", "reason": reason}
    other_cells = OtherCells(cell.config.device.platform)

    def on_phase(phase: str) -> None:
        watcher.phase(phase)
        other_cells.phase(phase)

    outcome = launch.run_cell(cell, folder.cells / f"{key}.log", on_phase)
    own = result["provenance"]
    record.merge(result, outcome.parts)
    result["provenance"].update(own)  # whatever a cell's process says about itself
    if other_cells.most is not None:
        result["metrics"]["shared_with"] = other_cells.most
    result["provenance"].update(
        load_after=_load(), wall_s=round(outcome.wall_s, 3), phases=outcome.phases
    )
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
    reason = outcome.reason
    if outcome.status not in record.FINE:
        reason = f"{reason} [log: {result['log']}]"
    return {**result, "status": outcome.status, "reason": reason}


def timed_again(
    cell: Cell, result: dict[str, Any], folder: Folder, watcher: Watcher
) -> dict[str, Any]:
    """The record with the times of another process, where those were disturbed less."""
    key, timing = result["key"], cell.config.metric["timing"]
    alone = cell.having(metric={"timing": timing})
    other_cells, log = OtherCells(cell.config.device.platform), folder.cells / f".{key}.again.log"
    load = _load()
    outcome = launch.run_cell(alone, log, other_cells.phase)
    log.unlink(missing_ok=True)
    metrics = outcome.parts.get("metrics", {})
    if outcome.status != "ok" or not _quieter(metrics, result["metrics"]):
        return result
    record.merge(result, {part: outcome.parts.get(part, {}) for part in ("metrics", "samples")})
    result["metrics"]["shared_with"] = other_cells.most
    _add_floor(result, folder, cell)
    result["provenance"]["timed_again"] = {"load_before": load, "load_after": _load()}
    return result


def _quieter(metrics: Mapping[str, Any], than: Mapping[str, Any]) -> bool:
    now, before = (times.get("other_cores") for times in (metrics, than))
    return not metrics["contended"] or (now is not None and before is not None and now < before / 2)


def was_contended(result: Mapping[str, Any] | None) -> bool:
    """Whether a record holds times of a busy machine."""
    return (
        result is not None and result["status"] == "ok" and bool(result["metrics"].get("contended"))
    )


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
    python = cell.config.python
    lacks = [package for package in backend.requires if not provenance.has(python, package)]
    where = "the project's environment" if python is None else python
    return f"{where} lacks {', '.join(lacks)}" if lacks else ""


def _unsplittable(cell: Cell) -> str:
    devices, batch = cell.config.devices, cell.config.batch_size
    if devices > 1 and cell.config.batching.mode == "single":
        return "batching=single has no batch to split over devices"
    return f"batch_size={batch} does not split over devices={devices}" if batch % devices else ""


def identity_anywhere(cell: Cell) -> str:
    return cell.identity(provenance.software_of(cell))


def _load() -> float | None:
    with contextlib.suppress(OSError, AttributeError):
        return round(os.getloadavg()[0], 2)
    return None
