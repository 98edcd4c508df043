"""What the drivers over sequences refuse, and in which words."""

from __future__ import annotations

from typing import Any

import brainstate
import braintools
import numpy as np
import pytest

import core

from . import rate_models as rate
from .cases import data_for, gradient_of, run
from .references import squared_error


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"reduce": "max"}, "expected reduce to be one of sum, mean; got 'max'."),
        (
            {"mask": np.ones((6, 3))},
            "expected a mask of shape (6,) or (6, 2), one number a step or "
            "sample; got shape (6, 3). Put time first, then the batch.",
        ),
        (
            {"reset": np.zeros((5, 2))},
            "expected resets of shape (6,) or (6, 2), one number a step or "
            "sample; got shape (5, 2). Put time first, then the batch.",
        ),
        (  # only the first sample would start anew
            {"reset": np.ones((6, 1))},
            "expected resets of shape (6,) or (6, 2), one number a step or "
            "sample; got shape (6, 1). Put time first, then the batch.",
        ),
        (
            {"has_aux": True},
            "expected (loss, aux) of a loss with has_aux, and a number without; "
            "got no tuple with has_aux=True. Set has_aux accordingly.",
        ),
        ({"mask": [[1, 1], [0]]}, "expected a mask in one array; got list."),
        ({"reset": {"a": np.ones(6)}}, "expected resets in one array; got dict."),
    ],
    ids=["reduce", "mask", "reset", "resets of one sample", "aux", "rows", "dict"],
)
def test_bad_options_are_refused(options: dict[str, Any], text: str) -> None:
    model, data = rate.LEAKY.model(), data_for()
    with pytest.raises(core.InvalidArgument) as refused:
        run(lambda: gradient_of(core.D_RTRL(model), data, **options))
    assert text in str(refused.value)


@pytest.mark.parametrize("every", [0, 7, "step", 2.0, True])
def test_an_update_interval_out_of_range_is_refused(every: Any) -> None:
    model, data = rate.LEAKY.model(), data_for()
    algo, optimizer = core.D_RTRL(model), braintools.optim.SGD(lr=0.1)
    optimizer.register_trainable_weights(model.states(brainstate.ParamState))
    with pytest.raises(core.InvalidArgument) as refused:
        core.train(algo, squared_error, *data, optimizer, update_every=every)
    assert str(refused.value) == (
        f'expected update_every to be "sequence" or 1 to 6 steps; got {every!r}. '
        "Choose a number of steps within the sequence."
    )


@pytest.mark.parametrize("drive", [core.gradient, core.evaluate], ids=["gradient", "evaluate"])
@pytest.mark.parametrize(
    ("loss", "length", "text"),
    [
        (lambda out, y: (out - y) ** 2, 6, "a loss of one number a step; got shape (2, 2). Sum"),
        (lambda out, y: ((out - y) ** 2).sum(axis=-1), 6, "one number a step; got shape (2,). Sum"),
        (lambda out, y: (squared_error(out, y), out), 6, "got a tuple with has_aux=False. Set"),
        (squared_error, 9, "of 6 steps, as the input; got leading axes [(9,)]. Put time first"),
    ],
    ids=["each output", "each sample", "aux", "targets too long"],
)
def test_a_loss_or_targets_of_another_shape_are_refused(
    drive: Any, loss: Any, length: int, text: str
) -> None:
    """Neither summed, nor cut, nor multiplied by weights of other steps, unnoticed."""
    model, xs, ys = rate.LEAKY.model(), data_for().xs, data_for(n_steps=length).ys
    algo = core.D_RTRL(model, window=2)

    def everything() -> Any:
        core.initialise(algo, xs[0])
        return drive(algo, loss, xs, ys, per_step_targets=True)

    with pytest.raises(core.InvalidArgument) as refused:
        run(everything)
    assert text in str(refused.value)


@pytest.mark.parametrize(
    ("batching", "example", "given", "text"),
    [
        (
            "single",
            np.s_[0, 0],
            np.s_[:],
            "states of shapes {'cell.h': (2, 4)} for this input; got {'cell.h': (4,)}",
        ),
        (
            "vmap",
            np.s_[0],
            np.s_[:, 0],
            "states of shapes {'cell.h': (4,)} for this input; got {'cell.h': (2, 4)}",
        ),
        (
            "vmap",
            np.s_[0],
            np.s_[:, :1],
            "states of shapes {'cell.h': (1, 4)} for this input; got {'cell.h': (2, 4)}",
        ),
        ("manual", np.s_[0], np.s_[:0], "expected a sequence of at least one step; got none."),
    ],
)
def test_another_batch_than_the_states_hold_is_refused(
    batching: str, example: Any, given: Any, text: str
) -> None:
    model, data = rate.LEAKY.model(), data_for()
    algo = core.D_RTRL(model)

    def everything() -> Any:
        core.initialise(algo, data.xs[example], batching=batching)
        xs, ys = data.xs[given], data.ys[given]
        return core.gradient(algo, squared_error, xs, ys, per_step_targets=True)

    with pytest.raises(core.InvalidArgument) as refused:
        run(everything)
    assert text in str(refused.value)


def test_inputs_that_the_compiled_dtype_cannot_hold_are_refused() -> None:
    """Spikes as whole numbers, then currents: they are not truncated."""
    model, data = rate.LEAKY.model(), data_for()
    algo = core.D_RTRL(model)

    def everything(xs: Any) -> Any:
        core.initialise(algo, np.ones_like(data.xs[0], int))
        return core.gradient(algo, squared_error, xs, data.ys, per_step_targets=True)

    run(everything, np.ones_like(data.xs, bool))
    with pytest.raises(core.InvalidArgument) as refused:
        run(everything, data.xs)
    assert str(refused.value) == (
        "expected inputs of the compiled dtypes ['int64']; got ['float64']. "
        "Call compile_graph again with inputs of this dtype."
    )


@pytest.mark.parametrize("batch", ["manual", "single"])
def test_targets_that_may_have_an_axis_of_time_are_refused_unless_it_is_said(batch: str) -> None:
    """They would be broadcast against each step's output."""
    model, data = rate.LEAKY.model(), data_for()
    xs, ys = (data.xs, data.ys) if batch == "manual" else (data.xs[:, 0], data.ys[:, 0])
    algo = core.D_RTRL(model)

    def losses(targets: Any, **options: Any) -> Any:
        core.initialise(algo, xs[0], batching=batch)
        core.gradient(algo, squared_error, xs, targets, **options)
        return core.evaluate(algo, squared_error, xs, targets, **options).losses

    with pytest.raises(core.InvalidArgument) as refused:
        run(lambda: losses(ys))
    assert str(refused.value).startswith(
        f"expected per_step_targets to be said of targets that may have an axis of time; got "
        f"targets {ys.shape} beside 6 outputs [{ys.shape[1:]}]. "
    )
    each = run(lambda: losses(ys, per_step_targets=True))
    whole = run(lambda: losses(ys, per_step_targets=False))
    assert each.shape == whole.shape == (6,)
    assert (np.asarray(whole) > np.asarray(each)).all()
    assert run(lambda: losses(ys[0])).shape == (6,)  # constant, as it looks
