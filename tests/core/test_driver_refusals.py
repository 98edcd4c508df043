"""What the drivers over sequences refuse, and in which words."""

from __future__ import annotations

from typing import Any

import brainstate
import braintools
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import core
import core.braintrace

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
        (
            "manual",
            np.s_[0],
            np.s_[:0],
            "expected at least one step, one sample and one number in each; got",
        ),
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


FLAGS = [("fresh", "no"), ("fresh", None), ("has_aux", "no"), ("outputs", []), ("outputs", 2.5)]
FLAGS += [("per_step_targets", "no"), ("fresh", np.ones(2, bool))]


@pytest.mark.parametrize(("name", "value"), FLAGS)
def test_a_flag_is_true_or_false(name: str, value: Any) -> None:
    """What is neither would be taken for one of them."""
    algo, data = core.D_RTRL(rate.LEAKY.model()), data_for()
    core.initialise(algo, data.xs[0])
    with pytest.raises(core.InvalidArgument, match=f"expected {name} to be True or False; got "):
        core.gradient(algo, squared_error, *data, **{"per_step_targets": True, name: value})


def test_a_flag_is_known_when_a_call_is_traced() -> None:
    algo, data = core.D_RTRL(rate.LEAKY.model()), data_for()
    with pytest.raises(core.InvalidArgument, match="fresh to be True or False"):
        run(lambda fresh: gradient_of(algo, data, fresh=fresh), True)


@pytest.mark.parametrize("flag", [True, np.True_, 1, jnp.array(True)])
def test_a_flag_of_any_kind_of_boolean(flag: Any) -> None:
    algo, data = core.D_RTRL(rate.LEAKY.model()), data_for()
    core.initialise(algo, data.xs[0])
    options = {"per_step_targets": flag, "outputs": flag, "fresh": flag}
    assert core.gradient(algo, squared_error, *data, **options).outputs.shape == (6, 2, 2)


def test_flags_of_the_old_names() -> None:
    data = data_for()
    with pytest.raises(core.InvalidArgument, match="vmap to be True or False"):
        core.braintrace.compile(rate.LEAKY.model(), "d_rtrl", data.xs[0], vmap="no")
    learner = core.braintrace.compile(rate.LEAKY.model(), "d_rtrl", data.xs[0], batch_size=2)
    with pytest.raises(core.InvalidArgument, match="has_aux to be True or False"):
        learner.etrace_grad(data.xs, step_fn=lambda x: learner(x).sum(), has_aux="no")
    with pytest.raises(core.InvalidArgument, match="return_outputs to be True or False"):
        learner.etrace_evolve(data.xs, return_outputs="no")


NO_NUMBERS = [np.zeros((6, 2, 3), object), "a word", (x for x in np.ones((6, 2, 3)))]


@pytest.mark.parametrize("given", NO_NUMBERS, ids=["objects", "a word", "a generator"])
def test_what_is_no_number(given: Any) -> None:
    algo, data = core.D_RTRL(rate.LEAKY.model()), data_for()
    optimizer = braintools.optim.SGD(0.1)
    optimizer.register_trainable_weights(algo.model.states(brainstate.ParamState))
    options: dict[str, Any] = {"per_step_targets": True}
    calls = {
        "inputs": [
            lambda: core.initialise(algo, given),
            lambda: algo.compile_graph(given),
            lambda: core.gradient(algo, squared_error, given, data.ys, **options),
            lambda: algo(given),
        ],
        "targets": [
            lambda: core.gradient(algo, squared_error, data.xs, given, **options),
            lambda: core.evaluate(algo, squared_error, data.xs, given),
        ],
        "inputs, targets and resets": [
            lambda: core.Stream(algo, squared_error, optimizer)(given, data.ys[0]),
            lambda: stream(data.xs[0], "a word"),
        ],
    }
    core.initialise(algo, data.xs[0])
    stream = core.Stream(algo, squared_error, optimizer)
    stream(data.xs[0], data.ys[0])
    for what, of in calls.items():
        for call in of:
            with pytest.raises(core.InvalidArgument, match=f"expected {what} of numbers and arr"):
                call()


