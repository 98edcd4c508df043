"""D-RTRL and ES-D-RTRL as recursions over traces, in plain NumPy, with derivatives by hand.

Shapes: x [T, B, I]; D [T, B, S, S, H]; f and L [T, B, S, H], for S states per neuron. A bias is a
weight on x = 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest

from . import rate_models as rate
from . import spiking_models as spiking
from .spiking_models import BETA, TAU, TAU_A

Array = np.ndarray


class Local(NamedTuple):
    """What a network computes at each step about one of its matrices."""

    x: Array
    D: Array
    f: Array
    L: Array


def dense_d_rtrl(local: Local) -> tuple[Array, Array]:
    """Gradient [I, H] and last trace [B, I, S, H]: eps <- D eps + x f, g = sum_t L eps."""
    n_steps, batch, n_in = local.x.shape
    eps = np.zeros((batch, n_in, *local.f.shape[2:]))
    g = np.zeros((n_in, local.f.shape[-1]))
    for t in range(n_steps):
        eps = np.einsum("bsph,biph->bish", local.D[t], eps)
        eps += np.einsum("bi,bsh->bish", local.x[t], local.f[t])
        g += np.einsum("bsh,bish->ih", local.L[t], eps)
    return g, eps


def es_d_rtrl(local: Local, a_x: float, a_f: float) -> Array:
    """Gradient [I, H] from low-passed factors, corrected by the f side's decay."""
    n_steps, batch, n_in = local.x.shape
    ex = np.zeros((batch, n_in))
    ef = np.zeros(local.f.shape[1:])
    g = np.zeros((n_in, local.f.shape[-1]))
    for t in range(n_steps):
        ex = a_x * ex + local.x[t]
        ef = a_f * np.einsum("bsph,bph->bsh", local.D[t], ef) + (1 - a_f) * local.f[t]
        credit = (local.L[t] * ef).sum(axis=1)
        g += np.einsum("bi,bh->ih", ex, credit) / (1 - a_f ** (t + 1))
    return g


def bias_of(local: Local) -> Local:
    """The same network's bias: a weight on the constant input one."""
    return local._replace(x=np.ones((*local.x.shape[:2], 1)))


def sigmoid(v: Array) -> Array:
    return 1 / (1 + np.exp(-v))


def error(p: Mapping[str, Array], visible: Array, y: Array) -> Array:
    """d (squared error) / d (what the readout reads)."""
    out = visible @ p["out.weight.weight"] + p["out.weight.bias"]
    return 2 * (out - y) @ p["out.weight.weight"].T


def stacked(rows: list[Local]) -> Local:
    return Local(*(np.stack([np.asarray(v) for v in column]) for column in zip(*rows, strict=True)))


def leaky_local(p: Mapping[str, Array], xs: Array, ys: Array) -> Local:
    """Of `rate_models.RECURRENT`."""
    h = np.zeros((xs.shape[1], p["cell.gain"].size))
    d = sigmoid(p["cell.time"])
    rows = []
    for x, y in zip(xs, ys, strict=True):
        operand = np.concatenate([x, h], axis=-1)
        value = operand @ p["cell.W.weight.weight"] + p["cell.W.weight.bias"]
        through = np.tanh(p["cell.gain"] * value)
        h = d * h + (1 - d) * through
        f = (1 - d) * p["cell.gain"] * (1 - through**2)
        rows.append(
            Local(operand, np.full_like(h, d)[:, None, None], f[:, None], error(p, h, y)[:, None])
        )
    return stacked(rows)


def gru_locals(p: Mapping[str, Array], xs: Array, ys: Array) -> tuple[Local, Local]:
    """Of `rate_models.GRU`: the update gate's half of Wrz, and Wh."""
    n = p["out.weight.weight"].shape[0]
    h = np.zeros((xs.shape[1], n))
    gate_rows, candidate_rows = [], []
    for x, y in zip(xs, ys, strict=True):
        operand = np.concatenate([x, h], axis=-1)
        gates = sigmoid(operand @ p["cell.Wrz.weight.weight"] + p["cell.Wrz.weight.bias"])
        r, z = gates[:, :n], gates[:, n:]
        inner = np.concatenate([x, r * h], axis=-1)
        candidate = np.tanh(inner @ p["cell.Wh.weight.weight"] + p["cell.Wh.weight.bias"])
        D = (1 - z)[:, None, None]
        f_z, f_h = (candidate - h) * z * (1 - z), z * (1 - candidate**2)
        h = (1 - z) * h + z * candidate
        L = error(p, h, y)[:, None]
        gate_rows.append(Local(operand, D, f_z[:, None], L))
        candidate_rows.append(Local(inner, D, f_h[:, None], L))
    return stacked(gate_rows), stacked(candidate_rows)


def adaptive_local(p: Mapping[str, Array], xs: Array, ys: Array) -> Local:
    """Of `spiking_models.ADAPTIVE`: voltage and adaptation, S = 2."""
    n = p["out.weight.weight"].shape[0]
    V, a = np.zeros((2, xs.shape[1], n))
    k_v, k_a = np.exp(-1 / TAU), np.exp(-1 / TAU_A)

    def spikes(V: Array, a: Array) -> tuple[Array, Array]:
        v = V - 1.0 - BETA * a
        return (v >= 0).astype(float), 0.3 * np.maximum(1 - np.abs(v), 0)

    rows = []
    for x, y in zip(xs, ys, strict=True):
        s, slope = spikes(V, a)
        operand = np.concatenate([x, s], axis=-1)
        current = operand @ p["synapse.comm.weight.weight"] + p["synapse.comm.weight.bias"]
        V, a = k_v * (V - s) + current, k_a * (a + s)
        D = [[k_v * (1 - slope), k_v * BETA * slope], [k_a * slope, k_a * (1 - BETA * slope)]]
        s, slope = spikes(V, a)
        credit = error(p, s, y) * slope
        rows.append(
            Local(
                operand,
                np.moveaxis(np.asarray(D), 2, 0),
                np.stack([np.ones_like(V), np.zeros_like(V)], axis=1),
                np.stack([credit, -BETA * credit], axis=1),
            )
        )
    return stacked(rows)


def locals_by_name(local: Local, weight: str) -> dict[str, Any]:
    """The operation and its bias under their names."""
    return {f"{weight}.weight": local, f"{weight}.bias": bias_of(local)}


def gru_local(*inputs: Any) -> dict[str, Any]:
    """Both matrices of `rate_models.GRU`."""
    gate, candidate = gru_locals(*inputs)
    found = locals_by_name(gate, "cell.Wrz.weight")
    return {**found, **locals_by_name(candidate, "cell.Wh.weight")}


# Tests over the models whose recursions stand here: `case`, and `local(p, xs, ys)` by weight; of a
# GRU's fused gates the last half, which feeds the state.
BY_HAND = pytest.mark.parametrize(
    ("case", "local"),
    [
        (rate.RECURRENT, lambda *a: locals_by_name(leaky_local(*a), "cell.W.weight")),
        (spiking.ADAPTIVE, lambda *a: locals_by_name(adaptive_local(*a), "synapse.comm.weight")),
        (rate.GRU, gru_local),
    ],
    ids=["leaky and recurrent", "adaptive lif", "gru"],
)
