"""Figures with their intervals in words, and tables of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from reports.stats import ALPHA, OWN, STUDENT, Interval
from reports.text import escape_markdown, plural, short


def between(value: Interval) -> str:
    """A figure with its interval, whatever that is of."""
    ends = short(value.low), short(value.high)
    known = value.low == value.low and ends[0] != ends[1]
    return f"{short(value.centre)} ({ends[0]} to {ends[1]})" if known else short(value.centre)


def kind(value: Interval, n: int, of: str, more: str = "") -> str:
    """What the interval of a figure is, in words."""
    count = plural(n, of, more)
    if value.kind == OWN:
        return f"{count}; {short(value.low)} to {short(value.high)} within it (95 %)"
    return f"{count}, {value.kind}{' interval' * (value.kind == STUDENT)}" if value.kind else count


def change(ratio: Interval) -> str:
    """A ratio of times in words: "25 % slower (20 to 30 %)", "3.2 × the time (3.1 to 3.3)"."""
    at = ratio.centre
    if not 0.5 < at < 2:
        first, *rest = between(ratio).split(" ", 1)
        return " ".join([first, "× the time", *rest])
    sign = 1 if at > 1 else -1
    ends = sorted(100 * sign * (end - 1) for end in (ratio.low, ratio.high))
    low, high = (f"{end:.0f}" for end in ends)
    span = f" ({low} to {high} %)" if ratio.low == ratio.low and low != high else ""
    return f"{100 * abs(at - 1):.0f} % {'slower' if at > 1 else 'faster'}{span}"


def probability(p: float) -> str:
    """ "p = 0.012", "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {short(p, 2, ALPHA)}"


def listed(names: Sequence[str], word: str = "and", most: int = 4) -> str:
    """ "a, b and c"; of many the first and how many more there are."""
    names = list(names)
    if len(names) > most + 1:
        return f"{', '.join(names[:most])} {word} {len(names) - most} more"
    return f" {word} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


class Cell(str):
    """A text, with what shows when the pointer rests on it, how it is marked, and its number."""

    tip: str
    mark: str
    value: Interval | None

    def __new__(
        cls, text: str, tip: str = "", mark: str = "", value: Interval | None = None
    ) -> Cell:
        made = super().__new__(cls, text)
        made.tip, made.mark, made.value = tip, mark, value
        return made


def shown(value: Interval | float | None, tip: str = "", after: str = "") -> Cell:
    """A figure with its interval, but for that of a single process."""
    if not isinstance(value, Interval):
        value = Interval(math.nan if value is None else float(value))
    if value.kind == OWN:
        value = Interval(value.centre)
    return Cell(between(value) + after * (value.centre == value.centre), tip, value=value)


@dataclass(frozen=True)
class Table:
    """Cells under their heads; `notes` stand below. One without a row is false."""

    name: str
    title: str
    cells: pd.DataFrame
    notes: Sequence[str] = ()

    def __bool__(self) -> bool:
        return len(self.cells) > 0

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers and their intervals alone, to be set flush right."""
        return [all(cell.value for cell in cells) for _, cells in self.cells.items()]

    def csv(self) -> str:
        """Numbers with all their digits, beside them the ends of intervals and what is marked *."""
        data = {}
        for head, cells in self.cells.items():
            data[head or "standing"] = [cell.value.centre if cell.value else cell for cell in cells]
            ends = [cell.value or Interval(math.nan) for cell in cells]
            if any(end.low == end.low for end in ends):
                data |= {f"{head}_lo": [e.low for e in ends], f"{head}_hi": [e.high for e in ends]}
            starred = [bool(cell.value) and cell.endswith("*") for cell in cells]
            data |= {f"{head}_contended": starred} if any(starred) else {}
        return pd.DataFrame(data).to_csv(index=False)

    def markdown(self) -> Markup:
        """A GitHub table, its cells escaped, what is marked as the start in bold."""

        def text(cell: Cell) -> str:
            return f"**{escape_markdown(cell)}**" if cell.mark == "start" else escape_markdown(cell)

        rule = ["---:" if number else "---" for number in self.numeric]
        rows = [map(text, row) for row in self.cells.to_numpy()]
        lines = [map(escape_markdown, self.cells), rule, *rows]
        return Markup("\n".join(f"| {' | '.join(line)} |" for line in lines))


def tabulate(
    name: str, title: str, rows: Iterable[dict[str, str]], notes: Sequence[str] = ()
) -> Table:
    """A table of rows (head -> text or Cell) without the columns that say nothing in any."""
    cells = pd.DataFrame([{head: c if isinstance(c, Cell) else Cell(c) for head, c in row.items()}
                          for row in rows], dtype=object)  # fmt: skip
    empty = [head for head in cells.columns[1:] if cells[head].isin(["", "–"]).all()]
    return Table(name, title, cells.drop(columns=empty), notes)
