"""What a comparison found, and its words for a terminal, a pull request and programs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

import pandas as pd

from reports.records.columns import heading
from reports.stats import Interval
from reports.tables import Cell, Table, shown
from reports.text import one_blank_line, plural, templates

# "changed" is an alarm too: a seeded loss that moves either way means that the mathematics did.
# So is "lost": a gate whose number is gone would pass whatever happened.
Verdict = Literal["worse", "changed", "lost", "better", "cannot tell", "same"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
ALARMS = VERDICTS[:3]
MOST = 30  # lines of each kind in a text; JSON has all


@dataclass(frozen=True)
class Line:
    """One metric of one cell on both sides: the medians, and the verdict with its reason."""

    cell: str
    metric: str
    gate: Literal["exact", "measured"]  # digit by digit, or by the statistics of a clock
    verdict: Verdict
    base: float | None
    head: float | None
    change: float | None = None  # (head - base) / |base|
    low: float | None = None  # of its 95 % interval
    high: float | None = None
    p: float | None = None  # of "no further than the bar in this direction", by Holm over all lines
    detectable: float | None = None  # the smallest change for the worse that 80 of 100 cases show
    note: str = ""
    keys: tuple[str, ...] = ()  # of the records behind it, base's then head's

    @property
    def alarm(self) -> bool:
        return self.verdict in ALARMS


@dataclass(frozen=True)
class Comparison:
    """All lines; the cells that head lacks, that fail there, that only head has, that work again;
    and what is to be known about both sides.
    """

    base: str
    head: str
    bar: float  # the least change in time that counts, as a share
    lines: list[Line]
    missing: list[str] = field(default_factory=list)
    failing: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    fixed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def alarms(self) -> list[Line]:
        return [line for line in self.lines if line.alarm]

    @property
    def status(self) -> int:
        """The exit status: 1 for a regression, a newly failing or a missing cell."""
        return 1 if self.alarms or self.failing or self.missing else 0

    @property
    def groups(self) -> dict[Verdict, list[Line]]:
        """The lines by verdict, alarms first."""
        found = {v: [line for line in self.lines if line.verdict == v] for v in VERDICTS}
        return {verdict: lines for verdict, lines in found.items() if lines}

    @property
    def cells(self) -> dict[str, list[str]]:
        """What happened to whole cells, in words -> which."""
        found = {"Newly failing": self.failing, "Missing in head": self.missing,
                 "Only in head": self.added, "Works again": self.fixed}  # fmt: skip
        return {title: cells for title, cells in found.items() if cells}

    @property
    def headline(self) -> str:
        """The whole result in a sentence."""
        bad = {"regression": len(self.alarms), "newly failing cell": len(self.failing),
               "missing cell": len(self.missing)}  # fmt: skip
        said = [plural(n, what) for what, n in bad.items() if n] or ["No regression"]
        if self.alarms:
            exact = sum(line.gate == "exact" for line in self.alarms)
            said[0] += f" ({exact} exact, {len(self.alarms) - exact} in time)"
        counts = [f"{len(self.groups[v])} {v}" for v in ("same", "better", "cannot tell")
                  if v in self.groups]  # fmt: skip
        return (f"{', '.join(said)}. Of {plural(len(self.lines), 'comparison')}: "
                f"{', '.join(counts) or 'none else'}.")  # fmt: skip


def to_json(found: Comparison) -> str:
    """Everything, with null for what is no finite number."""
    data = {"status": found.status, "alarms": len(found.alarms), **asdict(found)}
    for line in data["lines"]:
        line |= {k: None for k, v in line.items() if isinstance(v, float) and not math.isfinite(v)}
    return json.dumps(data, indent=1) + "\n"


def _rendered(found: Comparison, kind: str, name: str) -> str:
    def table(lines: list[Line]) -> str:
        return Table("", "", pd.DataFrame(map(_row, lines), dtype=object)).markdown()

    template = templates("reports.compare", kind).get_template(name)
    return template.render(c=found, row=_row, table=table, most=MOST)


def _row(line: Line) -> dict[str, Cell]:
    """A line as it stands in a table; an en dash for what it has not."""

    def number(form: str, *values: float | None) -> Cell:
        return Cell("–" if None in values else form.format(*values), value=Interval(math.nan))

    return {
        "cell": Cell(line.cell),
        "metric": Cell(heading(line.metric)),
        "base": shown(line.base),
        "head": shown(line.head),
        "change": number("{:+.2%}", line.change),
        "95 % interval": number("[{:+.1%}, {:+.1%}]", line.low, line.high),
        "could have seen": number("{:.0%}", line.detectable),
        "verdict": Cell(line.verdict + (f": {line.note}" if line.note else "")),
    }


# For a terminal, for a pull request (alarms in the open, the rest folded), and for programs.
FORMATS: dict[str, Callable[[Comparison], str]] = {
    "text": lambda found: _rendered(found, "text", "compare.txt.j2") + "\n",
    "markdown": lambda found: one_blank_line(_rendered(found, "markdown", "compare.md.j2")),
    "json": to_json,
}
