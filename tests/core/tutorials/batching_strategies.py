"""A GRU under D-RTRL: mapped over a batch, sample by sample, and a whole sequence in one call.

python -m tests.core.tutorials.batching_strategies
"""

from __future__ import annotations

from typing import Any

import brainstate
import jax
import jax.numpy as jnp

import core


class SimpleGRU(brainstate.nn.Module):
    """A GRU and a linear readout."""

    def __init__(self, n_in: int, n_rec: int, n_out: int) -> None:
        super().__init__()
        self.rnn = core.nn.GRUCell(n_in, n_rec)
        self.out = core.nn.Linear(n_rec, n_out)

    def update(self, x: jax.Array) -> jax.Array:
        return self.out(self.rnn(x))


def mapped(model: Any, batch_size: int, n_in: int) -> Any:
    """The algorithm for `batch_size` samples, each with states and traces of its own."""
    algo = core.D_RTRL(model)

    @brainstate.transform.vmap_new_states(state_tag="new", axis_size=batch_size)
    def init() -> None:
        brainstate.nn.init_all_states(model)
        algo.compile_graph(jnp.zeros(n_in))

    init()
    return brainstate.nn.Vmap(algo, vmap_states="new")


def vmap_batching(model: Any, xs: jax.Array) -> jax.Array:
    """Outputs [T, B, O] of a batch, step by step."""
    return brainstate.transform.for_loop(mapped(model, xs.shape[1], xs.shape[2]), xs)


def single_sample(model: Any, xs: jax.Array) -> jax.Array:
    """Outputs [T, O] of one sample [T, I], step by step."""
    brainstate.nn.init_all_states(model)
    algo = core.D_RTRL(model)
    algo.compile_graph(xs[0])
    return brainstate.transform.for_loop(lambda x: algo(core.SingleStepData(x)), xs)


def whole_sequence(model: Any, xs: jax.Array) -> jax.Array:
    """The same in one call."""
    brainstate.nn.init_all_states(model)
    algo = core.D_RTRL(model)
    algo.compile_graph(xs[0])
    return algo(core.MultiStepData(xs))


def gradient(model: Any, inputs: jax.Array, targets: jax.Array) -> Any:
    """Gradients of the mean squared error, summed over `inputs` [T, B, I]."""
    weights = model.states(brainstate.ParamState)
    net = mapped(model, inputs.shape[1], inputs.shape[2])

    def step(total: Any, x: jax.Array) -> tuple[Any, None]:
        grads = brainstate.transform.grad(lambda x: jnp.mean((net(x) - targets) ** 2), weights)(x)
        return jax.tree.map(jnp.add, total, grads), None

    zero = jax.tree.map(jnp.zeros_like, weights.to_dict_values())
    return brainstate.transform.scan(step, zero, inputs)[0]


def main(
    n_steps: int = 20,
    n_batch: int = 16,
    n_in: int = 10,
    n_rec: int = 64,
    n_out: int = 5,
    seed: int = 0,
) -> dict[str, Any]:
    """Outputs by strategy, and the gradient of a batch."""
    brainstate.random.seed(seed)
    model = SimpleGRU(n_in, n_rec, n_out)
    xs = brainstate.random.rand(n_steps, n_batch, n_in)

    @brainstate.transform.jit
    def everything() -> Any:
        return {
            "vmap": vmap_batching(model, xs),
            "single": single_sample(model, xs[:, 0]),
            "sequence": whole_sequence(model, xs[:, 0]),
            "gradient": gradient(model, xs, jnp.zeros((n_batch, n_out))),
        }

    return everything()


if __name__ == "__main__":
    for name, value in main().items():
        print(name, jax.tree.map(jnp.shape, value))
