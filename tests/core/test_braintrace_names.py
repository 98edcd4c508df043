"""Programs written for the public library, on the core: the same calls, and the same numbers."""

from __future__ import annotations

from typing import Any

import brainstate
import braintrace
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import core
import core.braintrace as ours

from .cases import data_for, gradient_of, run
from .rate_models import Bare
from .references import assert_close, named, relative_error, squared_error
from .test_peer import GATED, traced_operations
from .test_peer import pytestmark as pytestmark  # the same warnings of the library

CELLS = {
    "MiniGRU": (3, 4),
    "MiniLSTM": (3, 4),
    "MinimalRNNCell": (3, 4),
    "CFNCell": (3, 4),
    "LRUCell": (3, 5),
}


def test_the_same_program_has_the_same_gradient() -> None:
    data = data_for()
    mask = np.arange(len(data.xs)) % 3 != 1

    def program(library: Any, model: Any) -> Any:
        learner = library.compile(model, "D_RTRL", data.xs[0], batch_size=2, vmap=True)

        def step(x: Any, y: Any) -> Any:
            out = learner(x)
            return squared_error(out, y), out

        learner.etrace_evolve(jnp.asarray(data.xs))
        return learner.etrace_grad(
            jnp.asarray(data.xs),
            jnp.asarray(data.ys),
            step_fn=step,
            mask=mask,
            weights=model.states(brainstate.ParamState),
            has_aux=True,
            return_value=True,
        )

    own, other = GATED.model(), traced_operations(GATED.model())
    found = run(lambda: (program(ours, own), program(braintrace, other)))
    (grads, losses, outs), (their_grads, their_losses, their_outs) = found
    traced = [f"{gate}.weight.{part}" for gate in "zc" for part in ("weight", "bias")]
    mine, theirs = named(grads), named(their_grads)
    assert_close({k: mine[k] for k in traced}, {k: theirs[k] for k in traced})
    assert np.any(mine["out.weight.weight"])
    assert relative_error(losses, their_losses) < 1e-12
    assert relative_error(outs, their_outs) < 1e-12


def test_windows_and_names() -> None:
    data, model = data_for(n_steps=6), GATED.model()

    def everything() -> Any:
        learner = ours.compile(
            model, "d_rtrl", data.xs[0], batch_size=data.xs.shape[1], vjp_method="multi-step"
        )

        def step(x: Any, y: Any) -> Any:
            return jax.vmap(squared_error)(learner(core.MultiStepData(x)), y)

        xs, ys = map(jnp.asarray, data)
        chunks = learner.etrace_grad(xs, ys, step_fn=step, chunk_size=6, reduction="sum")
        algo = core.BPTT(model)
        whole = gradient_of(algo, data)
        return named(chunks), named(whole.grads)

    assert_close(*run(everything))  # one window is the whole sequence
    for name, options, words in (
        ("dni", {}, "one of BPTT, .*D_RTRL"),
        ("e_prop", {"vjp_method": "multi-step"}, "for D_RTRL"),
        ("d_rtrl", {"vmap": True}, "batch_size for vmap"),
    ):
        with pytest.raises(core.InvalidArgument, match=words):
            ours.compile(GATED.model(), name, data.xs[0], **options)


@pytest.mark.parametrize("name", CELLS)
def test_cells_are_the_librarys(name: str) -> None:
    sizes, draw = CELLS[name], np.random.default_rng(0)
    own, theirs = getattr(core.nn, name)(*sizes), getattr(braintrace.nn, name)(*sizes)
    weights = theirs.states(brainstate.ParamState)
    for path, state in own.states(brainstate.ParamState).items():
        state.value = jax.tree.map(lambda a: 0.5 * draw.normal(size=a.shape), state.value)
        weights[path].value = state.value
    xs = draw.normal(size=(2, 2, 3))
    for cell in (own, theirs):
        brainstate.nn.init_all_states(cell, batch_size=2)
    for x in xs:
        assert relative_error(own(x), theirs(x)) < 1e-12
    core.initialise(core.D_RTRL(own), xs[0])


def test_lora_and_groups() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(2, 6))
    base = [library.Linear(6, 5) for library in (core.nn, braintrace.nn)]
    pair = [
        lib.LoRA(6, 4, 5, base_module=b)
        for lib, b in zip((core.nn, braintrace.nn), base, strict=True)
    ]
    base[1].weight.value, pair[1].weight.value = base[0].weight.value, pair[0].weight.value
    assert relative_error(pair[0](x), pair[1](x)) < 1e-12
    groups = [lib.GroupedLinear(3, 2, 4) for lib in (core.nn, braintrace.nn)]
    groups[1].weight.value = groups[0].weight.value
    assert relative_error(*(g(x.reshape(2, 3, 2)) for g in groups)) < 1e-12


