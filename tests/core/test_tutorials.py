"""The tutorials' programs run, and do what they should."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import brainstate
import jax.numpy as jnp
import numpy as np
import pytest

import core

from .references import assert_close, named, relative_error
from .tutorials import batching_by_hand_and_by_vmap, batching_strategies, spiking_classifier


def test_batching_by_hand_and_by_vmap() -> None:
    """The two trainers do the same, and the loss falls."""
    found = batching_by_hand_and_by_vmap.main(
        n_steps=6, n_batch=4, n_in=8, n_hidden=10, n_out=3, n_epochs=8
    )
    manual, automatic = found["ManualBatching"], found["AutomaticBatching"]
    assert len(manual) == len(automatic) == 8
    assert relative_error(automatic, manual) < 1e-9
    assert manual[-1] < 0.9 * manual[0]


def test_batching_strategies() -> None:
    found = batching_strategies.main(n_steps=5, n_batch=3, n_in=4, n_rec=6, n_out=2)
    assert found["vmap"].shape == (5, 3, 2)
    assert relative_error(found["single"], found["vmap"][:, 0]) < 1e-12
    assert relative_error(found["sequence"], found["single"]) < 1e-12
    gradient = named(found["gradient"])
    assert len(gradient) == 6
    assert all(np.abs(np.asarray(g)).max() > 0 for g in gradient.values())


SMALL = {"n_steps": 8, "n_epochs": 6, "n_batch": 4, "n_in": 10, "n_rec": 12}


def test_the_spiking_network_as_published_never_spikes() -> None:
    """Its outputs stay at zero, and its loss at ln 10."""
    found = spiking_classifier.main(**SMALL, n_out=10)
    assert len(found["losses"]) == 6
    assert found["largest output"] == 0.0
    assert found["losses"] == pytest.approx([np.log(10)] * 6, rel=1e-12)


@pytest.mark.parametrize(
    "algorithm",
    [
        lambda m: core.IODimVjpAlgorithm(m, decay_or_rank=0.99),
        lambda m: core.pp_prop(m, decay_or_rank=2),
        lambda m: core.ParamDimVjpAlgorithm(m),
    ],
    ids=["decay", "rank", "d_rtrl"],
)
def test_the_mended_network_learns(algorithm: Any) -> None:
    found = spiking_classifier.main(
        **SMALL, n_out=3, lr=2e-2, stepped_twice=False, algorithm=algorithm
    )
    losses = found["losses"]
    assert found["largest output"] > 0.1
    assert losses[-1] < 0.8 * losses[0]
    assert sum(b < a for a, b in pairwise(losses)) >= 4


def test_the_driver_replaces_the_loop() -> None:
    """`core.gradient` on the tutorials' GRU is the tutorials' own loop."""
    brainstate.random.seed(0)
    model = batching_strategies.SimpleGRU(4, 6, 2)
    xs = brainstate.random.rand(5, 3, 4)

    def both() -> Any:
        by_hand = batching_strategies.gradient(model, xs, jnp.zeros((3, 2)))
        algo = core.D_RTRL(model)
        core.initialise(algo, xs[0], batching="vmap")
        return by_hand, core.gradient(
            algo, lambda out, y: ((out - y) ** 2).mean(), xs, jnp.zeros((3, 2))
        ).grads

    by_hand, by_driver = brainstate.transform.jit(both)()
    assert_close(named(by_driver), named(by_hand))
