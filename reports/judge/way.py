"""One way of computing at one setting: what it costs, what it learned, what is wrong with it."""

from __future__ import annotations

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
        ok: how many did.
        failed: status -> how many of its records here did not get through.
        fails_at: (status, sizes) of other settings where it did not get through at all.
        time: None where it was not timed.
        memory: [MiB] None where it was not measured.
        learned: None where nothing was trained.
        cosine: of its gradient to BPTT's, median; nan where it was not compared.
        window: steps computed at once; nan where the record does not tell.
        flaw: why its training is not healthy, "" where it is.
    """

    name: str
    method: str
    variant: str
    algo: str
    batching: str
    backend: str
    keys: tuple[str, ...]
    ok: int
    failed: Mapping[str, int]
    fails_at: tuple[tuple[str, str], ...]
    time: Time | None
    memory: Interval | None
    learned: Learned | None
    cosine: float
    window: float
    flaw: str

    @property
    def mib(self) -> float:
        return self.memory.centre if self.memory else float("nan")

    @property
    def ms(self) -> float:
        return self.time.ms.centre if self.time else float("nan")
