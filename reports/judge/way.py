"""One way of computing at one setting: what it costs, what it learned, what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from reports.judge.cost import Time
from reports.judge.learning import Learned
from reports.stats import Interval

_ALGOS = ["bptt", "bptt_checkpointed", "bptt_truncated", "rtrl", "d_rtrl", "es_d_rtrl", "immediate"]
_BATCHINGS = ["manual", "vmap", "single"]


@dataclass(frozen=True, eq=False)
class Way:
    """A way at one setting."""

    name: str  # algorithm with its options, and batching and library where they vary
    method: str  # without batching: it decides what is learned
    variant: str  # the algorithm with its options alone
    algo: str
    batching: str
    backend: str
    keys: tuple[str, ...]  # of the records that ran
    failed: Mapping[str, int]  # status -> how many of its records here did not get through
    time: Time | None
    memory: Interval | None  # [MiB]
    learned: Learned | None
    medians: Mapping[str, float]  # of every metric over the records that ran
    traced: bool  # it carries a trace, as its sequence is longer than one window
    flaw: str  # why its training is not healthy
    # (status, sizes) of other settings where it did not get through at all.
    fails_at: tuple[tuple[str, str], ...]

    @property
    def place(self) -> tuple[int, int, str]:
        """Where it stands among others: the same in every table, legend and tie."""
        algo, batching = [*_ALGOS, self.algo], [*_BATCHINGS, self.batching]
        return algo.index(self.algo), batching.index(self.batching), self.name

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
