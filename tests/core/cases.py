"""What a test case is: a brainstate model, the same model by hand, and data for both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

import core

from .references import Step, live, named, squared_error

__all__ = [
    "Case",
    "Data",
    "by_formula",
    "data_for",
    "draw",
    "going_on",
    "gradient_of",
    "run",
    "weights_of",
]

# Windows of 1, 2 and 3 divide the sequence: a shorter one at the end costs as much to trace and to
# compile as all others together. Where it has to be right, a test asks for it.
N_STEPS, N_BATCH, N_IN, N_HIDDEN, N_OUT = 6, 2, 3, 4, 2


@dataclass(frozen=True)
class Case:
    """One model, twice.

    Attributes:
      name: for test ids.
      make: builds the brainstate module.
      step: the same by hand, see `references`.
      hidden: width of each hidden state of `step`.
      initial: value that hidden states start from, zero unless named.
      element_wise: D is the whole recurrence, so that D-RTRL is BPTT.
    """

    name: str
    make: Callable[[], Any]
    step: Step
    hidden: Mapping[str, int]
    initial: Mapping[str, float] = field(default_factory=dict)
    element_wise: bool = False

    def start(self, batch: int = N_BATCH) -> dict[str, np.ndarray]:
        """Hidden states of the hand-written model before the first step."""
        return {k: np.full((batch, n), self.initial.get(k, 0.0)) for k, n in self.hidden.items()}

    def model(self, seed: int = 0) -> Any:
        """The brainstate module with seeded weights, no bias of zero."""
        brainstate.random.seed(seed)
        model = self.make()
        draw = np.random.default_rng(seed)
        for state in model.states(brainstate.ParamState).values():
            state.value = jax.tree.map(
                lambda leaf: leaf if np.any(leaf) else leaf + 0.3 * draw.normal(size=leaf.shape),
                state.value,
            )
        return model


def weights_of(model: Any) -> dict[str, np.ndarray]:
    """The model's parameters for the hand-written one, without units."""
    return {k: np.asarray(v) for k, v in named(model.states(brainstate.ParamState)).items()}


def draw(*shape: int) -> np.ndarray:
    """A weight, the same for the same shape."""
    return np.random.default_rng(sum(shape)).normal(size=shape) * 0.6


class Formula(brainstate.nn.Module):
    """Weights and hidden states by name, and a step of both as `references` has it."""

    def __init__(self, step: Step, weights: Mapping[str, Any], hidden: Mapping[str, Any]) -> None:
        super().__init__()
        self.step, self.hidden = step, hidden
        for name, value in weights.items():
            setattr(self, name, brainstate.ParamState(value))

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        lead = () if batch_size is None else (batch_size,)
        for name, n in self.hidden.items():
            setattr(self, name, brainstate.HiddenState(jnp.zeros((*lead, *np.atleast_1d(n)))))

    def update(self, x: Any) -> Any:
        p = {path[-1]: s.value for path, s in self.states(brainstate.ParamState).items()}
        states = {name: getattr(self, name) for name in self.hidden}
        new, out = self.step(p, {name: s.value for name, s in states.items()}, x, live, live)
        for name, value in new.items():
            states[name].value = value
        return out


def by_formula(name: str, step: Step, hidden: Mapping[str, Any], **weights: np.ndarray) -> Case:
    """A model whose module is its step by hand."""
    return Case(name, lambda: Formula(step, weights, hidden), step, hidden)


class Data(NamedTuple):
    """A sequence and what is wanted of the outputs at every step."""

    xs: np.ndarray  # [T, B, I]
    ys: np.ndarray  # [T, B, O]

    def at(self, *part: Any) -> Data:
        return Data(self.xs[part], self.ys[part])


def data_for(seed: int = 0, n_steps: int = N_STEPS, batch: int = N_BATCH) -> Data:
    draw = np.random.default_rng(seed + 100)
    return Data(
        draw.normal(size=(n_steps, batch, N_IN)) + 0.3, draw.normal(size=(n_steps, batch, N_OUT))
    )


def gradient_of(
    algo: Any, data: Data, batching: str = "manual", loss: Any = squared_error, **options: Any
) -> Any:
    """`core.gradient` from fresh states, inside a trace."""
    core.initialise(algo, data.xs[0], batching=batching)
    return going_on(algo, data, loss, **{"fresh": True, **options})


def going_on(algo: Any, data: Data, loss: Any = squared_error, **options: Any) -> Any:
    """`core.gradient` from the states and traces there are."""
    return core.gradient(algo, loss, *data, **{"per_step_targets": True, "fresh": False, **options})


def run(f: Callable[..., Any], *args: Any) -> Any:
    """`f` compiled by brainstate, once; core.Results have their gradients named."""
    result = brainstate.transform.jit(f)(*args)
    return jax.tree.map(
        lambda r: (named(r.grads), r.losses) if isinstance(r, core.Result) else r,
        result,
        is_leaf=lambda r: isinstance(r, core.Result),
    )
