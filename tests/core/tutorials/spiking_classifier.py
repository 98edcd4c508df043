"""A current-driven spiking network on random spikes, under ES-D-RTRL.

As published the neurons are stepped a second time, without input, when the readout asks for their
spikes; then they never fire, and the loss stays at ln(classes). `stepped_twice=False` mends it.

    python -m tests.core.tutorials.spiking_classifier
"""

from __future__ import annotations

from typing import Any

import brainstate
import braintools
import brainunit as u
import jax
import jax.numpy as jnp

import core


class SpikingNet(brainstate.nn.Module):
    """Input and own spikes -> current -> LIF neurons -> leaky readout."""

    def __init__(self, n_in: int, n_rec: int, n_out: int, stepped_twice: bool) -> None:
        super().__init__()
        self.stepped_twice = stepped_twice
        self.linear = core.nn.Linear(
            n_in + n_rec,
            n_rec,
            w_init=braintools.init.KaimingNormal(unit=u.mA),
            b_init=braintools.init.ZeroInit(unit=u.mA),
        )
        self.neuron = core.nn.LIF(
            n_rec,
            tau=20.0 * u.ms,
            # One step of a slow membrane takes in a twentieth of the current.
            R=(1.0 if stepped_twice else 20.0) * u.ohm,
            V_th=1.0 * u.mV,
            V_reset=0.0 * u.mV,
            V_rest=0.0 * u.mV,
            spk_fun=braintools.surrogate.ReluGrad(),
            spk_reset="soft",
        )
        self.readout = core.nn.LeakyRateReadout(
            n_rec, n_out, tau=20.0 * u.ms, w_init=braintools.init.KaimingNormal()
        )

    def update(self, spikes: jax.Array) -> jax.Array:
        x = jnp.concatenate([spikes, self.neuron.get_spike()], axis=-1)
        out = self.neuron(self.linear(x))
        return self.readout(self.neuron() if self.stepped_twice else out)


def main(
    n_steps: int = 50,
    n_epochs: int = 50,
    n_batch: int = 32,
    n_in: int = 50,
    n_rec: int = 128,
    n_out: int = 10,
    lr: float = 1e-3,
    seed: int = 0,
    stepped_twice: bool = True,
    algorithm: Any = None,
) -> dict[str, Any]:
    """Losses by epoch, and the largest output ever seen.

    Args:
      algorithm: model -> algorithm; ES-D-RTRL with a decay of 0.99 by default.
    """
    brainstate.random.seed(seed)
    with brainstate.environ.context(dt=1.0 * u.ms):
        model = SpikingNet(n_in, n_rec, n_out, stepped_twice)
        weights = model.states(brainstate.ParamState)
        optimizer = braintools.optim.Adam(lr)
        optimizer.register_trainable_weights(weights)

        @brainstate.transform.jit
        def train_step(inputs: jax.Array, targets: jax.Array) -> Any:
            algo = algorithm(model) if algorithm else core.ES_D_RTRL(model, decay_or_rank=0.99)

            @brainstate.transform.vmap_new_states(state_tag="new", axis_size=inputs.shape[1])
            def init() -> None:
                brainstate.nn.init_all_states(model)
                algo.compile_graph(inputs[0, 0])

            init()
            net = brainstate.nn.Vmap(algo, vmap_states="new")

            def loss(x: jax.Array) -> Any:
                out = net(x)
                entropy = braintools.metric.softmax_cross_entropy_with_integer_labels(out, targets)
                return entropy.mean(), out

            def step(total: Any, x: jax.Array) -> Any:
                grads, value, out = brainstate.transform.grad(
                    loss, weights, has_aux=True, return_value=True
                )(x)
                return jax.tree.map(lambda a, b: a + b, total, grads), (value, abs(out).max())

            zero = jax.tree.map(u.math.zeros_like, weights.to_dict_values())
            grads, (losses, largest) = brainstate.transform.scan(step, zero, inputs)
            optimizer.update(brainstate.nn.clip_grad_norm(grads, 1.0))
            return losses.mean(), largest.max()

        inputs = brainstate.random.bernoulli(0.1, (n_steps, n_batch, n_in)).astype(float)
        targets = brainstate.random.randint(0, n_out, n_batch)
        found = [train_step(inputs, targets) for _ in range(n_epochs)]
    return {
        "losses": [float(value) for value, _ in found],
        "largest output": max(float(largest) for _, largest in found),
    }


if __name__ == "__main__":
    for twice in (True, False):
        result = main(stepped_twice=twice)
        print("stepped twice:" if twice else "stepped once:", result["losses"][::10])
