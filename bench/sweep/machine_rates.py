"""This machine's limits, which ``bench.cell.machine_rates`` measures, and a step beside them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import child
from bench.bounds import is_number
from bench.sweep import launch, provenance, record
from bench.sweep.cell import Cell
from bench.sweep.folder import Folder

RATES = ("product_flops_per_s", "copy_bytes_per_s")
TIMEOUT_S = 120.0

# By the files they are kept in. What was busy or failed in this process is empty: not every cell
# of a sweep has to wait for that again.
_known: dict[Path, dict[str, Any]] = {}


def rates_here(folder: Folder, cell: Cell) -> dict[str, Any]:
    """Ranges of the rates of a large product and a large copy here, and when they were measured.

    They are measured once a sweep, after its first cell, and kept in a file for each machine and
    precision, so that a resumed sweep and merged folders use those of the machine that a cell ran
    on. Empty where that fails, or the machine was busy all the while: the next sweep tries again.
    """
    name = (
        f"{provenance.fingerprint(cell.config)}-{cell.choices['device']}-{cell.config.dtype}.json"
    )
    path = folder.path / "rates" / name
    if path in _known:
        return _known[path]
    found: Any = None
    with contextlib.suppress(OSError, record.Corrupt):
        found = record.load(path)
    if not _are_rates(found):
        found = _measured(cell)
        with contextlib.suppress(OSError):
            if found:
                path.parent.mkdir(exist_ok=True)
                record.write_json(path, found)
    _known[path] = found
    return found


def _are_rates(found: Any) -> bool:
    """Whether these are ranges of both rates, whoever wrote the file."""
    ranges = [found.get(rate) for rate in RATES] if isinstance(found, dict) else [None]
    return all(
        isinstance(ends, list) and len(ends) == 2 and all(is_number(e) and e > 0 for e in ends)
        for ends in ranges
    )


def against_floor(metrics: Mapping[str, Any], rates: Mapping[str, Any]) -> dict[str, float | None]:
    """The least time for a step's work at these rates, as a range, and the step's time over it.

    It is the larger of two times: the step's matrix products at the rate of one large product, and
    its arguments and outputs at the rate of one large copy.
    """
    work = [metrics.get(name) for name in ("product_flops_per_step", "moved_bytes_per_step")]
    if None in work:
        return {}
    least, most, step_ms = None, None, metrics.get("step_time_low_ms")
    if rates:
        least, most = (
            1e3 * max(amount / rates[rate][end] for amount, rate in zip(work, RATES, strict=True))
            for end in (1, 0)
        )

    def over(floor: float | None) -> float | None:
        return step_ms / floor if step_ms and floor else None

    return {
        "floor_ms": least,
        "floor_ms_lo": least,
        "floor_ms_hi": most,
        "limit_ratio": over(least),
        "limit_ratio_lo": over(most),
        "limit_ratio_hi": over(least),
    }


def _measured(cell: Cell) -> dict[str, Any]:
    config, module = cell.config, "bench.cell.machine_rates"
    env = launch.environment(config)
    answers, _ = child.asked(module, config.dtype, env, TIMEOUT_S, config.python)
    return answers[-1] if answers and _are_rates(answers[-1]) else {}