def settled(y: Any) -> Any:
    """How often is known only when it has been done."""
    return jax.lax.while_loop(lambda a: jnp.abs(a).max() > 1, lambda a: a / 2, y)


class Turning(brainstate.nn.Module):
    """h <- h / 2 + inner(x W), read by outer."""

    def __init__(self, inner: Any, outer: Any) -> None:
        super().__init__()
        self.W = brainstate.ParamState(jnp.asarray(data_for().xs[0].T @ np.ones((2, 2))))
        self.inner, self.outer = inner, outer

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        self.h = brainstate.HiddenState(jnp.zeros((batch_size, 2)))

    def update(self, x: Any) -> Any:
        self.h.value = self.h.value / 2 + self.inner(x @ self.W.value)
        return self.outer(self.h.value)


@pytest.mark.parametrize("where", ["state", "output", "loss"])
@pytest.mark.parametrize("make", [core.BPTT, core.CheckpointedBPTT, core.RTRL, core.D_RTRL])
def test_a_loop_that_data_ends_has_no_gradient(make: Any, where: str) -> None:
    """And none is advised that has none either; run forward, it is a model like others."""
    plain, data = jnp.tanh, data_for()
    algo = make(Turning(*(settled if where == w else plain for w in ("state", "output"))))

    def loss(out: Any, y: Any) -> Any:
        return squared_error(settled(out) if where == "loss" else out, y)

    with pytest.raises(core.NotRepresentable, match=r"core\.BPTT needs that as well\.$"):
        gradient_of(algo, data, loss=loss)
    if make is core.BPTT:
        found = core.evaluate(algo, loss, *data, per_step_targets=True).losses
        assert np.isfinite(found).all()


def test_a_loop_before_which_the_gradient_stops() -> None:
    model, data = Turning(lambda y: y + settled(jax.lax.stop_gradient(y)), jnp.tanh), data_for()
    exact, online = run(lambda: [gradient_of(m(model), data) for m in (core.BPTT, core.D_RTRL)])
    np.testing.assert_allclose(online[0]["W"], exact[0]["W"], rtol=1e-12)


PYTHONS = [lambda a: a if a.sum() > 0 else -a, lambda a: a * np.asarray(a)]


@pytest.mark.parametrize("of", PYTHONS, ids=["if", "numpy"])
def test_what_needs_numbers_beforehand_is_told_how_else(of: Any) -> None:
    algo, data = core.D_RTRL(rate.LEAKY.model()), data_for()
    with pytest.raises(core.InvalidArgument, match=r"Use jnp\.where.* and jnp in place of numpy"):
        gradient_of(algo, data, loss=lambda out, y: of(out - y).sum())
    with pytest.raises(core.NotRepresentable, match=r"Use jnp\.where.* and jnp in place of numpy"):
        core.initialise(core.BPTT(Turning(of, jnp.tanh)), data.xs[0])


def test_a_model_of_64_bits_is_refused_where_jax_has_32() -> None:
    algo, data = core.D_RTRL(rate.LEAKY.model()), data_for()
    core.initialise(algo, data.xs[0])
    with jax.enable_x64(False):
        for call in (
            lambda: core.gradient(algo, squared_error, *data, per_step_targets=True),
            lambda: algo(data.xs[0]),
        ):
            with pytest.raises(core.InvalidArgument, match="the jax_enable_x64 under which"):
                call()


@pytest.mark.parametrize(("batching", "cut"), [("manual", np.s_[:5]), ("vmap", np.s_[:, :1])])
def test_inputs_of_several_lengths(batching: str, cut: Any) -> None:
    class Gated(rate.Leaky):
        def update(self, given: Any) -> Any:
            return super().update(given["x"] * given["gate"])

    algo, data = core.D_RTRL(Gated()), data_for()
    xs = {"x": data.xs, "gate": np.ones_like(data.xs)}
    core.initialise(algo, jax.tree.map(lambda a: a[0], xs), batching)
    with pytest.raises(core.InvalidArgument, match="inputs of one number of steps, and of samp"):
        core.gradient(algo, squared_error, xs | {"gate": xs["gate"][cut]}, data.ys[0])
