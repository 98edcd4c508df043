"""Recurrent trace units: pairs of states that turn and decay, read through a nonlinearity."""

import math

import brainstate
import jax
import jax.numpy as jnp
from brainstate.nn import Module

from bench.models.base import Stack


class RTUCell(Module):
    """``h = r e^{i theta} h + sqrt(1 - r^2) W x`` in two real states, and ``relu`` of both.

    The output of ``n`` pairs has twice as many numbers.
    """

    def __init__(self, n_in: int, n: int) -> None:
        super().__init__()
        self.n = n
        uniform = brainstate.random.uniform
        self.nu = brainstate.ParamState(jnp.log(-jnp.log(0.5 + 0.49 * uniform(size=n))))
        self.theta = brainstate.ParamState(math.pi / 10 * uniform(size=n))
        self.linears = [brainstate.nn.Linear(n_in, n) for _ in range(2)]

    def init_state(self, batch_size: int | None = None, **_: object) -> None:
        shape = (self.n,) if batch_size is None else (batch_size, self.n)
        self.re, self.im = (brainstate.HiddenState(jnp.zeros(shape)) for _ in range(2))

    def update(self, x: jax.Array) -> jax.Array:
        r = jnp.exp(-jnp.exp(self.nu.value))
        a, b = r * jnp.cos(self.theta.value), r * jnp.sin(self.theta.value)
        drive_re, drive_im = (jnp.sqrt(1 - r**2) * linear(x) for linear in self.linears)
        re, im = self.re.value, self.im.value
        self.re.value, self.im.value = a * re - b * im + drive_re, b * re + a * im + drive_im
        return jax.nn.relu(jnp.concatenate([self.re.value, self.im.value], axis=-1))


class RTU(Stack):
    """Layers of ``n_hidden`` pairs of states each.

    Reference: E. Elelimy et al., "Real-Time Recurrent Learning using Trace Units in Reinforcement
    Learning", NeurIPS 2024, arXiv:2409.01449.
    """

    @property
    def width(self) -> int:
        return 2 * self.n_hidden

    def layer(self, below: int) -> RTUCell:
        return RTUCell(below, self.n_hidden)
