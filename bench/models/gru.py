"""Gated recurrent layers with a linear readout."""

import brainstate
import braintools
import jax
import jax.numpy as jnp
from brainstate.nn import Module

from bench.models.base import Stack


class GRUCell(Module):
    """A gated recurrent unit whose gates have matrices of their own, as the tutorials' cell has.

    ``z = s(W_z [x, h])``, ``r = s(W_r [x, h])``, ``h' = (1 - z) h + z tanh(W_h [x, r h])``. With
    the gates' matrices apart, those of z and of the candidate can be traced even by libraries
    that trace only what reaches the state directly; r's reaches it through W_h alone.
    """

    def __init__(self, n_in: int, n_hidden: int) -> None:
        super().__init__()
        self.n_hidden = n_hidden
        self.update_gate, self.reset_gate, self.candidate = (
            brainstate.nn.Linear(n_in + n_hidden, n_hidden, w_init=braintools.init.Orthogonal())
            for _ in range(3)
        )

    def init_state(self, batch_size: int | None = None, **_: object) -> None:
        self.h = brainstate.HiddenState(
            braintools.init.param(braintools.init.ZeroInit(), (self.n_hidden,), batch_size)
        )

    def update(self, x: jax.Array) -> jax.Array:
        """One step: ``x`` [B, I] or [I] to the state [B, H] or [H]."""
        h_tm1 = self.h.value
        xh = jnp.concatenate([x, h_tm1], axis=-1)
        z = jax.nn.sigmoid(self.update_gate(xh))
        r = jax.nn.sigmoid(self.reset_gate(xh))
        candidate = jnp.tanh(self.candidate(jnp.concatenate([x, r * h_tm1], axis=-1)))
        self.h.value = (1 - z) * h_tm1 + z * candidate
        return self.h.value


class GRU(Stack):
    """Layers of ``GRUCell``."""

    def layer(self, below: int) -> GRUCell:
        return GRUCell(below, self.n_hidden)
