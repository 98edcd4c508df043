"""The rank form of ES-D-RTRL: D-RTRL's trace at rank r."""

from __future__ import annotations

from typing import Any

import brainstate
import numpy as np
import pytest

import core

from . import rate_models as rate
from . import spiking_models as spiking
from .cases import N_HIDDEN, N_IN, Case, Data, data_for, gradient_of, run
from .references import assert_close, named, relative_error


@pytest.mark.parametrize(
    ("case", "full", "window"),
    [(rate.RECURRENT, min(N_IN + N_HIDDEN, N_HIDDEN), 4), (spiking.ADAPTIVE, N_IN + N_HIDDEN, 1)],
    ids=lambda v: getattr(v, "name", None),
)
def test_full_rank_is_d_rtrl(case: Case, full: int, window: int) -> None:
    """min(I, H S): 4 of (7, 4) for one state per neuron, 7 of (7, 8) for two."""
    model, data = case.model(), data_for()

    def everything() -> Any:
        options = [(full, window), (full + 3, "auto"), (2, 1)]
        return (
            gradient_of(core.D_RTRL(model), data),
            [gradient_of(core.ES_D_RTRL(model, r, window=k), data) for r, k in options],
        )

    (exact, losses), (*enough, less) = run(everything)
    assert len(enough) == 2
    for grads, own_losses in enough:
        assert_close(grads, exact, 1e-11)  # a QR and an SVD a step
        assert relative_error(own_losses, losses) < 1e-12
    name = next(n for n in exact if n.endswith(("W.weight.weight", "comm.weight.weight")))
    assert relative_error(less[0][name], exact[name]) > 1e-6
    for readout in ("out.weight.weight", "out.weight.bias"):
        assert relative_error(less[0][readout], exact[readout]) < 1e-12


def test_the_error_does_not_rise_with_the_rank() -> None:
    """Median over seeds of the relative error of the recurrent weight, ranks 1 to 4."""
    model = rate.RECURRENT.model()
    weights = model.states(brainstate.ParamState)
    ranks = (1, 2, 3, 4)

    @brainstate.transform.jit
    def gradients(xs: Any, ys: Any) -> Any:
        data = Data(xs, ys)
        return (
            gradient_of(core.D_RTRL(model), data).grads,
            [gradient_of(core.ES_D_RTRL(model, r, window=1), data).grads for r in ranks],
        )

    found = []
    for seed in range(11):
        other = rate.RECURRENT.model(seed).states(brainstate.ParamState)
        for path, state in weights.items():
            state.value = other[path].value
        exact, approximate = gradients(*data_for(seed, n_steps=15))
        name = "cell.W.weight.weight"
        found.append([relative_error(named(g)[name], named(exact)[name]) for g in approximate])
    medians = np.median(found, axis=0)
    assert np.asarray(found).shape == (11, 4)
    assert (np.diff(medians) <= 0).all(), medians
    assert medians[0] > 1e-3
    assert medians[-1] < 1e-11


def test_the_trace_is_as_small_as_described() -> None:
    """B r (I + S H) numbers, where D-RTRL has B I S H."""
    model = spiking.ADAPTIVE.model()
    data = data_for()
    low, full = core.ES_D_RTRL(model, 2), core.D_RTRL(model)

    def bytes_of(algo: Any) -> int:
        core.initialise(algo, data.xs[0])
        return algo.trace_bytes[name]

    def bytes_of_both() -> Any:
        return bytes_of(low), bytes_of(full)

    name = "synapse.comm.weight.weight"
    batch, n_in = data.xs.shape[1], N_IN + N_HIDDEN
    assert run(bytes_of_both) == (
        8 * batch * 2 * (n_in + 2 * N_HIDDEN),
        8 * batch * (n_in + 1) * 2 * N_HIDDEN,  # and its bias
    )


def test_a_rank_below_one_is_refused() -> None:
    with pytest.raises(core.InvalidArgument, match="expected a rank of at least 1; got 0"):
        core.ES_D_RTRL(rate.RECURRENT.model(), 0)


def test_decay_from_rank() -> None:
    assert [core.decay_from_rank(r) for r in (1, 2, 19)] == [0.0, 1 / 3, 0.9]
