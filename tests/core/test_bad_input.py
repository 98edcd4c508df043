"""Bad input gets one sentence, before any work."""

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
from .references import assert_close, squared_error


def cross_entropy(out: Any, label: Any) -> Any:
    return braintools.metric.softmax_cross_entropy_with_integer_labels(out, label).mean()


@pytest.mark.parametrize(
    ("xs", "targets", "loss", "text"),
    [
        (np.s_[:], np.zeros(5, int), cross_entropy, "and target [(5,)]; got"),
        (np.s_[:], np.zeros((2, 2)), cross_entropy, "and target [(2, 2)]; got"),
        (np.s_[:], np.zeros(2), cross_entropy, "must be int. Give xs with time first, and targets"),
        (np.s_[:, :0], np.zeros(0, int), cross_entropy, "at least one step, one sample"),
        ("batch first", np.zeros(2, int), cross_entropy, "Put time first, then the batch."),
    ],
    ids=["number of labels", "one-hot", "labels of floats", "batch of 0", "batch first"],
)
def test_data_of_another_shape(xs: Any, targets: Any, loss: Any, text: str) -> None:
    data = data_for()
    given = np.swapaxes(data.xs, 0, 1) if isinstance(xs, str) else data.xs[xs]
    algo = core.D_RTRL(rate.LEAKY.model())

    def everything() -> Any:
        core.initialise(algo, data.xs[0])
        return core.gradient(algo, loss, given, targets)

    with pytest.raises(core.InvalidArgument) as refused:
        run(everything)
    assert text in str(refused.value)


@pytest.mark.parametrize(
    ("loss", "text"),
    [(lambda out, y: None, "got NoneType"), (lambda out, y: (out > y).sum(), "got int64")],
    ids=["nothing", "a count"],
)
def test_a_loss_without_a_gradient(loss: Any, text: str) -> None:
    data = data_for()
    algo = core.D_RTRL(rate.LEAKY.model())

    def everything() -> Any:
        return gradient_of(algo, data, loss=loss)

    with pytest.raises(core.InvalidArgument, match=text):
        run(everything)


def test_what_a_loss_returns_beside_its_value_is_one_thing() -> None:
    data, algo = data_for(), core.BPTT(rate.LEAKY.model())
    core.initialise(algo, data.xs[0])
    with pytest.raises(core.InvalidArgument, match="got a tuple of 3 with has_aux=True"):
        core.gradient(
            algo,
            lambda out, y: (squared_error(out, y), out, y),
            data.xs,
            data.ys,
            per_step_targets=True,
            has_aux=True,
        )


@pytest.mark.parametrize("xs", [None, 1.0, np.ones((0, 2, 3))])
@pytest.mark.parametrize("every", ["sequence", 1])
def test_training_on_no_sequence(xs: Any, every: Any) -> None:
    model, data = rate.LEAKY.model(), data_for()
    algo, optimizer = core.D_RTRL(model), braintools.optim.SGD(0.1)
    optimizer.register_trainable_weights(model.states(brainstate.ParamState))
    core.initialise(algo, data.xs[0])
    with pytest.raises(
        core.InvalidArgument, match=r"inputs of one number of steps|at least one step"
    ):
        core.train(algo, squared_error, xs, data.ys, optimizer, update_every=every)


def test_a_sequence_in_the_place_of_a_step() -> None:
    data = data_for()
    with pytest.raises(core.InvalidArgument, match=r"got TypeError, for inputs \[\(6, 2, 3\)\]"):
        core.initialise(core.D_RTRL(rate.GRU.model()), data.xs)


def test_states_that_are_missing() -> None:
    with pytest.raises(core.InvalidArgument, match=r"got AttributeError.* core\.initialise"):
        core.D_RTRL(rate.GRU.model()).compile_graph(data_for().xs[0])


def test_an_algorithm_around_an_algorithm() -> None:
    with pytest.raises(core.InvalidArgument, match="got BPTT"):
        core.D_RTRL(core.BPTT(rate.GRU.model()))


@pytest.mark.parametrize("rank", [0, 0.9, "2"])
def test_a_rank_that_is_none_has_no_decay(rank: Any) -> None:
    with pytest.raises(core.InvalidArgument, match="a rank of at least 1"):
        core.decay_from_rank(rank)


@pytest.mark.parametrize("data", [None, 1.0, "abc", [[1.0, 2.0]]])
def test_windows_of_what_has_no_steps(data: Any) -> None:
    with pytest.raises(core.InvalidArgument, match="MultiStepData of one common length"):
        core.data.split_steps([core.MultiStepData(data)])


