"""Train a spiking classifier twice: with the batch in the states, and with one sample mapped.

python -m tests.core.tutorials.batching_by_hand_and_by_vmap
"""

from __future__ import annotations

from typing import Any

import brainpy.state
import brainstate
import braintools
import brainunit as u
import jax

import core


class LIFNet(brainstate.nn.Module):
    """Input and own spikes -> delta synapses -> LIF neurons -> leaky readout."""

    def __init__(self, n_in: int, n_hidden: int, n_out: int) -> None:
        super().__init__()
        self.neurons = core.nn.LIF(n_hidden)
        init = braintools.init.KaimingNormal(unit=u.mV)
        from_input, from_self = init([n_in, n_hidden]), init([n_hidden, n_hidden])
        self.synapses = brainpy.state.DeltaProj(
            comm=core.nn.Linear(
                n_in + n_hidden,
                n_hidden,
                w_init=u.math.concatenate([from_input, from_self], axis=0),
                b_init=braintools.init.ZeroInit(unit=u.mV),
            ),
            post=self.neurons,
        )
        self.out = core.nn.LeakyRateReadout(n_hidden, n_out)

    def update(self, x: jax.Array) -> jax.Array:
        self.synapses(u.math.concatenate([x, self.neurons.get_spike()], axis=-1))
        return self.out(self.neurons())


class Trainer:
    """One gradient a sequence, summed step by step; subclasses say how a batch is run."""

    def __init__(self, n_in: int, n_hidden: int, n_out: int) -> None:
        self.model = LIFNet(n_in, n_hidden, n_out)
        self.weights = self.model.states(brainstate.ParamState)
        self.optimizer = braintools.optim.Adam(lr=1e-2)
        self.optimizer.register_trainable_weights(self.weights)

    def start(self, inputs: jax.Array) -> Any:
        """A callable that takes one step of the whole batch [B, I]."""
        raise NotImplementedError

    @brainstate.transform.jit(static_argnums=0)
    def train(self, inputs: jax.Array, targets: jax.Array) -> jax.Array:
        """One update from `inputs` [T, B, I] and classes `targets` [B]; the mean loss."""
        net = self.start(inputs)

        def loss(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            out = net(x)
            entropy = braintools.metric.softmax_cross_entropy_with_integer_labels(out, targets)
            return entropy.mean(), out

        def step(total: Any, x: jax.Array) -> tuple[Any, jax.Array]:
            grads, value, _ = brainstate.transform.grad(
                loss, self.weights, has_aux=True, return_value=True
            )(x)
            return jax.tree.map(lambda a, b: a + b, total, grads), value

        zero = jax.tree.map(u.math.zeros_like, self.weights.to_dict_values())
        grads, losses = brainstate.transform.scan(step, zero, inputs)
        self.optimizer.update(brainstate.nn.clip_grad_norm(grads, 1.0))
        return losses.mean()


class ManualBatching(Trainer):
    """States are [B, H]."""

    def start(self, inputs: jax.Array) -> Any:
        brainstate.nn.init_all_states(self.model, batch_size=inputs.shape[1])
        net = core.ES_D_RTRL(self.model, decay_or_rank=0.9, mode=brainstate.mixin.Batching())
        net.compile_graph(inputs[0])
        return net


class AutomaticBatching(Trainer):
    """States are [H], and one copy of them for every sample."""

    def start(self, inputs: jax.Array) -> Any:
        net = core.ES_D_RTRL(self.model, decay_or_rank=0.9)

        @brainstate.transform.vmap_new_states(axis_size=inputs.shape[1], state_tag="new")
        def init() -> None:
            brainstate.nn.init_all_states(self.model)
            net.compile_graph(inputs[0, 0])

        init()
        return brainstate.nn.Vmap(net, vmap_states="new")


def main(
    n_steps: int = 16,
    n_batch: int = 128,
    n_in: int = 100,
    n_hidden: int = 200,
    n_out: int = 10,
    n_epochs: int = 10,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Losses by epoch of both trainers, which start from the same weights."""
    found = {}
    with brainstate.environ.context(dt=1.0 * u.ms):
        for kind in (ManualBatching, AutomaticBatching):
            brainstate.random.seed(seed)
            inputs = brainstate.random.rand(n_steps, n_batch, n_in)
            targets = brainstate.random.randint(0, n_out, n_batch)
            trainer = kind(n_in, n_hidden, n_out)
            found[kind.__name__] = [float(trainer.train(inputs, targets)) for _ in range(n_epochs)]
    return found


if __name__ == "__main__":
    for name, losses in main().items():
        print(name, *(f"{loss:.4f}" for loss in losses))
