"""One algorithm a file; each file holds its own equations. Here are the names that choose."""

from __future__ import annotations

import numbers
from typing import Any

from core.algorithms.d_rtrl import D_RTRL
from core.algorithms.es_d_rtrl import FactorisedTrace
from core.analysis.graph import Graph
from core.traces.low_rank import LowRankTrace

__all__ = ["ES_D_RTRL", "IODimVjpAlgorithm", "decay_from_rank", "pp_prop"]


class ES_D_RTRL(D_RTRL):
    """Event-driven scalable D-RTRL: memory O(B (I + H)), or O(B r (I + H)) with a rank.

    Args:
      model: any brainstate module.
      decay_or_rank: a decay in [0, 1); a pair of decays for the input and the state side; or an
        integer rank of at least 1.
      window: steps per window of the sequence driver: a number, "sequence" or "auto". With a decay
        it never changes the gradient; with a rank the trace is truncated once a window.
      credit: as of D-RTRL: "window" backpropagates inside each window, and the trace carries credit
        from one to the next.
      mode: accepted for compatibility; the shapes tell.

    Raises:
      InvalidArgument: a decay outside [0, 1), a rank below 1.
    """

    def __init__(
        self,
        model: Any,
        decay_or_rank: float | tuple[float, float] | int = 0.99,
        *,
        window: int | str = "auto",
        credit: str = "trace",
        mode: Any = None,
    ) -> None:
        self._factorised: FactorisedTrace | None = None
        if isinstance(decay_or_rank, numbers.Integral) and not isinstance(decay_or_rank, bool):
            low_rank = LowRankTrace(int(decay_or_rank))
            super().__init__(model, window=window, credit=credit, trace=low_rank, mode=mode)
            return
        super().__init__(model, window=window, credit=credit, mode=mode)
        pair = decay_or_rank if isinstance(decay_or_rank, (tuple, list)) else (decay_or_rank,) * 2
        self._factorised = FactorisedTrace(pair)
        self.least_buffer = self._factorised.least_buffer

    @property
    def _rule(self) -> Any:
        """Of the traces: the factorised one, or that of D-RTRL at a rank."""
        return super() if self._factorised is None else self._factorised

    def init_traces(self, graph: Graph) -> dict[str, Any]:
        return self._rule.init_traces(graph)

    def open_traces(self, traces: Any, steps: int) -> Any:
        return traces if self._factorised else super().open_traces(traces, steps)

    def close_traces(self, traces: Any) -> Any:
        return traces if self._factorised else super().close_traces(traces)

    def follow(self, *window: Any) -> tuple[Any, Any]:
        return self._rule.follow(*window)

    def start(self, *window: Any) -> list[dict[int, Any]]:
        return self._rule.start(*window)

    def direction(self, *window: Any) -> tuple[dict[int, Any], list[Any]]:
        return self._rule.direction(*window)


def decay_from_rank(rank: int) -> float:
    """The decay that braintrace uses in place of a rank: (r - 1) / (r + 1)."""
    return (rank - 1) / (rank + 1)


pp_prop = ES_D_RTRL
IODimVjpAlgorithm = ES_D_RTRL
