"""SnAp, e-prop, OTTT and UORO against recursions in NumPy that share no code with the core."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.flatten_util
import numpy as np
import pytest

import core

from . import rate_models as rate
from . import spiking_models as spiking
from .cases import N_HIDDEN, Case, Data, data_for, gradient_of, run, weights_of
from .recursions import dense_d_rtrl, leaky_local
from .references import assert_close, named, relative_error, squared_error

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

    def feeds(self) -> Array:
        """Whether a parameter feeds the neuron of a state, by its last axis, [states, P]."""
        own = {
            k: np.broadcast_to(np.arange(v.shape[-1]) % N_HIDDEN, v.shape)
            for k, v in self.as_params(self.flat).items()
        }
        neuron = np.arange(self.n_hidden)[:, None] % N_HIDDEN  # state after state
        return np.asarray(jax.flatten_util.ravel_pytree(own)[0]) == neuron


def compared(name: str, value: Array, case: Case) -> Array:
    """Without the reset gate, whose trace SnAp-1 leaves out."""
    return value[..., N_HIDDEN:] if case is rate.GRU and ".Wrz." in name else value


VISIBLE = {spiking.ADAPTIVE.name: lambda h: spiking.spike(h["V"] - 1.0 - spiking.BETA * h["a"])}


@pytest.mark.parametrize(
    "case", [rate.RNN, rate.RECURRENT, rate.GRU, rate.LSTM, spiking.ADAPTIVE], ids=lambda c: c.name
)
def test_snap_1(case: Case) -> None:
    model, data = case.model(), data_for(n_steps=10)
    p = weights_of(model)
    dense = Linearised(case, p, *(VISIBLE[n] for n in (case.name,) if n in VISIBLE))
    wanted = dense.gradient(data, lambda M, J, I: dense.feeds() * (J @ M + I))

    def everything() -> Any:
        ways = [{"window": 3}, {"window": "sequence"}]
        found = [gradient_of(core.SnAp1(model, **way), data) for way in ways]
        mapped = gradient_of(core.SnAp1(model), data, batching="vmap")
        return found, mapped, gradient_of(core.D_RTRL(model), data)

    found, mapped, (without, _) = run(everything)
    for grads, _ in (*found, mapped):
        for name, value in wanted.items():
            own, other = (compared(name, g, case) for g in (grads[name], value))
            assert relative_error(own, other) < 1e-12, name
    name = next(n for n in wanted if n.startswith(("cell.W", "synapse.comm")))
    assert relative_error(without[name], wanted[name]) > 1e-3


class Spikes(NamedTuple):
    """A recurrent LIF layer at every step: operand [T, B, I], D, dz/dV and errors [T, B, ...]."""

    x: Array
    D: Array
    psi: Array
    err: Array


def spikes(p: Any, xs: Array, ys: Array, k_r: float, recurrent: Array) -> Spikes:
    """Of `spiking_models.DELTA` (k_r = 0) and `LEAKY_READOUT`, errors at the readout.

    Args:
      recurrent: the decay of the membrane.
    """
    out = p["out.weight"] if "out.weight" in p else p["out.weight.weight"]
    V, r, rows = np.zeros((xs.shape[1], N_HIDDEN)), np.zeros((xs.shape[1], out.shape[1])), []
    for x, y in zip(xs, ys, strict=True):
        before, slope = (V >= 1).astype(float), 0.3 * np.maximum(1 - np.abs(V - 1), 0)
        operand = np.concatenate([x, before], axis=-1)
        y_rec = operand @ p["synapse.comm.weight.weight"] + p["synapse.comm.weight.bias"]
        V = recurrent * (V - before) + y_rec
        r = k_r * r + (V >= 1) @ out + p.get("out.weight.bias", 0.0)
        psi = 0.3 * np.maximum(1 - np.abs(V - 1), 0)
        rows.append((operand, recurrent * (1 - slope), psi, 2 * (r - y)))
    return Spikes(*map(np.stack, zip(*rows, strict=True)))


def filtered(s: Spikes, a: float | Array, k_r: float, L: Array) -> Array:
    """sum_t L_t E_t, E_t = k E_{t-1} + psi_t eps_t and eps_t = a_t eps_{t-1} + x_t."""
    eps = E = np.zeros((*s.x.shape[1:], N_HIDDEN))
    g, a = np.zeros(eps.shape[1:]), np.broadcast_to(a, s.D.shape)
    for t, x in enumerate(s.x):
        eps = a[t][:, None] * eps + x[..., None]
        E = k_r * E + s.psi[t][:, None] * eps
        g += (L[t][:, None] * E).sum(axis=0)
    return g


K_R, K_V = np.exp(-1 / spiking.TAU_OUT), np.exp(-1 / spiking.TAU)


@pytest.mark.parametrize(
    ("case", "k_r"), [(spiking.DELTA, 0.0), (spiking.LEAKY_READOUT, K_R)], ids=lambda c: str(c)[:9]
)
def test_spiking_rules(case: Case, k_r: float) -> None:
    """OTTT, e-prop with symmetric feedback, and with one random matrix whatever the data."""
    model, name, found = case.model(), "synapse.comm.weight.weight", []
    p = weights_of(model)
    out = p["out.weight"] if k_r else p["out.weight.weight"]
    for data in (data_for(0, 20, 5), data_for(1, 20, 5)):

        def everything(data: Any = data) -> Any:
            made = {
                "ottt": core.OTTT(model, window=3),
                "symmetric": core.EProp(model, feedback="symmetric", window=3),
                "one window": core.EProp(model, feedback="symmetric", window="sequence"),
                "random": core.EProp(model, window=2),
                "d_rtrl": core.D_RTRL(model),
                "bptt": core.BPTT(model),
            }
            return {way: gradient_of(algo, data) for way, algo in made.items()}

        s, grads = spikes(p, *data, k_r, K_V), {k: g for k, (g, _) in run(everything).items()}
        symmetric = filtered(s, s.D, k_r, s.err @ out.T)
        assert s.x[..., 3:].any()
        assert s.psi.any()
        assert relative_error(grads["symmetric"][name], symmetric) < 1e-12
        assert_close(grads["one window"], grads["symmetric"])
        assert relative_error(grads["ottt"][name], filtered(s, K_V, 0.0, s.err @ out.T)) < 1e-12
        assert (relative_error(grads["d_rtrl"][name], symmetric) < 1e-12) == (k_r == 0)
        for readout in (n for n in p if n.startswith("out.")):
            for way in ("symmetric", "random", "ottt"):
                assert relative_error(grads[way][readout], grads["bptt"][readout]) < 1e-12
        one = [filtered(s, s.D, k_r, s.err[..., [o]]) for o in range(out.shape[1])]
        own = grads["random"][name]
        fits = [np.linalg.lstsq(np.stack(one)[:, :, j].T, own[:, j]) for j in range(N_HIDDEN)]
        assert all(
            np.abs(np.stack(one)[:, :, j].T @ f[0] - own[:, j]).max() < 1e-10
            for j, f in enumerate(fits)
        )
        found.append(np.stack([f[0] for f in fits]))
    assert relative_error(found[0], found[1]) < 1e-9
    assert relative_error(found[0], out) > 0.5


def test_ottt_refuses_what_is_no_leaky_integrator() -> None:
    for case in (rate.GRU, spiking.ADAPTIVE):
        with pytest.raises(core.NotRepresentable, match="leaky integrators with one"):
            core.initialise(core.OTTT(case.model()), data_for().xs[0])


def test_uoro_is_unbiased() -> None:
    """Over N samples that differ by next to nothing, so that each has signs of its own."""
    model, one = rate.RECURRENT.model(), data_for(batch=1)
    draw = np.random.default_rng(0)

    def off(n: int) -> dict[str, float]:
        shape = (*one.xs.shape[:1], n, *one.xs.shape[2:])
        data = Data(one.xs + 1e-4 * draw.normal(size=shape), np.repeat(one.ys, n, axis=1))

        def everything() -> Any:
            ways = core.UORO(model), core.UORO(model, seed=1), core.BPTT(model)
            return [gradient_of(algo, data)[0] for algo in ways]

        first, second, exact = map(named, run(everything))
        name = "cell.W.weight.weight"
        assert relative_error(first["out.weight.weight"], exact["out.weight.weight"]) < 1e-12
        assert relative_error(first[name], second[name]) > 1e-6
        return relative_error(first[name], exact[name])

    few, many = off(100), off(10_000)
    assert many < 0.05
    assert 4 < few / many < 25  # sqrt(100), give or take


@pytest.mark.parametrize("make", [core.SnAp1, core.EProp, core.OTTT, core.UORO])
def test_a_sample_that_starts_anew_has_forgotten(make: Any) -> None:
    """A stream of two sequences has the gradient of the two, whatever stood before; NaN as well."""
    model, data = spiking.LEAKY_READOUT.model(), data_for(n_steps=9)
    again = np.zeros((9, 2), bool)
    again[[4, 6], [0, 1]] = True
    xs = data.xs.copy()
    xs[0, 1, 0] = np.nan
    mask = np.ones((9, 2))
    mask[:6, 1] = 0

    def everything() -> Any:
        parts = ((slice(0, 4), 0), (slice(4, 9), 0), (slice(6, 9), 1))
        alone = [
            gradient_of(make(model), Data(data.xs[t][:, [b]], data.ys[t][:, [b]])) for t, b in parts
        ]
        stream = gradient_of(make(model), Data(xs, data.ys), reset=again, mask=mask)
        return stream, alone

    (stream, _), alone = run(everything)
    wanted = {name: sum(grads[name] for grads, _ in alone) for name in stream}
    assert_close(stream, wanted)


def test_adaptive_feedback_learns_beside_the_readout() -> None:
    """L = err B^T; B and W have one gradient, that of the readout."""
    model, data = rate.RECURRENT.model(), data_for()
    p, plain = weights_of(model), model.out
    model.out = core.nn.FeedbackLinear(N_HIDDEN, 2)
    model.out.weight.value = plain.weight.value["weight"]
    model.out.bias.value = plain.weight.value["bias"]
    B = np.random.default_rng(0).normal(size=p["out.weight.weight"].shape)
    model.out.feedback.value = B
    grads, losses = run(lambda: gradient_of(core.D_RTRL(model, window=3), data))
    local = leaky_local(p, *data)
    back = np.linalg.pinv(p["out.weight.weight"].T)  # L = err W^T has full rank
    wanted, _ = dense_d_rtrl(local._replace(L=local.L @ back @ B.T))
    assert relative_error(grads["cell.W.weight.weight"], wanted) < 1e-12
    model.out = plain
    exact, exact_losses = run(lambda: gradient_of(core.BPTT(model), data))
    assert relative_error(losses, exact_losses) < 1e-12
    for name in ("out.weight", "out.feedback"):
        assert relative_error(grads[name], exact["out.weight.weight"]) < 1e-12
    assert relative_error(grads["out.bias"], exact["out.weight.bias"]) < 1e-12
