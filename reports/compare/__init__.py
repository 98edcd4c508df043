"""Two sweeps compared: exact quantities digit by digit, times by statistics, cells by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reports.compare.exact import exact_lines
from reports.compare.pairing import Cell, Side, pair, read_side
from reports.compare.result import Comparison, Line
from reports.compare.times import BAR, TIME, time_lines

__all__ = ["Comparison", "Line", "compare"]


def compare(
    base: Path, head: Path, measured: Sequence[str] = (TIME,), bar: float = BAR
) -> Comparison:
    """Compares two sweeps, each a folder with records or a results.parquet.

    Args:
        measured: metrics judged by statistics; the exact ones are always compared.
        bar: the least change in a measured metric that counts, as a share.

    Raises:
        InputError: a side cannot be read, or they have no cell in common.
    """
    sides = (read_side(base), read_side(head))
    cells, notes = pair(*sides)
    shared = [cell for cell in cells if len(cell.base) and len(cell.head)]
    ok = [both for cell in shared if (both := cell.only_ok())]
    lines = [line for cell in ok for line in exact_lines(cell)]
    lines += [line for metric in measured for line in time_lines(ok, metric, bar)]
    return Comparison(
        str(base), str(head), lines,
        # What was skipped on purpose before is not missed now.
        missing=[cell.name for cell in cells if cell.head.empty
                 and not cell.base["status"].eq("skipped").all()],
        failing=[words for cell in shared if (words := _failing(cell))],
        added=[cell.name for cell in cells if cell.base.empty],
        fixed=[cell.name for cell in shared if not cell.base["status"].eq("ok").any()
               and cell.head["status"].eq("ok").any()],
        notes=[*notes, *_notes(*sides)], bar=bar,
    )  # fmt: skip


def _failing(cell: Cell) -> str:
    """The cell and its first failure, where fewer of its processes succeed than before."""
    was_ok, is_ok = (rows["status"].eq("ok") for rows in (cell.base, cell.head))
    if is_ok.mean() >= was_ok.mean():
        return ""
    worst = cell.head[~is_ok].iloc[0]
    return f"{cell.name}: {worst['status']}" + (f", {worst['reason']}" if worst["reason"] else "")


def _notes(base: Side, head: Side) -> list[str]:
    notes = [*base.left_out, *head.left_out]
    if base.values("fingerprint") != head.values("fingerprint"):
        machines = " and ".join(f"{side.told('processor')} ({side.told('fingerprint')})"
                                for side in (base, head))  # fmt: skip
        notes.append(f"The machines differ: {machines}; times are not compared.")
    a, b = (side.rows.sort_values("key", ignore_index=True) for side in (base, head))
    if a.equals(b):
        notes.append("Both sides hold the same records: an A/A comparison.")
    return notes
