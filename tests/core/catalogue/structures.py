"""Steps as people write them: branches, loops, lookups, moves, several states in one array, ..."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .entries import Entry, H, I, Net, State, draw, weight
from .reference import by_hand, choose, operation, product, recurrent, repeat

ORDER = np.array([2, 0, 3, 1])
Step = Callable[[Any, Any, Any], Any]  # of the module, x and h


@recurrent
class Formula(State):
    """h <- f(self, x, h), of weights V [I, H], U [H, H], W [H, H], a gain and a bias."""

    def __init__(self, f: Step, shape: tuple[int, ...] = (H,), dtype: Any = float) -> None:
        super().__init__()
        self.f, self.shape, self.dtype = f, shape, dtype
        self.V, self.U, self.W = weight(I, H), weight(H, H, seed=1), weight(H, H, seed=2)
        self.gain, self.bias = weight(H, seed=4), weight(H, seed=5)

    def update(self, x: Any) -> Any:
        self.h.value = self.f(self, x, self.h.value)
        return self.h.value


def drive(m: Any, x: Any, h: Any) -> Any:
    return product(x, m.V.value) + product(h, m.U.value) + m.bias.value


def by_sign(m: Any, x: Any, h: Any) -> Any:
    """A branch of the whole batch, without products."""
    y = drive(m, x, h)
    return choose(x.sum() > 0, lambda h, y: 0.8 * h + jnp.tanh(y), lambda h, y: 0.5 * h + y, h, y)


def products_in_branches(m: Any, x: Any, h: Any) -> Any:
    yes = lambda x, h: 0.8 * h + jnp.tanh(product(x, m.V.value) + product(h, m.U.value))  # noqa: E731
    no = lambda x, h: 0.5 * h + jnp.sin(product(h, m.W.value)) + m.bias.value  # noqa: E731
    return choose(x.sum() > 0.5, yes, no, x, h)


def decay_in_a_branch(m: Any, x: Any, h: Any) -> Any:
    def yes(x: Any, h: Any) -> Any:
        return jax.nn.sigmoid(m.gain.value) * h + product(x, m.V.value)

    return choose(x.sum() > 0, yes, lambda x, h: 0.5 * h + product(x, m.V.value), x, h)


def products_one_after_another_in_a_branch(m: Any, x: Any, h: Any) -> Any:
    def yes(x: Any, h: Any) -> Any:
        return 0.8 * h + product(jnp.tanh(product(x, m.V.value)), m.U.value)

    return choose(x.sum() > 0.5, yes, lambda x, h: 0.5 * h, x, h)


def infinite_elsewhere(m: Any, x: Any, h: Any) -> Any:
    """The branch that is not taken has no derivative at these numbers."""

    def no(x: Any, h: Any) -> Any:
        return jnp.sqrt(product(jnp.log(h - 100.0), m.W.value))

    def yes(x: Any, h: Any) -> Any:
        return 0.8 * h + jnp.tanh(product(x, m.V.value) + product(h, m.U.value))

    if by_hand():
        return yes(x, h)
    return lax.cond(x.sum() > -1e3, yes, no, x, h)


def switched(m: Any, x: Any, h: Any) -> Any:
    y = drive(m, x, h)
    which = (x.sum() > 0).astype(int) + (x.sum() > 1)
    ways = [lambda h, y: 0.8 * h + y, lambda h, y: 0.5 * h + jnp.tanh(y), lambda h, y: h - 0.1 * y]
    if by_hand():
        return jnp.select([which == k for k in range(3)], [way(h, y) for way in ways])
    return lax.switch(which, ways, h, y)


def substeps(m: Any, x: Any, h: Any) -> Any:
    y = drive(m, x, h)
    return repeat(3, lambda i, h: h + 0.2 * (jnp.tanh(y) - h), h)


def products_in_a_loop(m: Any, x: Any, h: Any) -> Any:
    y = product(x, m.V.value)
    return repeat(2, lambda i, h: 0.7 * h + 0.3 * jnp.tanh(y + product(h, m.U.value)), h)


def a_scan_over_weights(m: Any, x: Any, h: Any) -> Any:
    y = product(x, m.V.value)
    for w in (m.U.value, m.W.value):
        y = y + jnp.tanh(product(h, w))
    return 0.8 * h + y


def scanned_weights(m: Any, x: Any, h: Any) -> Any:
    """The same by lax.scan over the stacked weights."""
    if by_hand():
        return a_scan_over_weights(m, x, h)
    ws = jnp.stack([m.U.value, m.W.value])
    y, _ = lax.scan(lambda y, w: (y + jnp.tanh(h @ w), None), product(x, m.V.value), ws)
    return 0.8 * h + y


def heads(m: Any, x: Any, h: Any) -> Any:
    """Two heads of two: W [2, 2, 2]."""
    w = m.U.value[:2].reshape(2, 2, 2)
    two = h.reshape(*h.shape[:-1], 2, 2)
    y = operation(lambda two: jnp.einsum("...gi,gio->...go", two, w), two)
    return 0.8 * h + jnp.tanh(y.reshape(h.shape) + product(x, m.V.value))


def einsum(m: Any, x: Any, h: Any) -> Any:
    return 0.8 * h + jnp.tanh(
        operation(lambda h: jnp.einsum("...i,oi->...o", h, m.U.value), h) + product(x, m.V.value)
    )


def blocks(m: Any, x: Any, h: Any) -> Any:
    w = jax.scipy.linalg.block_diag(m.U.value[:2, :2], m.W.value[:2, :2])
    return 0.8 * h + jnp.tanh(product(h, w) + product(x, m.V.value))


def looked_up(m: Any, x: Any, h: Any) -> Any:
    row = operation(lambda x: m.U.value[(x[..., 0] > 0.4).astype(int)], x)
    return 0.8 * h + jnp.tanh(row)


def one_row(m: Any, x: Any, h: Any) -> Any:
    row = operation(lambda x: m.U.value[(x.sum() > 0.4).astype(int)], x)
    return 0.8 * h + jnp.tanh(row + product(x, m.V.value))


def a_column(m: Any, x: Any, h: Any) -> Any:
    at = (x[..., 0] > 0.4).astype(int)
    row = operation(lambda x: jnp.take(m.U.value, at, axis=1).T, x)
    return 0.8 * h + jnp.tanh(row + product(x, m.V.value))


def polyval(m: Any, x: Any, h: Any) -> Any:
    return jnp.polyval(jnp.array([0.1, -0.3, 0.8, 0.0]), h) + drive(m, x, h)


def barrier(m: Any, x: Any, h: Any) -> Any:
    h, y = lax.optimization_barrier((h, drive(m, x, h)))
    return 0.8 * h + jnp.tanh(y)


def branches_cumulated(m: Any, x: Any, h: Any) -> Any:
    stages = jnp.cumsum(jnp.stack([0.5 * h, drive(m, x, h), 0.1 * h**2]), axis=0)
    return jnp.tanh(stages).mean(0)


def branches_median(m: Any, x: Any, h: Any) -> Any:
    return jnp.median(jnp.stack([0.9 * h, drive(m, x, h), 0.5 * h + 0.1]), axis=0)


def through_complex(m: Any, x: Any, h: Any) -> Any:
    z = jnp.exp(0.4j) * (0.9 * h + 1j * drive(m, x, h))
    return z.real + 0.3 * jnp.angle(z + 2) + 0.1 * jnp.abs(z.conj() * z)


def branches_summed(m: Any, x: Any, h: Any) -> Any:
    y = jnp.stack([product(x, m.V.value), product(h, m.U.value), product(h * h, m.W.value)])
    return 0.8 * h + jnp.tanh(y).sum(0)


def branches_max(m: Any, x: Any, h: Any) -> Any:
    """Dendrites of which the strongest counts."""
    y = jnp.stack([product(x, m.V.value), product(h, m.U.value)])
    return 0.8 * h + y.max(0)


def dendrites(m: Any, x: Any, h: Any) -> Any:
    """One weight makes two branches of every neuron, which are added: W [I, 2 H]."""
    y = product(x, jnp.concatenate([m.V.value, jnp.sin(m.V.value)], 1))
    return 0.8 * h + jnp.tanh(y.reshape(*y.shape[:-1], 2, H)).sum(-2)


FORMULAS: dict[str, Step] = {
    "leak": lambda m, x, h: 0.8 * h + drive(m, x, h),
    "gain and bias": lambda m, x, h: 0.8 * h + jnp.tanh(m.gain.value * drive(m, x, h)),
    "learned decay": lambda m, x, h: jax.nn.sigmoid(m.gain.value) * h + drive(m, x, h),
    "own gate of a neuron": lambda m, x, h: h * jnp.tanh(m.gain.value * h) + drive(m, x, h),
    "relu": lambda m, x, h: 0.8 * h + jax.nn.relu(drive(m, x, h)),
    "softplus": lambda m, x, h: 0.8 * h + jax.nn.softplus(drive(m, x, h)),
    "gelu": lambda m, x, h: 0.8 * h + jax.nn.gelu(drive(m, x, h)),
    "silu": lambda m, x, h: 0.8 * h + jax.nn.silu(drive(m, x, h)),
    "elu": lambda m, x, h: 0.8 * h + jax.nn.elu(drive(m, x, h)),
    "clip": lambda m, x, h: jnp.clip(0.8 * h + drive(m, x, h), -1.0, 1.5),
    "where": lambda m, x, h: jnp.where(h > 0.2, 0.5 * h, h) + drive(m, x, h),
    "power": lambda m, x, h: 0.8 * h - 0.1 * h**3 + drive(m, x, h),
    "checkpoint": lambda m, x, h: jax.checkpoint(lambda h, y: 0.8 * h + jnp.tanh(y))(
        h, drive(m, x, h)
    ),
    "jit": lambda m, x, h: jax.jit(lambda h, y: 0.8 * h + jnp.tanh(y))(h, drive(m, x, h)),
    "stop_gradient": lambda m, x, h: 0.8 * h + drive(m, x, h) - lax.stop_gradient(0.1 * h),
    "low rank": lambda m, x, h: (
        0.8 * h + product(h, m.U.value[:, :2] @ m.W.value[:2]) + product(x, m.V.value)
    ),
    "symmetric": lambda m, x, h: (
        0.8 * h + product(h, m.U.value + m.U.value.T) + product(x, m.V.value)
    ),
    "no self-connection": lambda m, x, h: (
        0.8 * h + product(h, m.U.value * (1 - jnp.eye(H))) + product(x, m.V.value)
    ),
    "Dale's law": lambda m, x, h: (
        0.8 * h
        + product(h, jnp.abs(m.U.value) * jnp.array([[1.0], [1], [1], [-1]]))
        + product(x, m.V.value)
    ),
    "weight norm": lambda m, x, h: (
        0.8 * h + product(h, m.U.value / jnp.linalg.norm(m.U.value, axis=0)) + product(x, m.V.value)
    ),
    "tied": lambda m, x, h: (
        0.8 * h + product(h, m.U.value) + product(jnp.tanh(h), m.U.value) + product(x, m.V.value)
    ),
    "frozen": lambda m, x, h: 0.8 * h + product(h, jnp.asarray(draw(H, H))) + product(x, m.V.value),
    "quantised straight through": lambda m, x, h: (
        0.8 * h
        + product(h, m.U.value + lax.stop_gradient(jnp.round(m.U.value) - m.U.value))
        + product(x, m.V.value)
    ),
    "branch": by_sign,
    "products in branches": products_in_branches,
    "a decay in a branch": decay_in_a_branch,
    "products one after another in a branch": products_one_after_another_in_a_branch,
    "a branch that is infinite where it is not taken": infinite_elsewhere,
    "switch": switched,
    "a loop over weights": scanned_weights,
    "sub-steps in a loop": substeps,
    "products in a loop": products_in_a_loop,
    "heads": heads,
    "einsum": einsum,
    "block-diagonal": blocks,
    "rows looked up": looked_up,
    "columns looked up": a_column,
    "polyval": polyval,
    "optimization_barrier": barrier,
    "device_put": lambda m, x, h: jax.device_put(0.8 * h + jnp.tanh(drive(m, x, h))),
    "sum of branches": branches_summed,
    "largest of branches": branches_max,
    "running sum of branches": branches_cumulated,
    "median of branches": branches_median,
    "complex numbers on the way": through_complex,
    "dendrites": dendrites,
    "cumulative operand": lambda m, x, h: (
        0.8 * h + product(jnp.cumsum(h, -1), m.U.value) + product(x, m.V.value)
    ),
    "normalised operand": lambda m, x, h: (
        0.8 * h + product(jax.nn.standardize(h), m.U.value) + product(x, m.V.value)
    ),
    "attention in the operand": lambda m, x, h: (
        0.8 * h + product(jax.nn.softmax(h) * h, m.U.value) + product(x, m.V.value)
    ),
}

MOVES: dict[str, Step] = {  # elements moved by fixed indices
    "permuted": lambda m, x, h: 0.8 * h + jnp.tanh(drive(m, x, h))[..., ORDER],
    "reversed": lambda m, x, h: 0.8 * h + jnp.flip(drive(m, x, h), -1),
    "written by at[].set": lambda m, x, h: (0.8 * h).at[..., :2].set(drive(m, x, h)[..., 2:]),
    "added by at[].add": lambda m, x, h: (0.8 * h).at[..., ORDER].add(drive(m, x, h)),
    "added twice at an index": lambda m, x, h: (
        (0.8 * h).at[..., np.array([1, 1])].add(drive(m, x, h)[..., :2])
    ),
    "dynamic_update_slice": lambda m, x, h: lax.dynamic_update_slice_in_dim(
        0.8 * h, drive(m, x, h)[..., :2], 1, h.ndim - 1
    ),
    "split and joined": lambda m, x, h: (
        0.8 * h + jnp.concatenate(jnp.split(drive(m, x, h), 2, -1)[::-1], -1)
    ),
    "repeated columns": lambda m, x, h: (
        0.8 * h + product(h, jnp.repeat(m.U.value[:, :2], 2, 1)) + product(x, m.V.value)
    ),
    "bias tiled": lambda m, x, h: 0.8 * h + drive(m, x, h) + jnp.tile(m.gain.value[:2], 2),
}

MAPPED: dict[str, Step] = {  # written for one sample, and mapped over a batch
    "a row looked up": one_row,
    "branch": by_sign,
    "products in branches": products_in_branches,
    "heads": heads,
}


ENTRIES = [
    *(Entry("steps", name, lambda f=f: Net(Formula(f))) for name, f in FORMULAS.items()),
    *(Entry("moves", name, lambda f=f: Net(Formula(f))) for name, f in MOVES.items()),
    *(
        Entry("steps", f"{name}, mapped", lambda f=f: Net(Formula(f)), batching="vmap")
        for name, f in MAPPED.items()
    ),
]
