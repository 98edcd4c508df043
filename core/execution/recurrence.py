"""The element-wise recurrences in time of a window that has been run.

What is left of it in order of time is linear, z_t = D_t z_{t-1} + u_t. On a CPU it is a loop. Where
a step of a loop costs more than its arithmetic (a GPU), the maps z -> D z + u are composed in
pairs, pairs of pairs and so on (`lax.associative_scan`): some twice the arithmetic in log2(K)
steps, and the same to rounding. Axes: K steps, lead (batch), n neurons.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from core.execution.axes import forget, scan

Pairs = Mapping[tuple[Any, Any], Any]  # a matrix for each element, by row and column
Parts = Mapping[Any, Any]  # an array for each component


def composes() -> bool:
    """Whether steps are composed, not looped over."""
    return jax.default_backend() != "cpu"


def accumulate(
    transition: Pairs, start: Parts, inflow: Parts, keep: Any = None
) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """The recurrence z_t[s] = sum_p D_t[s, p] z_{t-1}[p] + u_t[s] over a window.

    Args:
      transition: D, [K, ...] for each pair that is not zero.
      start: z_0 by component.
      inflow: u, [K, ...].
      keep: [K, B] or [K], zero where a sample forgets z_{t-1}.

    Returns:
      z_{t-1} as step t reads it, [K, ...], and the last z.
    """
    if not start:  # no state of the group carries credit in time
        return {}, {}
    z = (_composed if composes() else _looped)(transition, start, inflow, keep)
    before = {s: jnp.concatenate([start[s][None], z[s][:-1]]) for s in start}
    return forget(before, keep), {s: z[s][-1] for s in start}


def low_pass(decay: float, inflow: Parts, keep: Any = None) -> dict[Any, Any]:
    """z_t = decay z_{t-1} + u_t of every step, from z_0 = 0, for each component of `inflow`, [K,
    ...]."""
    if not inflow:
        return {}
    n_steps = len(next(iter(inflow.values())))
    start = {s: jnp.zeros_like(u[0]) for s, u in inflow.items()}
    decays = {
        (s, s): jnp.full((n_steps, *(1,) * (u.ndim - 1)), decay, u.dtype) for s, u in inflow.items()
    }
    return (_composed if composes() else _looped)(decays, start, inflow, keep)


def faded_sum(decay: float, start: Any, inflow: Any, keep: Any = None) -> Any:
    """The last of `low_pass` alone, from z_0: decay^K z_0 + sum_t decay^(K - t) u_t, of samples
    that do not forget."""
    z, u = start, inflow
    if keep is not None:
        z, u = forget(z, keep.prod(axis=0)), forget(u, remembered(keep))
    # The sum is decay^len(u) z + the same of u alone. In halves, it stays element by element: as a
    # product or a reduction over steps it took XLA's CPU backend three and ten times as long.
    while (n := len(u)) > 1:
        if n % 2:
            z, u = decay * z + u[0], u[1:]
        else:
            z, u = decay ** (n // 2) * z, decay ** (n // 2) * u[: n // 2] + u[n // 2 :]
    return decay * z + u[0]


def remembered(keep: Any) -> Any:
    """Whether a sample has not started anew after a step of the window, [K, B]: what comes after a
    step decides whether it still counts at the end."""
    later = jnp.concatenate([keep[1:], jnp.ones_like(keep[:1])])
    return lax.cumprod(later, reverse=True)


def products(
    transition: Pairs, zero: Mapping[int, Any], keep: Any = None
) -> tuple[dict[tuple[int, int], Any], dict[tuple[int, int], Any]]:
    """A_t = D_K ... D_{t+1}: how state p after step t still moves state s at the end.

    Returns A_t[s, p] for t = 1..K, [K, ...], and A_0[s, p]; `zero` has zeros [K, ...] by
    component.
    """
    if not zero:
        return {}, {}
    end = {(s, p): jnp.full_like(zero[p][0], s == p) for s in zero for p in zero}
    if composes():
        d = {(s, p): transition.get((s, p), zero[s]) for s, p in end}
        steps: Any = forget(d, keep), {}, keep
        a, *_ = lax.associative_scan(lambda two, one: _then(one, two), steps, reverse=True)
        return {k: jnp.concatenate([a[k][1:], end[k][None]]) for k in a}, {k: a[k][0] for k in a}

    def tick(a: Any, inputs: Any) -> Any:
        d, keep_t, _ = inputs
        new = {k: jnp.zeros_like(value) for k, value in a.items()} | times(a, d)
        return forget(new, keep_t), a

    n_steps = len(next(iter(zero.values())))  # the scan's, when nothing is coupled
    first, after = scan(tick, end, (dict(transition), keep, jnp.arange(n_steps)), True)
    return after, first


def _looped(transition: Pairs, start: Parts, inflow: Parts, keep: Any) -> dict[Any, Any]:
    """z of every step, [K, ...]."""
    # What several pairs share is read once; in their order, the same whenever this is traced.
    places = {key: i for i, key in enumerate(dict.fromkeys(map(id, transition.values())))}
    different = {places[id(d)]: d for d in transition.values()}

    def tick(z: Any, inputs: Any) -> Any:
        d, u, keep_t = inputs
        z = forget(z, keep_t)
        new = dict(u)
        for (s, p), value in transition.items():
            new[s] = new[s] + d[places[id(value)]] * z[p]
        return new, new

    z: dict[Any, Any] = scan(tick, dict(start), (different, dict(inflow), keep))[1]
    return z


def _composed(transition: Pairs, start: Parts, inflow: Parts, keep: Any) -> dict[Any, Any]:
    """The same, composed."""
    d = forget(_closed(transition), keep)
    first = forget(start, None if keep is None else keep[0])
    d_0 = {pair: a[0] for pair, a in d.items()}
    u = {s: jnp.concatenate([f[:1] + _row(d_0, s, first), f[1:]]) for s, f in inflow.items()}
    return lax.associative_scan(_then, (d, u, keep))[1]


def _then(one: Any, two: Any) -> Any:
    """z -> A z + u and then z -> B z + v, of which nothing passes where `keep` of the second is
    zero."""
    (a, u, kept), (b, v, keep) = one, two
    a, u = forget((a, u), keep)
    new = {s: v[s] + _row(b, s, u) for s in v}
    return times(b, a), new, None if keep is None else kept * keep


def _row(b: Pairs, s: Any, u: Parts) -> Any:
    """Row s of B u."""
    return sum(value * u[p] for (r, p), value in b.items() if r == s)


def times(b: Pairs, a: Pairs) -> dict[tuple[Any, Any], Any]:
    """The product of matrices B A."""
    new: dict[tuple[Any, Any], Any] = {}
    for (s, q), left in b.items():
        for (r, p), right in a.items():
            if q == r:
                term = left * right
                new[s, p] = new[s, p] + term if (s, p) in new else term
    return new


def _closed(transition: Pairs) -> dict[tuple[Any, Any], Any]:
    """With zeros where products of the matrix have more elements than the matrix itself."""
    found = dict(transition)
    while missing := {
        (s, p): jnp.zeros_like(a)
        for (s, q), a in found.items()
        for (r, p) in found
        if q == r and (s, p) not in found
    }:
        found |= missing
    return found
