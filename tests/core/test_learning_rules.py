"""e-prop, OTTT, OTPE and UORO against recursions in NumPy that share no code with the core."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import brainpy.state
import brainstate
import braintools
import brainunit as u
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

import core

from . import rate_models as rate
from . import spiking_models as spiking
from .cases import N_HIDDEN, N_IN, Case, Data, data_for, gradient_of, run, weights_of
from .recursions import dense_d_rtrl, leaky_local
from .references import assert_close, named, relative_error

Array = np.ndarray


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

    @brainstate.transform.jit
    def without_chance(data: Data) -> Any:
        made = {
            "ottt": core.OTTT(model, window=3),
            "otpe": core.OTPE(model, window="sequence"),
            "symmetric": core.EProp(model, feedback="symmetric", window=3),
            "d_rtrl": core.D_RTRL(model),
            "bptt": core.BPTT(model),
        }
        return {way: gradient_of(algo, data) for way, algo in made.items()}

    for data in (data_for(0, 18, 5), data_for(1, 18, 5)):
        s = spikes(p, *data, k_r, K_V)
        grads = {way: named(result.grads) for way, result in without_chance(data).items()}
        # Drawn anew, in a program of its own.
        grads["random"], _ = run(lambda data=data: gradient_of(core.EProp(model, window=2), data))
        symmetric = filtered(s, s.D, k_r, s.err @ out.T)
        assert s.x[..., 3:].any()
        assert s.psi.any()
        assert relative_error(grads["symmetric"][name], symmetric) < 1e-12
        assert relative_error(grads["ottt"][name], filtered(s, K_V, 0.0, s.err @ out.T)) < 1e-12
        effect = filtered(s, K_V, k_r, s.err @ out.T)
        assert relative_error(grads["otpe"][name], effect) < 1e-12
        assert (relative_error(grads["d_rtrl"][name], symmetric) < 1e-12) == (k_r == 0)
        for readout in (n for n in p if n.startswith("out.")):
            for way in ("symmetric", "random", "ottt", "otpe"):
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


class Deep(brainstate.nn.Module):
    """Three layers of spiking neurons, forwards alone, and a leaky readout of the last."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = []
        for n_in in (N_IN, N_HIDDEN, N_HIDDEN):
            comm = brainstate.nn.Linear(n_in, N_HIDDEN, b_init=braintools.init.Constant(0.5))
            comm.weight.value = jax.tree.map(lambda w: w * u.mV, comm.weight.value)
            neuron = brainpy.state.LIF(
                N_HIDDEN, V_th=1.0 * u.mV, V_reset=0.0 * u.mV, V_rest=0.0 * u.mV,
                tau=spiking.TAU * u.ms, V_initializer=braintools.init.Constant(0.0 * u.mV),
                spk_fun=braintools.surrogate.ReluGrad(), spk_reset="soft",
            )  # fmt: skip
            self.layers += [brainpy.state.DeltaProj(comm=comm, post=neuron), neuron]
        self.out = brainpy.state.LeakyRateReadout(N_HIDDEN, 2, tau=spiking.TAU_OUT * u.ms)

    def update(self, x: Any) -> Any:
        for synapse, neuron in zip(self.layers[::2], self.layers[1::2], strict=True):
            synapse(x)
            x = neuron()
        return self.out(x)


