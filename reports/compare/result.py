"""What a comparison found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

# "changed" is an alarm too: a seeded loss that moves either way means that the mathematics did.
# So is "lost": a gate whose number is gone would pass whatever happened.
Verdict = Literal["worse", "changed", "lost", "better", "cannot tell", "same"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
ALARMS = VERDICTS[:3]


@dataclass(frozen=True)
class Line:
    """One metric of one cell on both sides.

    Args:
        cell: the configuration in words.
        metric: column name.
        gate: "exact" (no clock, compared digit by digit) or "measured" (statistics).
        base, head: the medians.
        change: head / base - 1; None where base is zero or a side is missing.
        low, high: 95 % interval of the change; None for exact metrics.
        p: p-value of "no further than the bar in this direction", after Holm's correction over all
            measured lines.
        detectable: the smallest change for the worse that these processes show in 80 of 100 cases.
        note: why, in words.
        keys: records behind it, base's then head's.
    """

    cell: str
    metric: str
    gate: Literal["exact", "measured"]
    verdict: Verdict
    base: float | None
    head: float | None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    detectable: float | None = None
    note: str = ""
    keys: tuple[str, ...] = ()

    @property
    def alarm(self) -> bool:
        return self.verdict in ALARMS


@dataclass(frozen=True)
class Comparison:
    """All lines, the cells without a partner, and what is to be known about both sides.

    Args:
        missing: cells that base has and head has not.
        failing: cells that were ok in base and are not in head, with the reason.
        added: cells that only head has; no alarm.
        fixed: cells that failed in base and are ok in head.
        notes: differing machines, versions and settings, files that were left out.
        bar: the share that a change in a measured metric has to exceed.
    """

    base: str
    head: str
    lines: list[Line]
    missing: list[str] = field(default_factory=list)
    failing: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    fixed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    bar: float = 0.05

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
