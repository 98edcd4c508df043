"""Steps that a trace has not taken in yet.

    eps_t = P_t eps_0 + sum_s x_s (x) g_s          g_s = D_t ... D_{s+1} f_s,  P_t = D_t ... D_1

A past trace does not depend on later weights, so this holds whatever updates come in between. A
step reads eps_0 once and adds one product over the steps that are held back. The trace is written
when there is no room for more, by one product per sample.

That is worth its product where a trace lies outside of a processor's caches. It is not on a GPU:
whether to write is decided by a loop, for which the host has to be asked (on an H100 an update a
step of the trace of 640 x 512 x 64 took 0.18 ms with it and 0.12 without).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from core.execution.recurrence import times

# On a CPU, a trace of fewer bytes is read and written faster than a further product is made.
CACHED_BYTES = 2**24

# How many steps: c products of a step, and a c-th of reading and writing a trace, are least at
# c = sqrt(4 operations / bytes) of what a processor can do in a second.
STEPS = 4


class Pending(NamedTuple):
    """A trace and the steps that are held back from it; every array leads with its samples."""

    eps: dict[int, Any]  # eps_0 by component, [lead, rows, width]
    moved: dict[tuple[int, int], Any]  # P by pair of components, [lead, width]
    x: Any  # [lead, c, rows]
    g: dict[int, Any]  # by component, [lead, c, width]; zero where no step is
    count: Any  # [lead], steps held

    @property
    def room(self) -> int:
        """c."""
        return int(self.x.shape[-2])

    def drive(self, dw: Any) -> dict[int, Any]:
        """What the steps held back make of dW [rows, width], by component [lead, width]."""
        q = (self.x.reshape(-1, self.x.shape[-1]) @ dw).reshape(*self.x.shape[:-1], -1)
        return {s: (g * q).sum(axis=-2) for s, g in self.g.items()}

    def after(self, a: dict[tuple[int, int], Any]) -> Pending:
        """All that has been, A [lead, width] later."""
        states = tuple(self.eps)
        g = {s: sum(a[s, p][..., None, :] * self.g[p] for p in states) for s in states}
        return self._replace(moved=times(a, self.moved), g=g)

    def with_steps(self, x: Any, g: dict[int, Any], eps: dict[int, Any], taken_in: Any) -> Pending:
        """With further steps x [lead, K, rows] and g [lead, K, width], beside the trace `eps`,
        which has `taken_in` what was held back, or not."""
        first = jnp.where(taken_in, 0, self.count.max())

        def entered(held: Any, new: Any) -> Any:
            left = jnp.where(taken_in, jnp.zeros_like(held), held)
            return jax.lax.dynamic_update_slice_in_dim(left, new.astype(held.dtype), first, -2)

        return Pending(
            eps,
            {(s, p): jnp.where(taken_in, s == p, a) for (s, p), a in self.moved.items()},
            entered(self.x, x),
            {s: entered(held, g[s]) for s, held in self.g.items()},
            jnp.full_like(self.count, first + x.shape[-2]),
        )


def held_back(eps: dict[int, Any], room: int, dtype: Any) -> Pending:
    """A trace from which nothing is held back, with room for so many steps."""
    *lead, rows, width = next(iter(eps.values())).shape
    return Pending(
        eps,
        {(s, p): jnp.full((*lead, width), s == p, dtype) for s in eps for p in eps},
        jnp.zeros((*lead, room, rows), dtype),
        {s: jnp.zeros((*lead, room, width), dtype) for s in eps},
        jnp.zeros(lead, jnp.int32),
    )


def slots(eps: dict[int, Any], steps: int, most: int | str) -> int:
    """For how many steps there is to be room when `steps` come at a time; 0 for none."""
    if most == "auto":
        size = sum(math.prod(a.shape) * a.dtype.itemsize for a in eps.values())
        pays = jax.default_backend() == "cpu" and size >= CACHED_BYTES
        most = STEPS if pays else 1
    room = int(most) // steps * steps
    return room if room >= 2 * steps else 0
