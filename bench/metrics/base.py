"""What a metric is given and what it gives back.

Metrics are also imported by the parent process, which must stay free of jax and reads what their
constructors take: import it inside the methods that need it, never at the top.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

from bench.cell.run import Run


class Metric(abc.ABC):
    """One pass over a cell; built from its YAML's scalars.

    Attributes:
        reads_clock: whether the times of the pass are results.
        disturbs_clock: whether the pass leaves the process in another state for those that follow;
            it then waits until no clock is read any more.
    """

    reads_clock = False
    disturbs_clock = False

    @abc.abstractmethod
    def measure(self, run: Run) -> dict[str, Any]:
        """Parts of the record: ``{"metrics": {...}, "samples": {...}, "curves": {...}, ...}``.

        ``metrics`` are numbers or None, each named with its unit. An entry ``"invalid"`` holds the
        reason why the cell's numbers cannot be used, ``"note"`` what has to be known about them.
        """


def in_order(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """The passes as asked, but those that disturb a clock after the last one that reads it."""
    names = list(metrics)
    last = max((i for i, name in enumerate(names) if metrics[name].reads_clock), default=-1)
    early = names[: last + 1]
    waiting = [name for name in early if metrics[name].disturbs_clock]
    order = [*(name for name in early if name not in waiting), *waiting, *names[last + 1 :]]
    return {name: metrics[name] for name in order}
