"""The shapes in the core's annotations can be read, and what it returns has them."""

from __future__ import annotations

import inspect
from typing import get_type_hints

import brainstate
import jax.numpy as jnp
import numpy as np

import core
import core.braintrace
import core.data
import core.nn.layers


def test_every_public_annotation_can_be_evaluated() -> None:
    looked = 0
    named = [getattr(module, name) for module in (core, core.braintrace) for name in module.__all__]
    own = [
        part
        for module in (core.data, core.nn.layers)
        for name, part in vars(module).items()
        if getattr(part, "__module__", "") == module.__name__ and not name.startswith("_")
    ]
    for part in [*named, *own]:
        members = vars(part).values() if inspect.isclass(part) else [part]
        for function in filter(inspect.isfunction, members):
            looked += bool(get_type_hints(function))
    assert looked > 100


def test_a_result_has_the_shapes_that_are_written() -> None:
    algo = core.D_RTRL(brainstate.nn.ValinaRNNCell(2, 3))
    xs = np.ones((4, 5, 2), np.float32)
    core.initialise(algo, xs[0])
    result = core.gradient(
        algo, lambda out, _: ((out**2).sum(), out.mean()), xs, has_aux=True, outputs=True
    )
    shapes = get_type_hints(core.Result)
    for name in ("losses", "outputs", "aux"):
        assert isinstance(getattr(result, name), shapes[name]), name
    assert not isinstance(jnp.ones((4, 5)), shapes["losses"])
    window = get_type_hints(core.MultiStepData)["data"]
    assert isinstance({"a": xs, "b": xs[..., 0]}, window)
    assert not isinstance({"a": xs, "b": 1.0}, window)