def test_otpe_in_several_layers() -> None:
    """Each layer has its own effect on the next; credit passes down within the step."""
    model, data = Case("deep", Deep, None, {}).model(), data_for(n_steps=18, batch=5)
    p = weights_of(model)
    names = [f"layers.{k}.comm.weight" for k in (0, 2, 4)]
    W = [*(p[f"{name}.weight"] for name in names), p["out.weight"]]
    V, r = [np.zeros((5, N_HIDDEN)) for _ in names], np.zeros((5, 2))
    ex = [np.zeros((5, w.shape[0])) for w in W[:3]]
    E = [np.zeros((5, *w.shape)) for w in W[:3]]
    wanted = [np.zeros_like(w) for w in W[:3]]
    spiked = 0
    for x, y in zip(*data, strict=True):
        z, psi = x, []
        for k, name in enumerate(names):
            ex[k] = K_V * ex[k] + z
            V[k] = K_V * (V[k] - (V[k] >= 1)) + z @ W[k] + p[f"{name}.bias"]
            z = (V[k] >= 1).astype(float)
            psi.append(0.3 * np.maximum(1 - np.abs(V[k] - 1), 0))
            E[k] = (K_V if k < 2 else K_R) * E[k] + ex[k][..., None] * psi[k][:, None]
            spiked += z.sum()
        r = K_R * r + z @ W[3]
        credit = 2 * (r - y)
        for k in (2, 1, 0):
            credit = credit @ W[k + 1].T
            wanted[k] += np.einsum("bh,bih->ih", credit, E[k])
            credit = credit * psi[k]

    def everything() -> Any:
        return [gradient_of(make(model, window=3), data)[0] for make in (core.OTPE, core.OTTT)]

    found, without = map(named, run(everything))
    assert spiked > 50
    for name, value in zip(names, wanted, strict=True):
        assert relative_error(found[f"{name}.weight"], value) < 1e-12
        assert relative_error(without[f"{name}.weight"], value) > 1e-3


class Reshaped(brainstate.nn.Module):
    """Leaky neurons and a leaky readout, of which one has one more axis in front of its own."""

    def __init__(self, neurons: tuple[int, ...], readout: tuple[int, ...]) -> None:
        super().__init__()
        self.shapes, draw = (neurons, readout), np.random.default_rng(0)
        rows = N_IN if len(neurons) == 1 else 1
        reads = math.prod(neurons) // math.prod(readout[:-1])
        self.W = brainstate.ParamState(draw.normal(size=(rows, neurons[-1])))
        self.out = brainstate.ParamState(draw.normal(size=(reads, readout[-1])))

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        lead = () if batch_size is None else (batch_size,)
        self.v, self.r = (brainstate.HiddenState(jnp.zeros((*lead, *s))) for s in self.shapes)

    def update(self, x: Any) -> Any:
        lead = x.shape[:-1]
        x = x if self.W.value.shape[0] > 1 else x[..., None]
        self.v.value = K_V * self.v.value + x @ self.W.value
        z = jnp.tanh(self.v.value).reshape(*lead, *self.shapes[1][:-1], -1)
        self.r.value = K_R * self.r.value + z @ self.out.value
        return self.r.value.reshape(*lead, -1)


@pytest.mark.parametrize(
    "shapes", [((N_IN, 4), (2,)), ((6,), (N_IN, 2)), ((N_IN, 4), (6, 1)), ((6,), (1, 2))]
)
def test_a_layer_read_in_other_rows_is_refused(shapes: Any) -> None:
    """Also where a batch has as many samples as there are rows."""
    for make, batching in ((core.EProp, "manual"), (core.OTPE, "vmap")):
        with pytest.raises(core.NotRepresentable, match=r"got out, which reads .* in another row"):
            core.initialise(make(Reshaped(*shapes)), data_for(batch=N_IN).xs[0], batching)


@pytest.mark.parametrize("make", [core.OTTT, core.OTPE])
def test_what_is_no_leaky_integrator_is_refused(make: Any) -> None:
    for case in (rate.GRU, spiking.ADAPTIVE):
        with pytest.raises(core.NotRepresentable, match="leaky integrators with one"):
            core.initialise(make(case.model()), data_for().xs[0])


class Leaky(brainstate.nn.Module):
    """v = 0.8 v + x W, r = 0.9 r + drive(v V), which a product reads in turn if it is `hidden`."""

    def __init__(self, drive: Any = lambda y: y, late: bool = False, hidden: bool = False) -> None:
        super().__init__()
        draw = np.random.default_rng(0).normal
        self.drive, self.late, self.hidden = drive, late, hidden
        self.W = brainstate.ParamState(draw(size=(N_IN, N_HIDDEN)))
        self.V = brainstate.ParamState(draw(size=(N_HIDDEN, 2)))
        self.out = brainstate.ParamState(draw(size=(2, 2)))

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        lead = () if batch_size is None else (batch_size,)
        self.v = brainstate.HiddenState(np.zeros((*lead, N_HIDDEN)))
        self.r = brainstate.HiddenState(np.zeros((*lead, 2)))

    def update(self, x: Any) -> Any:
        before = self.v.value
        self.v.value = 0.8 * before + x @ self.W.value
        read = jax.numpy.tanh(before if self.late else self.v.value)
        self.r.value = 0.9 * self.r.value + self.drive(read @ self.V.value)
        return self.r.value @ self.out.value if self.hidden else self.r.value