def test_hits_are_counted_without_a_gradient() -> None:
    data = data_for()
    algo = core.D_RTRL(rate.LEAKY.model())
    core.initialise(algo, data.xs[0])
    found = core.evaluate(
        algo, lambda out, y: (out > y).sum(), data.xs, data.ys, per_step_targets=True
    )
    np.testing.assert_array_equal(found.losses, (found.outputs > data.ys).sum((1, 2)))


def test_an_optimizer_of_another_kind() -> None:
    import optax

    data = data_for()
    with pytest.raises(core.InvalidArgument, match=r"braintools.optim.OptaxOptimizer"):
        core.train(core.BPTT(rate.LEAKY.model()), squared_error, data.xs, data.ys, optax.sgd(0.1))
    kind = braintools.optim.SGD
    with pytest.raises(core.InvalidArgument, match="got the class SGD"):
        core.train(core.BPTT(rate.LEAKY.model()), squared_error, data.xs, data.ys, kind)


@pytest.mark.parametrize(
    "norm", [0, -1.0, np.float64("nan"), [1.0], np.ones(2), 1j, True, {}, jnp.array(-1.0)]
)
def test_a_norm_to_clip_to_is_positive(norm: Any) -> None:
    """A negative one would turn every gradient around."""
    model, data = rate.LEAKY.model(), data_for()
    optimizer = braintools.optim.SGD(0.1)
    optimizer.register_trainable_weights(model.states(brainstate.ParamState))
    with pytest.raises(core.InvalidArgument, match="clip_norm to be a positive number or None"):
        core.train(core.BPTT(model), squared_error, data.xs, data.ys, optimizer, clip_norm=norm)


@pytest.mark.parametrize("register", [False, True])
def test_an_optimizer_that_holds_no_weights(register: bool) -> None:
    data, optimizer = data_for(), braintools.optim.Adam(lr=0.1)
    if register:
        optimizer.register_trainable_weights({})
    for every in ("sequence", 2):
        with pytest.raises(core.InvalidArgument, match=r"got Adam without any\."):
            core.train(
                core.BPTT(rate.LEAKY.model()),
                squared_error,
                data.xs,
                data.ys,
                optimizer,
                update_every=every,
            )


def test_an_optimizer_that_holds_other_weights() -> None:
    """Those of a model made anew would be updated in the place of the ones that were asked for."""
    data, model = data_for(), rate.LEAKY.model()
    weights = model.states(brainstate.ParamState)
    first = dict(list(weights.items())[:1])
    for held, came in (
        (rate.LEAKY.model().states(brainstate.ParamState), "got SGD without cell"),
        (first, "got SGD without"),
        ({"own": weights, "more": rate.LEAKY.model().states(brainstate.ParamState)}, "another"),
    ):
        optimizer = braintools.optim.SGD(0.1)
        optimizer.register_trainable_weights(held)
        with pytest.raises(core.InvalidArgument, match=came):
            core.train(core.BPTT(model), squared_error, data.xs, data.ys, optimizer)


@pytest.mark.parametrize("seed", ["a", 1.5, None, True, 2**63])
@pytest.mark.parametrize(
    "algorithm", [core.D_RTRL, core.SnAp, core.EProp, core.OTTT, core.OTPE, core.UORO]
)
def test_a_seed_is_an_integer(algorithm: Any, seed: Any) -> None:
    with pytest.raises(core.InvalidArgument, match="expected seed to be an integer"):
        algorithm(brainstate.nn.GRUCell(3, 4), seed=seed)


@pytest.mark.parametrize("size", [0, -1, "two", 2.5, True])
def test_a_batch_of_the_old_names_has_a_size(size: Any) -> None:
    with pytest.raises(core.InvalidArgument, match="batch_size to be a positive number"):
        core.braintrace.compile(None, "d_rtrl", np.zeros((2, 3)), batch_size=size)


