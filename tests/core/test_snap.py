"""SnAp-n against RTRL's recursion in NumPy, dense, the entries that it leaves out set to zero."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import brainstate
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

import core

from . import rate_models as rate
from . import spiking_models as spiking
from .cases import N_HIDDEN, N_IN, Case, data_for, gradient_of, run, weights_of
from .references import relative_error, squared_error

Array = np.ndarray


class Linearised:
    """A model by hand, one sample at a time: dh_t/dh_{t-1}, dh_t/dtheta and dl_t/dh_t, dense.

    Args:
      case: with one layer and a readout without memory.
      p: its parameters.
      visible: what the readout reads of the states.
    """

    def __init__(self, case: Case, p: Any, visible: Any = lambda h: h["h"]) -> None:
        # One number for all neurons is a number of each neuron.
        apart = {k: np.full(N_HIDDEN, v) if v.ndim == 0 else v for k, v in p.items()}
        self.shapes = {k: v.shape for k, v in p.items()}
        self.flat, self.as_params = jax.flatten_util.ravel_pytree(apart)
        zero = {k: np.zeros(n) for k, n in case.hidden.items()}
        self.start, as_states = jax.flatten_util.ravel_pytree(zero)
        self.n_hidden, self.n = len(self.start), len(self.flat)

        def new(h: Any, flat: Any, x: Any) -> Any:
            states = case.step(self.as_params(flat), as_states(h), x, lambda a: a, lambda a: a)[0]
            return jax.flatten_util.ravel_pytree(states)[0]

        def loss(h: Any, flat: Any, y: Any) -> Any:
            return squared_error(rate.readout(self.as_params(flat), visible(as_states(h))), y)

        self.new = jax.jit(new)
        self.jacobians = jax.jit(jax.jacfwd(new, (0, 1)))
        self.of_loss = jax.jit(jax.grad(loss, (0, 1)))

    def gradient(self, data: Any, advance: Any) -> dict[str, Array]:
        """sum_t dl_t/dh_t M_t and what the readout has directly.

        Args:
          advance: from M_{t-1}, dh_t/dh_{t-1} and dh_t/dtheta to M_t, [H, parameters].
        """
        g = np.zeros(self.n)
        for xs, ys in zip(data.xs.swapaxes(0, 1), data.ys.swapaxes(0, 1), strict=True):
            h, M = self.start, np.zeros((self.n_hidden, self.n))
            for x, y in zip(xs, ys, strict=True):
                J, I = map(np.asarray, self.jacobians(h, self.flat, x))
                h = self.new(h, self.flat, x)
                M = advance(M, J, I)
                L, direct = self.of_loss(h, self.flat, y)
                g += np.asarray(L) @ M + np.asarray(direct)
        apart = {k: np.asarray(v) for k, v in self.as_params(g).items()}
        return {k: v if self.shapes[k] else v.sum() for k, v in apart.items()}

    def neurons(self) -> Array:
        """The neuron that a parameter feeds, by its last axis, [P]."""
        own = {
            k: np.broadcast_to(np.arange(v.shape[-1]) % N_HIDDEN, v.shape)
            for k, v in self.as_params(self.flat).items()
        }
        return np.asarray(jax.flatten_util.ravel_pytree(own)[0])

    @property
    def of_states(self) -> Array:
        """The neuron of each state, [states]: one state of all neurons after the other."""
        return np.arange(self.n_hidden) % N_HIDDEN

    def feeds(self) -> Array:
        """Whether a parameter feeds the neuron of a state, [states, P]."""
        return self.neurons() == self.of_states[:, None]


def compared(name: str, value: Array, case: Case) -> Array:
    """Without the reset gate, whose trace SnAp-1 leaves out."""
    return value[..., N_HIDDEN:] if case is rate.GRU and ".Wrz." in name else value


VISIBLE = {spiking.ADAPTIVE.name: lambda h: spiking.spike(h["V"] - 1.0 - spiking.BETA * h["a"])}


@pytest.mark.parametrize(
    ("case", "window", "batching"),
    [
        (rate.RNN, "sequence", "manual"),
        (rate.RECURRENT, 3, "manual"),
        (rate.GRU, 3, "vmap"),
        (rate.LSTM, 3, "manual"),
        (spiking.ADAPTIVE, 1, "manual"),
    ],
    ids=lambda v: getattr(v, "name", ""),
)
def test_snap_1(case: Case, window: Any, batching: str) -> None:
    model, data = case.model(), data_for()
    p = weights_of(model)
    dense = Linearised(case, p, *(VISIBLE[n] for n in (case.name,) if n in VISIBLE))
    wanted = dense.gradient(data, lambda M, J, I: dense.feeds() * (J @ M + I))
    grads, _ = run(lambda: gradient_of(core.SnAp(model, window=window), data, batching))
    for name, value in wanted.items():
        own, other = (compared(name, g, case) for g in (grads[name], value))
        assert relative_error(own, other) < 1e-12, name
    exact = dense.gradient(data, lambda M, J, I: J @ M + I)
    name = next(n for n in wanted if n.startswith(("cell.W", "synapse.comm")))
    assert relative_error(exact[name], wanted[name]) > 1e-3


def sparse(case: Case, weights: tuple[str, ...]) -> Case:
    """Each neuron reads itself and the one before it: of the recurrent rows, all else is zero."""
    ring = np.eye(N_HIDDEN) + np.eye(N_HIDDEN, k=1)
    ring[-1, 0] = 1
    own = np.concatenate([np.ones((N_IN, N_HIDDEN)), ring])

    def mask(w: Any) -> Any:
        return np.tile(own, w.shape[-1] // N_HIDDEN) * w

    def make() -> Any:
        model = case.make()
        for layer in (n for n in model.nodes().values() if hasattr(n, "w_mask")):
            shape = layer.weight.value["weight"].shape
            if shape[0] == len(own):
                layer.w_mask = jnp.asarray(mask(np.ones(shape)))
        return model

    def step(p: Any, *rest: Any) -> Any:
        return case.step({k: mask(v) if k in weights else v for k, v in p.items()}, *rest)

    return replace(case, name=f"sparse {case.name}", make=make, step=step)


@pytest.mark.parametrize(
    ("case", "weights", "n", "far", "window"),
    [
        (rate.RNN, ("cell.W.weight.weight",), 3, 2, "sequence"),
        # A reset gate reads the neuron before, and moves the next: two places a step.
        (rate.GRU, ("cell.Wrz.weight.weight", "cell.Wh.weight.weight"), 2, 2, 3),
        (spiking.ADAPTIVE, ("synapse.comm.weight.weight",), 2, 1, "auto"),
    ],
    ids=["rnn, 3", "gru, 2", "adaptive lif, 2"],
)
def test_snap_n(case: Case, weights: tuple[str, ...], n: int, far: int, window: Any) -> None:
    """Neurons in a ring: a weight of one is followed at the next ones as well."""
    ring = sparse(case, weights)
    model, data = ring.model(), data_for()
    dense = Linearised(ring, weights_of(model), *(VISIBLE[v] for v in (case.name,) if v in VISIBLE))
    kept = (dense.of_states[:, None] - dense.neurons()) % N_HIDDEN <= far
    wanted = dense.gradient(data, lambda M, J, I: kept * (J @ M + I))
    exact = dense.gradient(data, lambda M, J, I: J @ M + I)

    batching = "vmap" if window == "auto" else "manual"
    grads, _ = run(lambda: gradient_of(core.SnAp(model, n, window=window), data, batching))
    for name, value in wanted.items():
        own, other = (compared(name, g, case) for g in (grads[name], value))
        assert relative_error(own, other) < 1e-12, name
    assert relative_error(wanted[weights[-1]], exact[weights[-1]]) > 1e-4


def test_snap_n_is_refused_where_it_is_rtrl() -> None:
    with pytest.raises(core.NotRepresentable, match="That is RTRL: use"):
        core.initialise(core.SnAp(rate.RNN.model(), 2), data_for().xs[0])
    with pytest.raises(core.InvalidArgument, match="a positive number of steps"):
        core.SnAp(rate.RNN.model(), 0)


class OtherRows(brainstate.nn.Module):
    """h [rows, H] <- d h + tanh(h of the row before W + x V): no neuron moves its own product."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        draw, self.axis = np.random.default_rng(0), axis
        self.W, self.V = (brainstate.ParamState(draw.normal(size=(n, N_HIDDEN))) for n in (4, 1))

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        lead = () if batch_size is None else (batch_size,)
        self.h = brainstate.HiddenState(jnp.zeros((*lead, N_IN, N_HIDDEN)))

    def update(self, x: Any) -> Any:
        y = jnp.roll(self.h.value, 1, self.axis) @ self.W.value + x[..., None] @ self.V.value
        self.h.value = 0.8 * self.h.value + jnp.tanh(y)
        return self.h.value.sum(-1)


@pytest.mark.parametrize(("axis", "batching"), [(-2, "vmap"), (0, "manual")])
def test_products_that_read_other_rows_are_refused(axis: int, batching: str) -> None:
    """Of places, as in a recurrent convolution, or of samples."""
    with pytest.raises(core.NotRepresentable, match="got W, which reads other rows"):
        core.initialise(core.SnAp(OtherRows(axis)), data_for().xs[0], batching)
