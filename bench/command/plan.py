"""What a sweep would do, shown without running anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from statistics import fmean

from rich.table import Table
from rich.text import Text

from bench.command.trial import Finding
from bench.errors import counted
from bench.sweep.cell import Cell, kind_of
from bench.sweep.folder import Folder
from bench.sweep.measure import why_skipped
from bench.sweep.progress import console
from bench.sweep.sweep import counts

NOTE_WIDTH = 200


def show(
    cells: list[Cell], findings: Mapping[int, Finding], folder: Folder, elsewhere: bool = False
) -> int:
    """Prints every cell, whether it would run, and the time that the sweep may take.

    The folder need not exist. A cell that runs elsewhere may lack its device here. Returns how many
    of the cells would crash.
    """
    table = Table(show_edge=False)
    for name in ("cell", "seed", "state", "predicted MiB", "estimated s"):
        table.add_column(name, no_wrap=name != "state")
    recorded = [counts(cell, folder.of(cell)) for cell in cells]
    past = folder.times()
    usual = fmean(past.values()) if past else 0.0
    total, states, notes = 0.0, Counter[str](), list[str]()
    for place, (cell, done) in enumerate(zip(cells, recorded, strict=True)):
        found, row = findings[place], cell.row()
        skipped, crashes = why_skipped(cell, elsewhere) or found["skipped"], found["error"]
        state = "recorded" if done else "crashes" if crashes else "runs"
        state = "skipped" if skipped else state
        why = {"skipped": skipped, "crashes": crashes}.get(state)
        guess = past.get(kind_of(row), usual) if state == "runs" else 0.0
        total += guess
        states[state] += 1
        # A reason says it all.
        predicted, note = (None, "") if skipped else (found["predicted_mib"], found["note"])
        notes += [note] if note and note not in notes else []
        table.add_row(
            Text(cell.title()),
            str(row["seed"]),
            Text(f"{state}: {why}" if why else state),
            f"{predicted:.1f}" if predicted is not None else "?" if note else "",
            f"{guess:.0f}" if guess else "",
        )
    out = console()
    out.print(table)
    for note in notes:
        out.print(f"no memory predicted: {note[:NOTE_WIDTH]}", soft_wrap=True, markup=False)
    when = "no past records to estimate from" if states["runs"] else "nothing is left to run"
    when = f"about {total:.0f} s one by one, from past records" if total else when
    out.print(
        f"{counted(len(cells), 'cell')} in {folder.path}; {when}", soft_wrap=True, markup=False
    )
    return states["crashes"]