@pytest.mark.parametrize("algorithm", [None, 3, dict])
def test_an_algorithm_of_the_old_names_is_one(algorithm: Any) -> None:
    with pytest.raises(core.InvalidArgument, match="the name or the class of an algorithm"):
        core.braintrace.compile(None, algorithm, np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("start", "write", "text"),
    [
        (lambda: brainstate.HiddenState(jnp.zeros((2, 4))), lambda a, h: 0.0, r"\[2,4\].*\[\]"),
        (lambda: brainstate.ShortTermState(jnp.zeros(())), lambda a, h: h, r"\[\].*\[2,4\]"),
        (
            lambda: brainstate.ShortTermState(jnp.zeros((2, 4), int)),
            lambda a, h: a + h,
            "int.*float",
        ),
        (lambda: brainstate.HiddenState(jnp.zeros((2, 4), bool)), lambda a, h: a + 1, "bool.*int"),
    ],
    ids=["a number", "an array", "integers", "booleans"],
)
@pytest.mark.parametrize("make", [core.BPTT, core.D_RTRL])
def test_a_state_of_another_shape_or_dtype_after_a_step(
    make: Any, start: Any, write: Any, text: str
) -> None:
    class Net(brainstate.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.W = brainstate.ParamState(jnp.ones((3, 4)))

        def init_state(self, batch_size: int | None = None, **_: Any) -> None:
            self.h, self.a = brainstate.HiddenState(jnp.zeros((batch_size, 4))), start()

        def update(self, x: Any) -> Any:
            self.h.value = 0.5 * self.h.value + x @ self.W.value
            self.a.value = write(self.a.value, jax.lax.stop_gradient(self.h.value))
            return self.h.value

    with pytest.raises(core.NotRepresentable, match=f"to leave the state a as .*{text}"):
        core.initialise(make(Net()), np.ones((2, 3)))


@pytest.mark.parametrize(
    ("x", "batching"),
    [
        ([0.1, 0.2], "manual"),
        (None, "manual"),
        ((np.float64(0.5), np.ones((2, 3))), "vmap"),
        ((np.ones((3, 3)), np.ones((2, 3))), "vmap"),
    ],
)
def test_an_input_without_a_batch(x: Any, batching: str) -> None:
    with pytest.raises(core.InvalidArgument, match=r"an input of arrays \[B, \.\.\.\]"):
        core.initialise(core.D_RTRL(rate.GRU.model()), x, batching)


def test_a_number_beside_an_input_belongs_to_all_samples() -> None:
    class Gained(rate.Leaky):
        def update(self, given: Any) -> Any:
            return super().update(given["gain"] * given["x"])

    brainstate.random.seed(0)
    model, data, gain = Gained(), data_for(), np.linspace(0.5, 2, 6)
    algo, xs = core.D_RTRL(model), {"gain": gain, "x": data.xs}

    def gradients() -> Any:
        core.initialise(algo, jax.tree.map(lambda a: a[0], xs))
        mask, options = np.ones((6, 2)), {"per_step_targets": True}
        found = core.gradient(algo, squared_error, xs, data.ys, mask=mask, **options)
        plain = core.D_RTRL(rate.Leaky())
        for path, weight in plain.model.states(brainstate.ParamState).items():
            weight.value = model.states()[path].value
        scaled = data._replace(xs=gain[:, None, None] * data.xs)
        return found, gradient_of(plain, scaled)

    (found, _), (wanted, _) = run(gradients)
    assert_close(found, wanted)


@pytest.mark.parametrize("what", ["mask", "reset"])
@pytest.mark.parametrize("given", [np.full(6, np.nan), np.full(6, 1j), "all"])
def test_steps_are_chosen_by_finite_numbers(what: str, given: Any) -> None:
    algo, data = core.D_RTRL(rate.LEAKY.model()), data_for()
    with pytest.raises(core.InvalidArgument, match=r"of finite numbers; got NaN"):
        run(lambda: gradient_of(algo, data, **{what: given}))


@pytest.mark.parametrize("what", ["mask", "reset"])
def test_a_single_sample_has_no_axis_of_samples(what: str) -> None:
    """Its inputs would be taken for one."""
    algo, data = core.D_RTRL(rate.LEAKY.model()), data_for()
    xs, ys = data.xs[:, 0], data.ys[:, 0]
    core.initialise(algo, xs[0], batching="single")
    given = {what: np.ones(xs.shape)}
    with pytest.raises(core.InvalidArgument, match=r"of shape \(6,\), one number a step"):
        core.gradient(algo, squared_error, xs, ys, per_step_targets=True, **given)


def test_inputs_are_given_without_their_names() -> None:
    algo, data = core.D_RTRL(rate.LEAKY.model()), data_for()
    core.initialise(algo, data.xs[0])
    for call in (algo, algo.compile_graph):
        with pytest.raises(core.InvalidArgument, match=r"got flag by name\. Leave the name out"):
            call(data.xs[0], flag=False)


@pytest.mark.parametrize("algo", [rate.LEAKY.model(), core.D_RTRL], ids=["a model", "a class"])
def test_what_is_no_algorithm(algo: Any) -> None:
    data = data_for()
    calls = (
        lambda: core.initialise(algo, data.xs[0]),
        lambda: core.gradient(algo, squared_error, *data),
        lambda: core.evaluate(algo, squared_error, *data),
        lambda: core.Stream(algo, squared_error, braintools.optim.SGD(0.1)),
    )
    for call in calls:
        with pytest.raises(core.InvalidArgument, match=r"an algorithm around a model; got"):
            call()
