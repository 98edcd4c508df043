"""Every model of conf/ trains with a trace, and the spiking ones spike in every layer."""

from __future__ import annotations

import brainstate
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

import core
from bench.backends.base import spiking_layers
from bench.command.cli import CONF
from bench.instantiate import instantiate

MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
SILENT = {"lif_snn"}  # as published
pytestmark = pytest.mark.usefixtures("kept")

SMOOTH = {"gru", "lru", "lstm", "rtu"}


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_is_trained_and_spikes(name: str) -> None:
    node = yaml.safe_load((CONF / "model" / f"{name}.yaml").read_text())
    xs = (np.random.default_rng(0).random((12, 2, 20)) < 0.5).astype(float)
    with jax.enable_x64(True), brainstate.environ.context(precision=64, dt=1.0 * u.ms):
        brainstate.random.seed(0)
        model = instantiate(node, n_in=20, n_hidden=24, n_out=3, n_layers=2)
        algo = core.D_RTRL(model, window=1)
        layers = spiking_layers(model)

        def loss(out: jax.Array, _: None) -> tuple[jax.Array, list[jax.Array]]:
            return (out**2).sum(), [jnp.mean(node.get_spike()) for node in layers.values()]

        def both() -> core.Result:
            core.initialise(algo, xs[0])
            return core.gradient(algo, loss, xs, outputs=True, has_aux=True)

        found = brainstate.transform.jit(both)()
    assert found.outputs.shape == (12, 2, 3)
    assert len(layers) == (0 if name in SMOOTH else 2)
    spikes = [np.asarray(rate).mean() for rate in found.aux]
    if name in SILENT:
        assert not any(spikes)
    else:
        assert all(0 < rate < 1 for rate in spikes), spikes
        assert all(np.asarray(g).any() for g in jax.tree.leaves(found.grads)), found.grads


def test_time_constants_scatter_around_the_one_that_is_asked_for() -> None:
    node = {"_target_": "bench.models.lif_net.LIFNet", "tau_mem": 10.0, "tau_spread": 0.3}
    with brainstate.environ.context(dt=1.0 * u.ms):
        brainstate.random.seed(0)
        model = instantiate(node, n_in=2, n_hidden=4000, n_out=2)
    logs = np.log(u.get_magnitude(model.layers[0].neuron.tau))
    assert logs.mean() == pytest.approx(np.log(10), abs=0.02)
    assert logs.std() == pytest.approx(0.3, abs=0.02)
