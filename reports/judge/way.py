"""One way of computing at one setting: what it costs, what it learned, what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from reports.judge.cost import Time
from reports.judge.learning import Learned
from reports.stats import Interval


@dataclass(frozen=True, eq=False)
class Way:
    """A way at one setting.

    Args:
        name: algorithm with its options, and batching and library where they vary.
        method: the name without batching, which decides what is learned.
        variant: the algorithm with its options alone.
        keys: of the records that ran.
        failed: status -> how many of its records here did not get through.
        fails_at: (status, sizes) of other settings where it did not get through at all.
        time: None where it was not timed.
        memory: [MiB] None where it was not measured.
        learned: None where nothing was trained.
        medians: of every metric over the records that ran.
        traced: it carries a trace, as its sequence is longer than one window.
        flaw: why its training is not healthy, "" where it is.
    """

    name: str
    method: str
    variant: str
    algo: str
    batching: str
    backend: str
    keys: tuple[str, ...]
    failed: Mapping[str, int]
    fails_at: tuple[tuple[str, str], ...]
    time: Time | None
    memory: Interval | None
    learned: Learned | None
    medians: Mapping[str, float]
    traced: bool
    flaw: str

    @property
    def ok(self) -> int:
        """How many of its records ran."""
        return len(self.keys)

    @property
    def lost(self) -> int:
        return sum(self.failed.values())

    def median(self, metric: str) -> float:
        """nan where it was not recorded."""
        return self.medians.get(metric, math.nan)

    @property
    def cosine(self) -> float:
        """Of its gradient to BPTT's; nan where it was not compared."""
        return self.median("grad_cosine")

    @property
    def mib(self) -> float:
        return self.memory.centre if self.memory else math.nan

    @property
    def ms(self) -> float:
        return self.time.ms.centre if self.time else math.nan

    @property
    def contended(self) -> bool:
        return self.time is not None and self.time.contended

    @property
    def against(self) -> Interval | None:
        """Its time over BPTT's by turns in one process, where load cannot have moved it."""
        return self.time.against if self.time else None

    @property
    def moved(self) -> Interval | None:
        """That ratio where load may have moved it: told, and compared with no other."""
        return self.time.moved if self.time else None