def test_operations() -> None:
    draw = np.random.default_rng(0)
    x, w, b = draw.normal(size=(2, 6)), draw.normal(size=(6, 5)), draw.normal(size=5)
    groups, of_groups = draw.normal(size=(2, 3, 2)), draw.normal(size=(3, 2, 4))
    calls = [
        ("matmul", (x, w, b), {"weight_fn": jnp.abs}),
        ("grouped_matmul", (groups, of_groups), {}),
        ("lora_matmul", (x, w[:, :2], w[:2]), {"alpha": 0.5, "bias": b}),
        ("element_wise", (b,), {"weight_fn": jnp.exp}),
        ("einsum", ("bi,io->bo", x, w), {"weight_fn": jnp.abs}),
        ("embedding", (np.array([3, 0]), w), {"weight_fn": jnp.tanh}),
    ]
    for name, args, options in calls:
        own, theirs = (getattr(lib, name)(*args, **options) for lib in (ours, braintrace))
        assert relative_error(own, theirs) < 1e-12


def test_cells_take_both_names_of_their_sizes() -> None:
    for cell in (core.nn.GRUCell(3, 4), core.nn.GRUCell(in_size=3, out_size=(4,))):
        assert isinstance(cell, brainstate.nn.GRUCell)
        assert cell.out_size in (4, (4,))


# -- what the sequence drivers take, and what not


def leaky_learner(library: Any, **options: Any) -> tuple[Any, Any]:
    """h = h / 2 + tanh(x W), read by R."""

    class Leaky(Bare):
        def update(self, x: Any) -> Any:
            y = library.matmul(x, self.W.value)
            self.h.value = 0.5 * self.h.value + jnp.tanh(y)
            return library.matmul(self.h.value, self.R.value)

    model = Leaky()
    data = data_for()
    return model, library.compile(model, "D_RTRL", data.xs[0], batch_size=2, **options)


def test_a_chunk_of_one_step_is_a_step() -> None:
    xs, ys = map(jnp.asarray, data_for())

    def program(library: Any) -> Any:
        model, learner = leaky_learner(library, verbose=0, fast_solve=True, name="learner")
        return named(
            learner.etrace_grad(
                xs,
                ys,
                step_fn=lambda x, y: squared_error(learner(x), y),
                chunk_size=1,
                weights=model.states(brainstate.ParamState),
            )
        )

    mine, theirs = run(lambda: (program(ours), program(braintrace)))
    assert_close({"W": mine["W"]}, {"W": theirs["W"]})


def test_windows_are_mapped_over_samples_and_not_over_time() -> None:
    """Also where a chunk has as many steps as there are samples."""
    xs, ys = map(jnp.asarray, data_for())

    def program(**options: Any) -> Any:
        _, learner = leaky_learner(ours, **options)

        def step(x: Any, y: Any) -> Any:
            return jax.vmap(squared_error)(learner(core.MultiStepData(x)), y)

        outs = learner.etrace_evolve(xs, chunk_size=2, return_outputs=True)
        return outs, named(learner.etrace_grad(xs, ys, step_fn=step, chunk_size=2))

    (outs, grads), (mapped_outs, mapped) = run(lambda: (program(), program(vmap=True)))
    assert relative_error(mapped_outs, outs) < 1e-12
    assert_close(mapped, grads)


def many(x: Any, y: Any, learner: Any) -> Any:
    """A loss for each sample."""
    return ((learner(x) - y) ** 2).sum(axis=-1)


def in_rows(x: Any, y: Any, learner: Any) -> Any:
    """Of a chunk, [K, 1], which would be broadcast against the mask."""
    return jax.vmap(squared_error)(learner(core.MultiStepData(x)), y)[:, None]


@pytest.mark.parametrize(
    ("step", "options", "words"),
    [
        (many, {}, r"a loss of shape \(\).* got shape \(2,\)"),
        (in_rows, {"chunk_size": 3}, r"a loss of shape \(3,\).* got shape \(3, 1\)"),
        (many, {"has_aux": True}, "Set has_aux accordingly"),
        (many, {"mask": np.ones((6, 2))}, r"a mask of shape \(6,\)"),
        (many, {"chunk_size": 4}, "divides the 6 of the sequences; got 4"),
        (many, {"chunk_size": 2.0}, "divides the 6 of the sequences; got 2.0"),
        (many, {"n_targets": 5}, r"lengths \[5, 6\]"),
    ],
)
def test_a_sequence_that_is_not_summed_rightly_is_refused(
    step: Any, options: dict[str, Any], words: str
) -> None:
    xs, ys = map(jnp.asarray, data_for())
    options = dict(options)
    ys = ys[: options.pop("n_targets", 6)]
    _, learner = leaky_learner(ours)
    with pytest.raises(core.InvalidArgument, match=words):
        learner.etrace_grad(xs, ys, step_fn=lambda x, y: step(x, y, learner), **options)


def test_an_option_that_an_algorithm_has_not_is_refused() -> None:
    with pytest.raises(core.InvalidArgument, match=r"options of D_RTRL, window, .*; got windw\."):
        leaky_learner(ours, windw=3)
    with pytest.raises(core.InvalidArgument, match="the first axis of all inputs; got 3 for"):
        ours.compile(leaky_learner(ours)[0], "d_rtrl", np.ones((2, 3)), batch_size=3, vmap=True)
