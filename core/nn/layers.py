"""Layers that brainstate has not, or has otherwise than BrainTrace; get them from `core.nn`.

They are ordinary modules: nothing in them knows of traces.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import brainstate
import braintools
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Size = int | Sequence[int]


def width(size: Size) -> int:
    """The last axis of a size."""
    return int(size) if isinstance(size, int) else int(tuple(size)[-1])


class LoRA(brainstate.nn.LoRA):
    """``y = base(x) + x (A B) / rank``; brainstate's leaves the factor 1 / rank out, and gives A,
    as the weight of a product of its own, its gradient within the step alone."""

    def __call__(self, x: Float[Array, "... I"]) -> Float[Array, "... O"]:
        factors = self.weight.value
        y = x @ (factors["lora_a"] @ factors["lora_b"]) / factors["lora_a"].shape[-1]
        return y if self.base_module is None else y + self.base_module(x)


class FeedbackLinear(brainstate.nn.Module):
    """``y = x W + b``, whose derivative by x is ``dy B^T``: adaptive feedback for a readout.

    W and B have the same gradient, so that both move alike; with weight decay of the optimiser they
    become one. Without B among the trained weights its feedback is random and fixed. It holds under
    every algorithm, BPTT included; `core.EProp` filters nothing in front of it.

    Args:
      in_size, out_size: widths I and O.
      w_init, b_init: initialisers of W and B, drawn apart, and of b; None for no bias.

    Reference: J. Kolen & J. Pollack, ICNN 1994; G. Bellec et al., Nature Communications 11 (2020).
    """

    def __init__(
        self,
        in_size: Size,
        out_size: Size,
        w_init: Any = braintools.init.KaimingNormal(),  # noqa: B008  never changed
        b_init: Any = braintools.init.ZeroInit(),  # noqa: B008
    ) -> None:
        super().__init__()
        self.in_size, self.out_size = (width(in_size),), (width(out_size),)
        shape, param = (width(in_size), width(out_size)), braintools.init.param
        self.weight, self.feedback = (brainstate.ParamState(param(w_init, shape)) for _ in "WB")
        self.bias = None if b_init is None else brainstate.ParamState(param(b_init, shape[1:]))

    def update(self, x: Float[Array, "... I"]) -> Float[Array, "... O"]:
        stop, B = jax.lax.stop_gradient, self.feedback.value
        # The value is x W: what is added to it is nothing, but has the derivatives above.
        y = x @ stop(B) + stop(x) @ (self.weight.value + B - 2 * stop(B))
        return y if self.bias is None else y + self.bias.value


class GroupedLinear(brainstate.nn.Module):
    """One matrix for each of G groups, [..., G, K] -> [..., G, N].

    Args:
      num_groups, in_features, out_features: G, K, N.
      w_init, b_init: initialisers of [G, K, N] and [G, N]; None for no bias.
    """

    def __init__(
        self,
        num_groups: int,
        in_features: int,
        out_features: int,
        w_init: Any = braintools.init.KaimingNormal(),  # noqa: B008  never changed
        b_init: Any = braintools.init.ZeroInit(),  # noqa: B008
    ) -> None:
        super().__init__()
        self.in_size, self.out_size = (num_groups, in_features), (num_groups, out_features)
        param = braintools.init.param
        weights = {"weight": param(w_init, (num_groups, in_features, out_features))}
        if b_init is not None:
            weights["bias"] = param(b_init, (num_groups, out_features))
        self.weight = brainstate.ParamState(weights)

    def update(self, x: Float[Array, "... G K"]) -> Float[Array, "... G N"]:
        y = jnp.einsum("...gk,gkn->...gn", x, self.weight.value["weight"])
        return y + self.weight.value["bias"] if "bias" in self.weight.value else y


class _Gated(brainstate.nn.RNNCell):
    """A cell with one state h, and gates that read [x, h]."""

    reading = "W_x"  # BrainTrace's name of the layer that reads x
    gates: tuple[str, ...] = ()
    reads_input = True  # whether the gates read x, [I], and not something of the state's width

    def __init__(
        self,
        in_size: Size,
        out_size: Size,
        w_init: Any = braintools.init.Orthogonal(),  # noqa: B008  never changed
        b_init: Any = braintools.init.ZeroInit(),  # noqa: B008
        state_init: Any = braintools.init.ZeroInit(),  # noqa: B008
    ) -> None:
        super().__init__()
        self.in_size, self.out_size = (width(in_size),), (width(out_size),)
        self._state_init = state_init
        n_in, n = width(in_size), width(out_size)
        read = n_in if self.reads_input else n
        for name, size in {self.reading: n_in, **dict.fromkeys(self.gates, read + n)}.items():
            setattr(self, name, brainstate.nn.Linear(size, n, w_init=w_init, b_init=b_init))

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        initial = braintools.init.param(self._state_init, self.out_size, batch_size)
        self.h = brainstate.HiddenState(initial)

    def reset_state(self, batch_size: int | None = None, **_: Any) -> None:
        self.h.value = braintools.init.param(self._state_init, self.out_size, batch_size)

    def gate(self, name: str, x: Float[Array, "... I"]) -> Float[Array, "... H"]:
        return jax.nn.sigmoid(getattr(self, name)(jnp.concatenate([x, self.h.value], axis=-1)))


class MiniGRU(_Gated):
    """``h = (1 - z) h + z W_x x`` with ``z = s(W_z [x, h])``."""

    gates = ("W_z",)

    def update(self, x: Float[Array, "... I"]) -> Float[Array, "... H"]:
        z = self.gate("W_z", x)
        self.h.value = (1 - z) * self.h.value + z * self.W_x(x)
        return self.h.value


class MiniLSTM(_Gated):
    """``h = f h + i W_x x`` with ``f, i = s(W [x, h])``."""

    gates = ("W_f", "W_i")

    def update(self, x: Float[Array, "... I"]) -> Float[Array, "... H"]:
        f, i = (self.gate(name, x) for name in self.gates)
        self.h.value = f * self.h.value + i * self.W_x(x)
        return self.h.value


class MinimalRNNCell(_Gated):
    """``h = f h + (1 - f) z`` with ``z = phi x`` and ``f = s(W_u [z, h])`` (arXiv:1711.06788)."""

    reading, gates = "phi", ("W_u",)
    reads_input = False

    def update(self, x: Float[Array, "... I"]) -> Float[Array, "... H"]:
        z = self.phi(x)
        f = self.gate("W_u", z)
        self.h.value = f * self.h.value + (1 - f) * z
        return self.h.value


class CFNCell(_Gated):
    """``h = f tanh(h) + i tanh(Wh x)`` with ``f, i = s(W [x, h])`` (arXiv:1612.06212)."""

    reading, gates = "Wh", ("Wf", "Wi")

    def update(self, x: Float[Array, "... I"]) -> Float[Array, "... H"]:
        f, i = (self.gate(name, x) for name in self.gates)
        self.h.value = f * jnp.tanh(self.h.value) + i * jnp.tanh(self.Wh(x))
        return self.h.value


class LRUCell(brainstate.nn.Module):
    """Linear recurrent unit: a complex decay for each unit, kept as two real states.

    ``h = exp(-exp(nu) + i exp(theta)) h + exp(gamma) B x`` and ``y = Re(C h) + D x``.

    Args:
      d_model, d_hidden: widths of input and output, and of the state.
      r_min, r_max: range of the decays.
      max_phase: largest angle of a step.

    Reference: A. Orvieto et al., ICML 2023, arXiv:2303.06349.
    """

    def __init__(
        self,
        d_model: int,
        d_hidden: int,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 2 * math.pi,
    ) -> None:
        super().__init__()
        self.in_size = self.out_size = (d_model,)
        self.d_hidden = d_hidden
        uniform = brainstate.random.uniform
        decay = jnp.sqrt(uniform(size=d_hidden) * (r_max**2 - r_min**2) + r_min**2)
        self.nu_log = brainstate.ParamState(jnp.log(-jnp.log(decay)))
        self.theta_log = brainstate.ParamState(jnp.log(max_phase * uniform(size=d_hidden)))
        self.gamma_log = brainstate.ParamState(0.5 * jnp.log(1 - decay**2))
        init = {"w_init": braintools.init.LecunNormal(), "b_init": None}
        read, write = (d_model, d_hidden), (d_hidden, d_model)
        self.B_re, self.B_im = (brainstate.nn.Linear(*read, **init) for _ in range(2))
        self.C_re, self.C_im = (brainstate.nn.Linear(*write, **init) for _ in range(2))
        self.D = brainstate.ParamState(brainstate.random.randn(d_model))

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        shape = (self.d_hidden,) if batch_size is None else (batch_size, self.d_hidden)
        self.h_re, self.h_im = (brainstate.HiddenState(jnp.zeros(shape)) for _ in range(2))

    def reset_state(self, **_: Any) -> None:
        for h in (self.h_re, self.h_im):
            h.value = jnp.zeros_like(h.value)

    def update(self, x: Float[Array, "... D"]) -> Float[Array, "... D"]:
        decay, angle = jnp.exp(-jnp.exp(self.nu_log.value)), jnp.exp(self.theta_log.value)
        a, b, gain = decay * jnp.cos(angle), decay * jnp.sin(angle), jnp.exp(self.gamma_log.value)
        re, im = self.h_re.value, self.h_im.value
        self.h_re.value = a * re - b * im + gain * self.B_re(x)
        self.h_im.value = b * re + a * im + gain * self.B_im(x)
        return self.C_re(self.h_re.value) - self.C_im(self.h_im.value) + self.D.value * x
