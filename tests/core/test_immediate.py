"""Within-step gradients against a recursion in plain NumPy, and against windows of one step."""

from __future__ import annotations

from typing import Any

import brainstate
import jax
import numpy as np

import core

from . import rate_models as rate
from .cases import Case, data_for, gradient_of, run, weights_of
from .recursions import BY_HAND, leaky_local
from .references import assert_close, named, relative_error, squared_error, within_step


@BY_HAND
def test_is_the_credit_of_each_step_alone(case: Case, local: Any) -> None:
    """g = sum_t x_t (f_t . L_t), from states that a loop in NumPy computes."""
    model, data = case.model(), data_for()
    p = weights_of(model)

    def everything(p: Any) -> Any:
        options = ({}, {"batching": "vmap"})
        found = [gradient_of(core.Immediate(model), data, **one) for one in options]
        by_windows = gradient_of(core.TruncatedBPTT(model, window=1), data)
        return found, by_windows, within_step(case.step, p, case.start(), *data)

    found, (windows, losses), everywhere = run(everything, p)
    rows = local(p, *data)
    for grads, own in found:
        for name, row in rows.items():
            wanted = np.einsum("tbi,tbsh,tbsh->ih", row.x, row.f, row.L)
            # Of the bank of a GRU's gates the recursion has the update gate's half.
            ours = np.atleast_2d(grads[name])[:, -wanted.shape[-1] :]
            assert relative_error(ours, wanted) < 1e-12
        assert_close(grads, everywhere)
        assert_close(grads, windows)
        assert relative_error(own, losses) < 1e-12


def test_nothing_of_the_past_is_credited() -> None:
    """A loss of the last step alone gives the gradient of that step from wherever it begins."""
    model, data = rate.RECURRENT.model(), data_for()
    p = weights_of(model)
    mask = np.arange(len(data.xs)) == len(data.xs) - 1
    grads, _ = run(lambda: gradient_of(core.Immediate(model), data, mask=mask))
    row = leaky_local(p, *data)
    wanted = np.einsum("bi,bsh,bsh->ih", row.x[-1], row.f[-1], row.L[-1])
    assert relative_error(grads["cell.W.weight.weight"], wanted) < 1e-12


def test_a_call_of_several_steps_credits_each_alone() -> None:
    model, data = rate.RECURRENT.model(), data_for()

    def everything() -> Any:
        found = []
        for make in (core.Immediate, core.BPTT):
            algo = make(model)
            core.initialise(algo, data.xs[0])

            def called(algo: Any = algo) -> Any:
                outs = algo(core.MultiStepData(data.xs))
                return jax.vmap(squared_error)(outs, data.ys).sum()

            weights = model.states(brainstate.ParamState)
            found.append(brainstate.transform.grad(called, weights)())
        return gradient_of(core.Immediate(model), data), *map(named, found)

    (steps, _), call, through = run(everything)
    assert_close(call, steps)
    assert relative_error(through["cell.W.weight.weight"], steps["cell.W.weight.weight"]) > 1e-3
