"""Sparse layers: products with weights, if small; others run step by step, and are not mapped."""

from __future__ import annotations

from typing import Any

import brainstate
import brainunit as u
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core as jex
from jax.interpreters import ad, mlir

import core

from . import rate_models as rate
from .cases import N_HIDDEN, N_IN, data_for, gradient_of, run
from .references import assert_close, own_loop, relative_error, squared_error

ENTRIES = np.where(np.random.default_rng(3).random((N_IN, N_HIDDEN)) < 0.6, 0.7, 0.0)
ALGORITHMS = {
    "truncated": lambda m: core.TruncatedBPTT(m, window=6),
    "rtrl": lambda m: core.RTRL(m, window=2),
}


class Sparse(rate.Leaky):
    def __init__(self) -> None:
        brainstate.random.seed(0)
        super().__init__()
        self.cell.W = brainstate.nn.SparseLinear(
            u.sparse.CSR.fromdense(jnp.asarray(ENTRIES)), in_size=(N_IN,)
        )


class Dense(rate.Leaky):
    """The same, as it is without zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.cell.W = brainstate.nn.Linear(N_IN, N_HIDDEN, w_init=ENTRIES, b_init=None)


@pytest.mark.parametrize("make", [core.D_RTRL, core.RTRL], ids=lambda m: m.__name__)
def test_a_small_one_is_a_product(make: Any) -> None:
    """Also where brainunit 0.5.2 would transpose it wrongly."""
    data, model = data_for(), Sparse()
    brainstate.random.seed(0)
    dense = Dense()

    def everything() -> Any:
        return gradient_of(make(model), data), own_loop(dense, squared_error, data)

    (grads, losses), (wanted, wanted_losses) = run(everything)
    name = "cell.W.weight.weight"
    wanted[name] = wanted[name][np.nonzero(ENTRIES)]
    assert_close(grads, wanted, 1e-11)
    assert relative_error(losses, wanted_losses) < 1e-12


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_large_one_runs_step_by_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.lowering.foreign.MOST", 0)
    model, data = Sparse(), data_for()

    def everything() -> Any:
        algo = ALGORITHMS[name](model)
        found = gradient_of(algo, data)
        core.initialise(algo, data.xs[0])
        forward = core.evaluate(algo, squared_error, *data, per_step_targets=True)
        return found, forward.losses, own_loop(model, squared_error, data)

    (grads, losses), evaluated, (wanted, wanted_losses) = run(everything)
    if name == "rtrl":
        # brainunit 0.5.2 has a right derivative of a product with a CSR matrix, and a transpose of
        # it that orders the entries wrongly. RTRL uses both.
        del grads["cell.W.weight.weight"], wanted["cell.W.weight.weight"]
    assert_close(grads, wanted, 1e-11)
    assert relative_error(losses, wanted_losses) < 1e-12
    assert relative_error(evaluated, wanted_losses) < 1e-12


def test_mapping_it_over_samples_is_refused() -> None:
    """By a primitive that has no rule at all."""
    scale = jex.Primitive("scale_by_two")
    scale.def_abstract_eval(lambda x: x)
    mlir.register_lowering(scale, mlir.lower_fun(lambda x: 2 * x, multiple_results=False))
    ad.deflinear2(scale, lambda ct, _: [2 * ct])

    class Scaling(rate.Leaky):
        def update(self, x: Any) -> Any:
            return super().update(scale.bind(x))

    model, data = Scaling(), data_for()
    run(lambda: gradient_of(core.BPTT(model), data))
    with pytest.raises(core.NotRepresentable, match=r"scale_by_two at .* Batch manually"):
        run(lambda: gradient_of(core.BPTT(model), data, "vmap"))
