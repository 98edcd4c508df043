"""What an entry is, and frames that most models share: a layer of neurons and a readout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import brainstate
import braintools
import brainunit as u
import jax.numpy as jnp
import numpy as np

from .reference import product, recurrent

__all__ = ["B", "Entry", "H", "I", "Net", "O", "State", "T", "draw", "smooth", "weight"]

T, B, I, H, O = 4, 2, 3, 4, 2


@dataclass(frozen=True)
class Entry:
    """A model of the catalogue.

    Attributes:
      family: a row of the table, such as "neurons".
      name: of the model within its family.
      make: builds the module, initialised by brainstate.nn.init_all_states.
      inputs: of a sequence, [T, B, ...].
      batching: as `core.initialise` takes it.
    """

    family: str
    name: str
    make: Callable[[], Any]
    inputs: Callable[[], Any] | None = None
    batching: str = "manual"

    def xs(self) -> Any:
        return smooth(T, B, I) if self.inputs is None else self.inputs()


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return 0.6 * np.random.default_rng((seed, *shape)).normal(size=shape)


def smooth(*shape: int) -> np.ndarray:
    return draw(*shape, seed=7) + 0.4


def weight(*shape: int, seed: int = 0) -> Any:
    return brainstate.ParamState(draw(*shape, seed=seed))


class State(brainstate.nn.Module):
    """A module with states `h`, ..., of [B, H], zero at first."""

    names = ("h",)
    shape: tuple[int, ...] = (H,)
    dtype: Any = float

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        lead = () if batch_size is None else (batch_size,)
        for name in self.names:
            zeros = jnp.zeros((*lead, *self.shape), self.dtype)
            setattr(self, name, brainstate.HiddenState(zeros))


class Net(brainstate.nn.Module):
    """A layer and a linear readout of what it returns."""

    def __init__(self, layer: Any, n: int = H) -> None:
        super().__init__()
        self.layer, self.axes = layer, len(getattr(layer, "shape", (n,)))
        self.R = weight(n, O, seed=3)

    def update(self, x: Any) -> Any:
        y = u.get_magnitude(self.layer(x))
        return product(y.reshape(*y.shape[: y.ndim - self.axes], -1), self.R.value)


@recurrent
class Spiking(brainstate.nn.Module):
    """Neurons driven by their input and their own last spikes; returns spikes and voltages."""

    def __init__(self, neuron: Any, unit: Any, scale: float, offset: float) -> None:
        super().__init__()
        self.neuron = neuron
        self.W = brainstate.nn.Linear(
            I + H,
            H,
            w_init=braintools.init.Normal(0.0 * unit, scale * unit),
            b_init=braintools.init.Constant(offset * unit),
        )

    def update(self, x: Any) -> Any:
        self.neuron(self.W(jnp.concatenate([x, self.neuron.get_spike()], axis=-1)))
        V = u.get_magnitude(self.neuron.V.value)
        return jnp.concatenate([self.neuron.get_spike(), jnp.tanh(V / 30)], axis=-1)


def spiking(neuron: Any, unit: Any = u.mA, scale: float = 2.0, offset: float = 1.0) -> Any:
    return Net(Spiking(neuron, unit, scale, offset), 2 * H)
