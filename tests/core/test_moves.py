"""Several states in one array; elements moved by fixed indices: what is representable is not
refused. No weight is recurrent, so that D-RTRL equals BPTT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brainstate
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import core

from .cases import N_HIDDEN, N_IN, data_for, gradient_of, run
from .references import assert_close
from .test_structure import draw

H = N_HIDDEN
ORDER = np.array([2, 0, 3, 1])


class OneArray(brainstate.nn.Module):
    """A voltage and its adaptation in one array."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.W, self.R = brainstate.ParamState(draw(N_IN, H)), brainstate.ParamState(draw(H, 2))
        self.kind = kind

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        shape = (H,) if batch_size is None else (batch_size, H)
        if self.kind == "HiddenTreeState":
            self.s = brainstate.HiddenTreeState({"v": jnp.zeros(shape), "a": jnp.zeros(shape)})
        else:
            self.s = brainstate.HiddenGroupState(jnp.zeros((*shape, 2)))

    def update(self, x: Any) -> Any:
        first, second = ("v", "a") if self.kind == "HiddenTreeState" else (0, 1)
        v, a = self.s.get_value(first), self.s.get_value(second)
        y = x @ self.W.value
        self.s.set_value({first: 0.8 * v - 0.3 * a + jnp.tanh(y), second: 0.9 * a + 0.1 * v})
        return self.s.get_value(first) @ self.R.value


class Moved(OneArray):
    """h <- f(h, y)."""

    def __init__(self, f: Callable[[Any, Any], Any]) -> None:
        super().__init__("")
        self.f = f

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        self.h = brainstate.HiddenState(jnp.zeros((H,) if batch_size is None else (batch_size, H)))

    def update(self, x: Any) -> Any:
        self.h.value = self.f(self.h.value, x @ self.W.value)
        return self.h.value @ self.R.value


MOVES: dict[str, Callable[[Any, Any], Any]] = {
    "permutation": lambda h, y: 0.8 * h + jnp.tanh(y)[..., ORDER],
    "take": lambda h, y: 0.8 * h + jnp.take(jnp.tanh(y), ORDER, axis=-1),
    "at set": lambda h, y: (0.8 * h).at[..., :2].set(jnp.tanh(y)[..., 2:]),
    "at add, an index twice": lambda h, y: (0.8 * h).at[..., np.array([1, 1])].add(y[..., :2]),
    "dynamic_update_slice": lambda h, y: lax.dynamic_update_slice_in_dim(
        0.8 * h, y[..., :2], 1, h.ndim - 1
    ),
    "stack": lambda h, y: 0.8 * h + jnp.stack([jnp.tanh(y), jnp.sin(y)]).sum(0),
    "tile": lambda h, y: 0.8 * h + y * jnp.tile(jnp.ones(1), H),
}


def check(model: Any) -> None:
    data = data_for(n_steps=4)
    ways = [
        (core.BPTT, "manual"),
        (lambda m: core.D_RTRL(m, window=1), "vmap"),
        (lambda m: core.D_RTRL(m, window=3), "manual"),
        (lambda m: core.ES_D_RTRL(m, 16, window=2), "manual"),
    ]
    exact, *found = run(lambda: [gradient_of(make(model), data, b) for make, b in ways])
    for gradients, _ in found:
        assert_close(gradients, exact[0], 1e-10)


@pytest.mark.parametrize("kind", ["HiddenGroupState", "HiddenTreeState"])
def test_states_of_one_array_are_states_of_one_neuron(kind: str) -> None:
    check(OneArray(kind))


@pytest.mark.parametrize("name", MOVES)
def test_fixed_moves_are_followed(name: str) -> None:
    check(Moved(MOVES[name]))


def test_a_permutation_of_many_neurons_is_one_block() -> None:
    """Not one for each neuron: its neurons are listed."""
    n = 32

    class Wide(Moved):
        def __init__(self) -> None:
            super().__init__(lambda h, y: 0.8 * h + jnp.tanh(y)[..., np.arange(n)[::-1]])
            self.W, self.R = brainstate.ParamState(draw(N_IN, n)), brainstate.ParamState(draw(n, 2))

        def init_state(self, batch_size: int | None = None, **_: Any) -> None:
            shape = (n,) if batch_size is None else (batch_size, n)
            self.h = brainstate.HiddenState(jnp.zeros(shape))

    model = Wide()
    brainstate.nn.init_all_states(model, batch_size=2)
    algo = core.D_RTRL(model)
    algo.compile_graph(data_for().xs[0])
    (block,) = algo.graph.operations[0].blocks
    assert block.neurons == tuple(range(n))[::-1]
    check(model)


def test_an_output_of_several_neurons_is_refused_and_the_advice_works() -> None:
    class Tiled(Moved):
        columns = False

        def __init__(self) -> None:
            super().__init__(lambda h, y: 0.8 * h + jnp.tanh(y))

        def update(self, x: Any) -> Any:
            half = self.W.value[:, : H // 2]
            y = x @ jnp.tile(half, 2) if self.columns else jnp.tile(x @ half, 2)
            self.h.value = self.f(self.h.value, y)
            return self.h.value @ self.R.value

    model = Tiled()
    brainstate.nn.init_all_states(model, batch_size=2)
    with pytest.raises(core.NotRepresentable, match="repeat a weight's columns"):
        core.D_RTRL(model).compile_graph(data_for().xs[0])
    model.columns = True
    check(model)


@pytest.mark.parametrize("mix", [jnp.cumsum, jnp.sort], ids=["cumsum", "sort"])
def test_a_refusal_names_the_line_that_called_a_library(mix: Any) -> None:
    model = Moved(lambda h, y: 0.8 * h + mix(y, axis=-1))
    brainstate.nn.init_all_states(model, batch_size=2)
    with pytest.raises(core.NotRepresentable, match=r"test_moves\.py:\d+ \(.*<lambda>\)"):
        core.D_RTRL(model).compile_graph(data_for().xs[0])
