"""Full RTRL is BPTT, whatever the network and the window; its trace is what it says."""

from __future__ import annotations

from typing import Any

import pytest

import core

from . import rate_models as rate
from . import spiking_models as spiking
from .cases import Case, data_for, gradient_of, run, weights_of
from .references import assert_close, bptt, relative_error

CASES = [
    (rate.GRU, 1),
    (rate.LSTM, 3),
    (rate.STACKED, 3),
    (rate.LATE, 1),
    (spiking.ADAPTIVE, 3),
    (spiking.LEAKY_READOUT, 1),
]


@pytest.mark.parametrize(("case", "window"), CASES, ids=lambda v: getattr(v, "name", v))
def test_equals_bptt(case: Case, window: int) -> None:
    model, data = case.model(), data_for()

    def everything(p: Any) -> Any:
        return (
            bptt(case.step, p, case.start(), *data),
            gradient_of(core.RTRL(model, window=window), data),
        )

    (exact, losses), (grads, own_losses) = run(everything, weights_of(model))
    assert_close(grads, exact)
    assert relative_error(own_losses, losses) < 1e-12


def test_the_trace_holds_states_times_parameters() -> None:
    case, data = rate.RECURRENT, data_for()
    model = case.model()
    algo = core.RTRL(model)

    def n_bytes() -> int:
        core.initialise(algo, data.xs[0])
        return sum(algo.trace_bytes.values())

    n_states = case.start()["h"].size
    n_parameters = sum(w.size for w in weights_of(model).values())
    assert run(n_bytes) == 8 * n_states * n_parameters
