"""Two sweeps compared: exact quantities digit by digit, times by statistics, cells by name."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from reports.compare.exact import exact_lines
from reports.compare.pairing import RATIO, TIME, Cell, pair, read_side, told
from reports.compare.result import FORMATS, Comparison, Line
from reports.compare.times import BAR, time_lines

__all__ = ["BAR", "FORMATS", "Comparison", "Line", "compare"]


def compare(base: Path, head: Path, bar: float = BAR) -> Comparison:
    """Compares two sweeps, each a folder with records or a results.parquet.

    Args:
        bar: the least change in time that counts, as a share.

    Raises:
        InputError: a side cannot be read, or they have no cell in common.
    """
    (before, left_out), (after, left_out_too) = read_side(base), read_side(head)
    cells, notes = pair(before, after)
    shared = [cell for cell in cells if len(cell.base) and len(cell.head)]
    ok = [both for cell in shared if (both := cell.only_ok())]
    lines = [line for cell in ok for line in exact_lines(cell)]
    lines += [line for metric in (TIME, RATIO) for line in time_lines(ok, metric, bar)]
    status = [(cell.name, *cell.column("status")) for cell in cells]
    return Comparison(
        str(base), str(head), bar, lines,
        # What was skipped on purpose before is not missed now.
        missing=[name for name, b, h in status if not len(h) and any(b != "skipped")],
        failing=[words for cell in shared if (words := _failing(cell))],
        added=[name for name, b, _ in status if not len(b)],
        fixed=[name for name, b, h in status if len(b) and "ok" not in b and "ok" in h],
        notes=[*notes, *left_out, *left_out_too, *_machines(before, after)],
    )  # fmt: skip


def _failing(cell: Cell) -> str:
    """The cell and its first failure, where fewer of its processes succeed than before."""
    was_ok, is_ok = (status == "ok" for status in cell.column("status"))
    if is_ok.mean() >= was_ok.mean():
        return ""
    status, reason = (cell.column(name)[1][~is_ok][0] for name in ("status", "reason"))
    return f"{cell.name}: {status}" + (f", {reason}" if reason else "")


def _machines(*sides: pd.DataFrame) -> list[str]:
    """A note where the two were measured on different machines."""
    facts = [[", ".join(told(side[fact]) if fact in side else []) or "unknown" for side in sides]
             for fact in ("env.processor", "env.fingerprint")]  # fmt: skip
    words = " and ".join(f"{processor} ({mark})" for processor, mark in zip(*facts, strict=True))
    same = facts[1][0] == facts[1][1]
    return [] if same else [f"The machines differ: {words}; times are not compared."]
