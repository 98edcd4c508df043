"""SnAp, e-prop, OTTT and UORO against recursions in NumPy that share no code with the core."""

from __future__ import annotations

from typing import Any

import jax
import jax.flatten_util
import numpy as np
import pytest

import core

from . import rate_models as rate
from .cases import N_HIDDEN, Case, data_for, gradient_of, run, weights_of
from .recursions import dense_d_rtrl, leaky_local
from .references import assert_close, relative_error, squared_error

Array = np.ndarray


class Linearised:
    """A model by hand, one sample at a time: dh_t/dh_{t-1}, dh_t/dtheta and dl_t/dh_t, dense.

    Args:
      case: with one layer and a readout without memory of its state "h".
      p: its parameters.
    """

    def __init__(self, case: Case, p: Any) -> None:
        # One number for all neurons is a number of each neuron.
        apart = {k: np.full(N_HIDDEN, v) if v.ndim == 0 else v for k, v in p.items()}
        self.shapes = {k: v.shape for k, v in p.items()}
        self.flat, self.as_params = jax.flatten_util.ravel_pytree(apart)
        self.n_hidden, self.n = N_HIDDEN, len(self.flat)

        def new(h: Any, flat: Any, x: Any) -> Any:
            return case.step(self.as_params(flat), {"h": h}, x, lambda a: a, lambda a: a)[0]["h"]

        def loss(h: Any, flat: Any, y: Any) -> Any:
            return squared_error(rate.readout(self.as_params(flat), h), y)

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
            h, M = np.zeros(self.n_hidden), np.zeros((self.n_hidden, self.n))
            for x, y in zip(xs, ys, strict=True):
                J, I = map(np.asarray, self.jacobians(h, self.flat, x))
                h = self.new(h, self.flat, x)
                M = advance(M, J, I)
                L, direct = self.of_loss(h, self.flat, y)
                g += np.asarray(L) @ M + np.asarray(direct)
        apart = {k: np.asarray(v) for k, v in self.as_params(g).items()}
        return {k: v if self.shapes[k] else v.sum() for k, v in apart.items()}

    def feeds(self) -> Array:
        """Whether a parameter feeds neuron i, by its last axis, [H, P]."""
        own = {k: np.broadcast_to(np.arange(v.shape[-1]) % self.n_hidden, v.shape)
               for k, v in self.as_params(self.flat).items()}
        return np.asarray(jax.flatten_util.ravel_pytree(own)[0]) == np.arange(N_HIDDEN)[:, None]


def compared(name: str, value: Array, case: Case) -> Array:
    """Without the reset gate, whose trace SnAp-1 leaves out."""
    return value[..., N_HIDDEN:] if case is rate.GRU and ".Wrz." in name else value


@pytest.mark.parametrize("case", [rate.RNN, rate.RECURRENT, rate.GRU], ids=lambda c: c.name)
def test_snap_1(case: Case) -> None:
    model, data = case.model(), data_for()
    p = weights_of(model)
    dense = Linearised(case, p)
    wanted = dense.gradient(data, lambda M, J, I: dense.feeds() * (J @ M + I))

    def everything() -> Any:
        ways = [{"window": 3}, {"window": 7}]
        found = [gradient_of(core.SnAp1(model, **way), data) for way in ways]
        mapped = gradient_of(core.SnAp1(model), data, batching="vmap")
        return found, mapped, gradient_of(core.D_RTRL(model), data)

    found, mapped, (without, _) = run(everything)
    for grads, _ in (*found, mapped):
        for name, value in wanted.items():
            own, other = (compared(name, g, case) for g in (grads[name], value))
            assert relative_error(own, other) < 1e-12, name
    name = next(n for n in wanted if n.startswith("cell.W"))
    assert relative_error(without[name], wanted[name]) > 1e-3


def test_random_feedback_is_one_matrix() -> None:
    """Whatever the data, L = err B^T with one B beside which the trace and the readout stand."""
    model = rate.RECURRENT.model()
    p, found = weights_of(model), []
    for data in (data_for(0), data_for(1)):

        def everything(data: Any = data) -> Any:
            options = ({"feedback": "random"}, {"feedback": "random", "window": 2}, {})
            return [gradient_of(core.D_RTRL(model, **one), data) for one in options]

        (grads, _), (windows, _), (symmetric, _) = run(everything)
        assert_close(windows, grads)
        for name in ("out.weight.weight", "out.weight.bias"):
            assert relative_error(grads[name], symmetric[name]) < 1e-12
        local = leaky_local(p, *data)
        err = np.linalg.solve(  # L = err W^T for as many outputs as there are
            p["out.weight.weight"].T @ p["out.weight.weight"],
            p["out.weight.weight"].T @ local.L[:, :, 0, :, None])[..., 0]
        for_each = np.stack([dense_d_rtrl(local._replace(
            L=np.repeat(err[..., None, o, None], N_HIDDEN, axis=-1)))[0]
            for o in range(err.shape[-1])])
        own = grads["cell.W.weight.weight"]
        fits = [np.linalg.lstsq(for_each[:, :, j].T, own[:, j]) for j in range(N_HIDDEN)]
        assert all(np.sqrt(f[1]).max() < 1e-10 for f in fits)
        found.append(np.stack([f[0] for f in fits]))
    assert relative_error(found[0], found[1]) < 1e-10
    assert relative_error(found[0], p["out.weight.weight"]) > 0.5
