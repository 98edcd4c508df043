"""ES-D-RTRL (pp_prop): the trace of a weight factorised into an input side and a state side.

With decays a_x, a_f in [0, 1) (usually one and the same) and t counted from 0 since the last reset:

    ex_t = a_x ex_{t-1} + x_t                               [lead, I]
    ef_t = a_f D_t ef_{t-1} + (1 - a_f) f_t                 [lead, H] for each state component
    g_t  = sum_b ex_t (x) (sum_s L_t ef_t) / (1 - a_f^{t+1})

with D_t, f_t and L_t as in D-RTRL. `core.traces.factorised` says how this follows a window.

`ES_D_RTRL(model, r)` with an integer keeps instead the best rank-r approximation of D-RTRL's trace
(`core.traces.low_rank`).

References: C. Wang et al., "BrainTrace" (ES-D-RTRL); Bellec et al., Nature Communications 11
(2020), e-prop, for the factorised eligibility.
"""

from __future__ import annotations

from typing import Any

from core.algorithms.d_rtrl import D_RTRL
from core.errors import InvalidArgument, is_whole
from core.traces.factorised import FactorisedTrace
from core.traces.low_rank import LowRankTrace


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
        super().__init__(model, window=window, credit=credit, mode=mode)
        if is_whole(decay_or_rank):
            self.past = LowRankTrace(int(decay_or_rank))
            return
        pair = decay_or_rank if isinstance(decay_or_rank, (tuple, list)) else (decay_or_rank,) * 2
        self.past = FactorisedTrace(pair)
        self.least_buffer = FactorisedTrace.least_buffer


def decay_from_rank(rank: int) -> float:
    """The decay that braintrace uses in place of a rank: (r - 1) / (r + 1).

    Raises:
      InvalidArgument: no whole number of at least 1.
    """
    if not is_whole(rank, 1):
        raise InvalidArgument("a rank of at least 1", repr(rank), "Use 1, 2, 4, ...")
    return (rank - 1) / (rank + 1)


pp_prop = ES_D_RTRL
IODimVjpAlgorithm = ES_D_RTRL
