"""What a person sees while a sweep runs: a bar on a terminal, and one line per cell."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from bench.errors import one_line
from bench.sweep.cell import Cell

BAR_WIDTH, BESIDE_TITLE = 16, 56
PIPE_WIDTH = 160
DAY_S = 86400.0
STYLE = {"ok": "green", "skipped": "dim", "invalid": "yellow"}
SCORES = ("accuracy", "test_accuracy", "r2", "test_r2")
COLUMNS = ("step_time_ms", "latency_p50_us", "memory_peak_mib", "loss_final", *SCORES)


def console() -> Console:
    """Standard output; wide when it is a file or a pipe, whose lines nobody wraps."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


class Watcher:
    """Progress over the ``total`` cells that a sweep will run; use as a context manager."""

    def __init__(self, total: int) -> None:
        self.console = console()
        self._done, self._total = 0, total
        self._began, self._title = 0.0, ""
        self._bar = Progress(
            TextColumn("[bold]cells"),
            BarColumn(BAR_WIDTH),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
            speed_estimate_period=DAY_S,
        )
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> Watcher:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, cell: Cell) -> None:
        """A cell starts."""
        self._began, self._title = time.monotonic(), cell.title()
        self.phase("start")

    def phase(self, phase: str) -> None:
        """The running cell enters a phase."""
        room = max(0, self.console.width - BESIDE_TITLE)  # or the bar would give way
        self._bar.update(self._task, description=f"{phase}: {self._title}"[:room])

    def end(self, cell: Cell, record: Mapping[str, Any]) -> None:
        """A cell has its record."""
        self._done += 1
        self._bar.advance(self._task)
        spent = time.monotonic() - self._began
        self.say(f"[{self._done}/{self._total}] {outcome_line(cell, record)}  {spent:.1f} s")

    def say(self, text: str) -> None:
        """One line that stays."""
        self.console.print(text, markup=False, soft_wrap=True)


def outcome_line(cell: Cell, record: Mapping[str, Any]) -> str:
    """Status and the first thing one wants to know about a cell."""
    parts = [f"{record['status']:8}", cell.title()]
    step = record["metrics"].get("step_time_ms")
    if step is not None:
        parts.append(f"{step:.3g} ms/step")
    parts += [one_line(text) for text in (record["reason"], record["health"]) if text]
    return "  ".join(parts)


def closing_table(records: Sequence[tuple[str, Mapping[str, Any]]]) -> Table:
    """Cells of a sweep, by their titles, as a table."""
    table = Table(show_edge=False)
    measured = [n for n in COLUMNS if any(r["metrics"].get(n) is not None for _, r in records)]
    for name in ("cell", "status", *measured):
        table.add_column(name, justify="right" if name in COLUMNS else "left", no_wrap=True)
    for title, record in records:
        status = record["status"]
        # As they are: a setting in a title may look like markup.
        table.add_row(
            Text(title),
            Text(status, style=STYLE.get(status, "red")),
            *[_number(record["metrics"].get(name)) for name in measured],
        )
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
