"""BPTT against plain JAX and central differences; checkpointed and truncated."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from jax import lax

import core

from . import rate_models as rate
from . import spiking_models as spiking
from .cases import Case, data_for, gradient_of, run, weights_of
from .references import assert_close, bptt, central_differences, live, relative_error, squared_error


def test_checkpointing_changes_nothing() -> None:
    """Segments that divide the sequence (6 = 6 x 1), that do not (4), of isqrt(6), longer ones."""
    case, data = spiking.ADAPTIVE, data_for()
    model = case.model()

    def everything(p: Any) -> Any:
        segments = (1, 4, "auto", 100)
        return (
            bptt(case.step, p, case.start(), *data),
            [gradient_of(core.CheckpointedBPTT(model, segment=s), data) for s in segments],
        )

    exact, found = run(everything, weights_of(model))
    assert len(found) == 4
    for grads, losses in found:
        assert_close(grads, exact[0])
        assert relative_error(losses, exact[1]) < 1e-12


def test_truncation_cuts_between_windows() -> None:
    case, data = rate.GRU, data_for()
    model = case.model()

    def everything(p: Any) -> Any:
        def total(p: Any) -> Any:
            h, losses = case.start(), []
            for t, (x, y) in enumerate(zip(*data, strict=True)):
                if t == 4:
                    h = lax.stop_gradient(h)
                h, out = case.step(p, h, x, live, live)
                losses.append(squared_error(out, y))
            return sum(losses)

        return (
            jax.grad(total)(dict(p)),
            gradient_of(core.TruncatedBPTT(model, window=4), data),
            bptt(case.step, p, case.start(), *data),
            gradient_of(core.TruncatedBPTT(model, window=6), data),
        )

    by_hand, (truncated, _), (exact, _), (whole, _) = run(everything, weights_of(model))
    assert_close(truncated, by_hand)
    assert_close(whole, exact)
    assert relative_error(truncated["cell.Wh.weight.weight"], exact["cell.Wh.weight.weight"]) > 1e-3


@pytest.mark.parametrize("case", [rate.RECURRENT, rate.LSTM], ids=lambda c: c.name)
def test_equals_central_differences(case: Case) -> None:
    model, data = case.model(), data_for(n_steps=4)
    p = weights_of(model)

    def total(p: Any) -> Any:
        def tick(h: Any, inputs: Any) -> Any:
            h, out = case.step(p, h, inputs[0], live, live)
            return h, squared_error(out, inputs[1])

        return lax.scan(tick, case.start(), data)[1].sum()

    grads, losses = run(lambda: gradient_of(core.BPTT(model), data))
    assert relative_error(np.sum(losses), total(p)) < 1e-12
    assert_close(grads, central_differences(total, p), 1e-6)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda m: core.CheckpointedBPTT(m, segment=0), "or one of auto"),
        (lambda m: core.TruncatedBPTT(m, window="auto"), ""),
        (lambda m: core.D_RTRL(m, window=-1), "or one of auto, sequence"),
        (lambda m: core.D_RTRL(m, window=True), "or one of auto"),
    ],
    ids=["segment", "truncated", "negative", "bool"],
)
def test_windows_out_of_range_are_refused(make: Any, text: str) -> None:
    with pytest.raises(core.InvalidArgument) as refused:
        make(rate.RECURRENT.model())
    assert f"to be a positive number of steps {text}".rstrip() in str(refused.value)
    assert str(refused.value).endswith("accordingly.")
