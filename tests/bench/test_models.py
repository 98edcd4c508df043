"""Every model of conf/ trains with a trace, and the spiking ones spike."""

from __future__ import annotations

import brainstate
import brainunit as u
import jax
import numpy as np
import pytest
import yaml

import core
from bench.command.cli import CONF
from bench.instantiate import instantiate

MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
SILENT = {"lif_snn"}  # as published


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_gets_a_gradient(name: str) -> None:
    node = yaml.safe_load((CONF / "model" / f"{name}.yaml").read_text())
    xs = (np.random.default_rng(0).random((10, 2, 20)) < 0.5).astype(float)
    with jax.enable_x64(True), brainstate.environ.context(precision=64, dt=1.0 * u.ms):
        brainstate.random.seed(0)
        model = instantiate(node, n_in=20, n_hidden=12, n_out=3, n_layers=1)
        algo = core.D_RTRL(model, window=4)

        def both() -> tuple[object, object]:
            core.initialise(algo, xs[0])
            found = core.gradient(algo, lambda out, _: (out**2).sum(), xs, outputs=True)
            return found.grads, found.outputs

        grads, outputs = brainstate.transform.jit(both)()
    assert outputs.shape == (10, 2, 3)
    if name not in SILENT:
        assert all(np.any(g) for g in jax.tree.leaves(grads)), grads
