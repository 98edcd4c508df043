"""D-RTRL is BPTT with two cuts, on every kind of network and for every window."""

from __future__ import annotations

from typing import Any

import brainstate
import numpy as np
import pytest

import core

from . import rate_models as rate
from . import spiking_models as spiking
from .cases import Case, data_for, gradient_of, run
from .references import assert_close, bptt, cut_bptt, errors, named, relative_error

CASES = [
    rate.RNN, rate.GRU, rate.MGU, rate.LSTM, rate.LEAKY, rate.STACKED, rate.LATE,
    spiking.DELTA, spiking.HARD, spiking.ADAPTIVE, spiking.EXPONENTIAL, spiking.LEAKY_READOUT,
    spiking.RESET_AT_ONCE,
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_equals_bptt_with_two_cuts(case: Case) -> None:
    model, data = case.model(), data_for()
    p = named(model.states(brainstate.ParamState))

    def everything(p: Any) -> Any:
        by_hand = (case.step, p, case.start(), *data)
        return {
            "cut": cut_bptt(*by_hand),
            "bptt": bptt(*by_hand),
            "core, one window": gradient_of(core.D_RTRL(model, window="sequence"), data),
            "core, windows of 3": gradient_of(core.D_RTRL(model, window=3), data),
            "core, bptt": gradient_of(core.BPTT(model), data),
        }

    found = run(everything, p)
    cut, losses = found["cut"]
    for name in ("core, one window", "core, windows of 3"):
        assert_close(found[name][0], cut)
        assert relative_error(found[name][1], losses) < 1e-12
    assert_close(found["core, bptt"][0], found["bptt"][0])
    # The cuts matter exactly where the recurrence is more than element-wise.
    furthest = max(errors(cut, found["bptt"][0]).values())
    assert furthest < 1e-12 if case.element_wise else furthest > 1e-3
    assert np.isfinite(np.asarray(losses)).all()
