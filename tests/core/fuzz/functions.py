"""Functions of one number that a random model may apply: as text, and value and slope in NumPy.

The slope of a surrogate is what its rule says, not what its value does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = ["FUNCTIONS", "PREAMBLE", "Function"]

Array = np.ndarray


class Function(NamedTuple):
    """text: of the call, with one `{}`; value and slope: of an array."""

    text: str
    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]


def sigmoid(v: Array) -> Array:
    return 1 / (1 + np.exp(-v))


def heaviside(v: Array) -> Array:
    return (v >= 0).astype(float)


def bell(v: Array) -> Array:
    return 1 / (1 + 2 * v**2)


# What the functions' texts need, beside jax and braintools.
PREAMBLE = """
@jax.custom_jvp
def jvp_spike(v):
    return (v >= 0).astype(v.dtype)

jvp_spike.defjvp(lambda p, t: (jvp_spike(p[0]), t[0] / (1 + 2 * p[0] ** 2)))

@jax.custom_vjp
def vjp_spike(v):
    return (v >= 0).astype(v.dtype)

vjp_spike.defvjp(lambda v: (vjp_spike(v), v), lambda v, d: (d / (1 + 2 * v**2),))

@jax.custom_vjp
def slope_spike(v, slope):
    return jnp.heaviside(v, 1.0)

slope_spike.defvjp(lambda v, s: (slope_spike(v, s), (v, s)),
                   lambda r, d: (d / (1 + r[1] * r[0] ** 2), jnp.zeros_like(r[1])))

@jax.custom_vjp
def straight_through(v):
    return jnp.sign(v)

straight_through.defvjp(lambda v: (jnp.sign(v), v), lambda v, d: (d * (jnp.abs(v) < 2),))

@jax.custom_jvp
def rounded(v):
    return jnp.round(2 * v) / 2

rounded.defjvps(lambda t, ans, v: t)

def detached_spike(v):
    soft = jax.nn.sigmoid(v)
    return soft + jax.lax.stop_gradient((v >= 0).astype(v.dtype) - soft)

def detached_sign(v):
    return v + jax.lax.stop_gradient(jnp.sign(v) - v)

@jax.jit
def jitted_spike(v):
    return 0.5 * jvp_spike(2 * v)
"""

FUNCTIONS = {
    "tanh": Function("jnp.tanh({})", np.tanh, lambda v: 1 - np.tanh(v) ** 2),
    "sigmoid": Function("jax.nn.sigmoid({})", sigmoid, lambda v: sigmoid(v) * (1 - sigmoid(v))),
    "relu": Function("jax.nn.relu({})", lambda v: np.maximum(v, 0), lambda v: (v > 0) * 1.0),
    "leaky_relu": Function(
        "jnp.where({0} > 0, {0}, 0.1 * {0})",
        lambda v: np.where(v > 0, v, 0.1 * v),
        lambda v: np.where(v > 0, 1.0, 0.1),
    ),
    "softplus": Function("jax.nn.softplus({})", lambda v: np.logaddexp(v, 0), sigmoid),
    "silu": Function(
        "jax.nn.silu({})",
        lambda v: v * sigmoid(v),
        lambda v: sigmoid(v) * (1 + v * (1 - sigmoid(v))),
    ),
    "sine": Function("jnp.sin({})", np.sin, np.cos),
    "cube": Function("({} / 2) ** 3", lambda v: (v / 2) ** 3, lambda v: 1.5 * (v / 2) ** 2),
    "stop": Function("jax.lax.stop_gradient({})", lambda v: v, np.zeros_like),
    "jvp_spike": Function("jvp_spike({})", heaviside, bell),
    "vjp_spike": Function("vjp_spike({})", heaviside, bell),
    "slope_spike": Function(
        "slope_spike({}, jnp.asarray(3.0))", heaviside, lambda v: 1 / (1 + 3 * v**2)
    ),
    "straight_through": Function("straight_through({})", np.sign, lambda v: 1.0 * (abs(v) < 2)),
    "rounded": Function("rounded({})", lambda v: np.round(2 * v) / 2, np.ones_like),
    "detached_spike": Function(
        "detached_spike({})", heaviside, lambda v: sigmoid(v) * (1 - sigmoid(v))
    ),
    "detached_sign": Function("detached_sign({})", np.sign, np.ones_like),
    "jitted_spike": Function(
        "jitted_spike({})", lambda v: 0.5 * heaviside(v), lambda v: bell(2 * v)
    ),
    "tent_spike": Function(
        "braintools.surrogate.ReluGrad(alpha=0.3, width=1.0)({})",
        heaviside,
        lambda v: 0.3 * np.maximum(1 - abs(v), 0),
    ),
    "sigmoid_spike": Function(
        "braintools.surrogate.Sigmoid(alpha=2.0)({})",
        heaviside,
        lambda v: 2 * sigmoid(2 * v) * (1 - sigmoid(2 * v)),
    ),
}

SMOOTH = ("tanh", "sigmoid", "softplus", "silu", "sine", "cube", "relu", "leaky_relu")
SPIKES = (
    "jvp_spike",
    "vjp_spike",
    "slope_spike",
    "detached_spike",
    "jitted_spike",
    "tent_spike",
    "sigmoid_spike",
)
ESTIMATORS = ("straight_through", "rounded", "detached_sign")
