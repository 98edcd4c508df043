"""From two paths to a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from reports.compare.exact import exact_lines
from reports.compare.pairing import Side, pair, read_side
from reports.compare.result import Comparison, Line
from reports.compare.times import decide, measured_line
from reports.noise import LEAST_BAR, noise
from reports.records.columns import SETTINGS

MEASURED = ("step_time_ms",)


def compare(
    base: Path, head: Path, measured: Sequence[str] = MEASURED, bar: float | None = None
) -> Comparison:
    """Compares two sweeps, each a folder with records or a results.parquet.

    Args:
        measured: metrics judged by statistics; the exact ones are always compared.
        bar: the least change that counts; None: 5 %, or this machine's A/A noise where it is
        larger.

    Raises:
        InputError: a side cannot be read, or they have no cell in common.
    """
    sides = (read_side(base), read_side(head))
    pairing = pair(*sides)
    bar = bar if bar is not None else max(LEAST_BAR, *(aa_noise(side.rows) for side in sides))
    exact: list[Line] = []
    timed: list[Line] = []
    missing, failing, added, fixed = [], [], [], []
    for cell, b, h in pairing.cells:
        if b is None:
            added.append(cell)
            continue
        was_ok = b["status"].eq("ok")
        if h is None:
            # What was skipped on purpose before is not missed now.
            missing += [cell] if not b["status"].eq("skipped").all() else []
            continue
        is_ok = h["status"].eq("ok")
        if was_ok.any() and not is_ok.all() and is_ok.mean() < was_ok.mean():
            worst = h[~is_ok].iloc[0]
            failing.append(
                f"{cell}: {worst['status']}" + (f", {worst['reason']}" if worst["reason"] else "")
            )
        if not was_ok.any():
            fixed += [cell] if is_ok.any() else []
        if was_ok.any() and is_ok.any():
            exact += exact_lines(cell, b[was_ok], h[is_ok], sides)
            timed += [
                line
                for metric in measured
                if (line := measured_line(cell, metric, b[was_ok], h[is_ok], sides, bar))
            ]
    return Comparison(
        str(base),
        str(head),
        [*exact, *decide(timed, bar)],
        missing,
        failing,
        added,
        fixed,
        [*pairing.notes, *_notes(sides)],
        bar,
    )


def aa_noise(rows: pd.DataFrame) -> float:
    """The share by which 95 % of pairs of processes differ in the noise experiment; 0 without
    one.
    """
    probe = rows[rows["experiment"].eq("noise") & rows["status"].eq("ok")]
    found = noise(probe, "step_time_ms", [*SETTINGS, "seed"])
    return found.ratio if found else 0.0


def _notes(sides: tuple[Side, Side]) -> list[str]:
    base, head = sides
    notes = []
    if base.values("fingerprint") != head.values("fingerprint"):
        notes.append(
            f"The machines differ: {_list(base, 'processor')} ({_list(base, 'fingerprint')}) and "
            f"{_list(head, 'processor')} ({_list(head, 'fingerprint')}); times are not compared."
        )
    if set(base.rows["key"]) == set(head.rows["key"]):
        notes.append("Both sides hold the same records: an A/A comparison.")
    return notes


def _list(side: Side, name: str) -> str:
    return ", ".join(sorted(side.values(name))) or "unknown"