@pytest.mark.parametrize("make", [core.OTTT, core.OTPE])
def test_what_its_present_trace_cannot_tell_is_refused(make: Any) -> None:
    """An f_t that data change, and v as it was before the step."""
    x = data_for().xs[0]
    with pytest.raises(core.NotRepresentable, match="or is driven otherwise"):
        core.initialise(make(Leaky(drive=jax.numpy.tanh)), x)
    with pytest.raises(core.NotRepresentable, match=r"got v, which .* reads one step late"):
        core.initialise(make(Leaky(late=True)), x)
    core.initialise(make(Leaky(drive=lambda y: 0.3 * y)), x)


def test_what_is_no_leaky_readout_has_no_filter() -> None:
    """E-prop is D-RTRL there: r is no sum of what has been read, or has a readout of its own."""
    data = data_for()
    for model, alike in (
        (Leaky(), False),
        (Leaky(drive=jax.numpy.tanh), True),
        (Leaky(hidden=True), True),
    ):

        def both(model: Any = model) -> Any:
            e_prop = core.EProp(model, feedback="symmetric", window=3)
            return [named(gradient_of(a, data)[0]) for a in (e_prop, core.D_RTRL(model))]

        e_prop, d_rtrl = run(both)
        assert (relative_error(e_prop["W"], d_rtrl["W"]) < 1e-12) == alike
        assert relative_error(e_prop["V"], d_rtrl["V"]) < 1e-12


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


@pytest.mark.parametrize("make", [core.SnAp, core.EProp, core.OTPE, core.UORO])
def test_a_sample_that_starts_anew_has_forgotten(make: Any) -> None:
    """A stream of sequences has the gradient of each, whatever stood before; NaN as well."""
    model, data = spiking.LEAKY_READOUT.model(), data_for()
    again = np.zeros((6, 2), bool)
    again[[2, 4, 4], [0, 0, 1]] = True
    xs = data.xs.copy()
    xs[0, 1, 0] = np.nan
    mask = np.ones((6, 2))
    mask[:4, 1] = 0

    def everything() -> Any:
        parts = ((slice(0, 2), 0), (slice(2, 4), 0), (slice(4, 6), 0), (slice(4, 6), 1))
        alone = Data(*(np.stack([a[t, b] for t, b in parts], axis=1) for a in data))
        stream = gradient_of(make(model), Data(xs, data.ys), reset=again, mask=mask)
        return stream, gradient_of(make(model), alone)

    (stream, _), (wanted, _) = run(everything)
    assert_close(stream, wanted)


def test_random_feedback_on_leaky_units_is_rflo() -> None:
    """p = leak p + x f, g = (err B^T) p, with a B that is not W and the same for all data."""
    model, found = rate.RECURRENT.model(), []
    p = weights_of(model)
    W = p["out.weight.weight"]
    for seed in range(2):
        data = data_for(seed)
        grads, _ = run(lambda d=data: gradient_of(core.D_RTRL(model, feedback="random"), d))
        local, own = leaky_local(p, *data), grads["cell.W.weight.weight"]
        err = local.L @ np.linalg.pinv(W.T)  # L = err W^T has full rank
        one = [np.repeat(err[..., [o]], N_HIDDEN, -1) for o in range(W.shape[1])]
        basis = np.stack([dense_d_rtrl(local._replace(L=L))[0] for L in one])  # [O, I, H]
        B = [np.linalg.lstsq(basis[..., j].T, own[:, j])[0] for j in range(N_HIDDEN)]
        assert relative_error(np.einsum("oih,ho->ih", basis, np.stack(B)), own) < 1e-12
        found.append(np.stack(B))
    assert relative_error(found[0], found[1]) < 1e-12
    assert relative_error(found[0], W) > 0.5


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
