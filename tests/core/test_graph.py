"""What `print(algo.graph)` says."""

from __future__ import annotations

import re
from typing import Any

import brainpy.state
import brainstate
import brainunit as u
import jax.numpy as jnp
import numpy as np
import pytest

import core

from . import rate_models as rate
from . import spiking_models as spiking
from .cases import Case, data_for, gradient_of, run
from .references import assert_close

GRU_TEXT = """\
groups of hidden states (coupled element by element from step to step)
  [0] cell.h   lead [2] x 4 neurons
operations y = x W
  cell.Wrz.weight.weight  [7 x 8] + cell.Wrz.weight.bias
    -> cell.h (outputs 4:8): trace [2, 8, 4], 512 bytes
    no trace: the other outputs reach no state but through another operation; exact gradient within the step
  cell.Wh.weight.weight  [7 x 4] + cell.Wh.weight.bias
    -> cell.h: trace [2, 8, 4], 512 bytes
  out.weight.weight  [4 x 2] + out.weight.bias
    no trace: its outputs reach no state but through another operation; exact gradient within the step"""  # noqa: E501

ADAPTIVE_TEXT = """\
groups of hidden states (coupled element by element from step to step)
  [0] neuron.V, neuron.a   lead [2] x 4 neurons
operations y = x W
  synapse.comm.weight.weight  [7 x 4] + synapse.comm.weight.bias
    -> neuron.V: trace [2, 8, 4], 512 bytes
    -> neuron.a: trace [2, 8, 4], 512 bytes
  out.weight.weight  [4 x 2] + out.weight.bias
    no trace: its outputs reach no state but through another operation; exact gradient within the step"""  # noqa: E501


def compiled(case: Case, batching: str = "manual") -> Any:
    algo = core.D_RTRL(case.model())
    sizes: dict[str, int] = {}

    def start() -> None:
        x = data_for().xs[0]
        core.initialise(algo, x[0] if batching == "single" else x, batching=batching)
        sizes.update(algo.trace_bytes)

    run(start)
    return algo, sizes


@pytest.mark.parametrize(
    ("case", "text"),
    [(rate.GRU, GRU_TEXT), (spiking.ADAPTIVE, ADAPTIVE_TEXT)],
    ids=["gru", "adaptive lif"],
)
def test_the_whole_text(case: Case, text: str) -> None:
    algo, sizes = compiled(case)
    assert str(algo.graph) == repr(algo.graph) == text
    # What it predicts is what is carried.
    said, name = dict.fromkeys(sizes, 0), ""
    for line in text.splitlines():
        own, predicted = re.match(r"  (\S+)  ", line), re.search(r"([\d,]+) bytes", line)
        name = own.group(1) if own else name
        if predicted:
            said[name] += int(predicted.group(1).replace(",", ""))
    assert said == sizes


def test_single_samples_have_no_batch_axis() -> None:
    algo, sizes = compiled(rate.GRU, "single")
    assert "trace [8, 4], 256 bytes" in str(algo.graph)
    assert sizes["cell.Wh.weight.weight"] == 256


def test_a_recurrent_network_without_memory_has_no_trace() -> None:
    """Of a plain RNN D is zero and nothing reads the previous state but its own matrix."""
    algo, sizes = compiled(rate.RNN)
    assert "[0] cell.h   lead [2] x 4 neurons; no credit in time through cell.h" in str(algo.graph)
    assert "-> cell.h: no trace, no credit passes in time" in str(algo.graph)
    assert sum(sizes.values()) == 0


def test_gains_and_time_constants_have_traces_of_their_own() -> None:
    text = str(compiled(rate.LEAKY)[0].graph)
    assert "  cell.gain\n    -> cell.h: trace [2, 4], 64 bytes" in text
    assert "  cell.time\n    -> cell.h: trace [2, 4], 64 bytes" in text


class DelayedReadout(brainstate.nn.Module):
    """A layer whose spikes nobody reads has no use for a trace."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = (brainstate.nn.Linear(3, 4, b_init=None) for _ in range(2))
        unit = {"R": 1.0, "tau": 5.0 * u.ms, "V_th": 1.0, "V_reset": 0.0, "V_rest": 0.0}
        start = {"V_initializer": brainstate.nn.init.Constant(0.0)}
        self.a, self.b = (brainpy.state.LIF(4, **unit, **start) for _ in range(2))

    def update(self, x: Any) -> Any:
        self.b(self.unused(x))
        return self.a(self.used(x))


def test_no_trace_is_spent_where_no_gradient_comes() -> None:
    algo = core.D_RTRL(DelayedReadout())
    sizes: dict[str, int] = {}

    def start() -> None:
        core.initialise(algo, data_for().xs[0])
        sizes.update(algo.trace_bytes)

    run(start)
    assert sizes == {"used.weight.weight": 8 * 2 * 3 * 4, "unused.weight.weight": 0}
    assert "no group: b.V; no credit passes through it" in str(algo.graph)


class Reversed(brainstate.nn.Module):
    """32 neurons, which are fed in the reverse order."""

    def __init__(self) -> None:
        super().__init__()
        self.W, self.out = brainstate.nn.Linear(3, 32), brainstate.nn.Linear(32, 2)

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        shape = (32,) if batch_size is None else (batch_size, 32)
        self.h = brainstate.HiddenState(jnp.zeros(shape))

    def update(self, x: Any) -> Any:
        y = jnp.tanh(self.W(x))
        self.h.value = 0.8 * self.h.value + y[..., np.arange(32)[::-1]]
        return self.out(self.h.value)


def test_a_permutation_of_many_neurons_is_one_block() -> None:
    """Not one for each neuron: its neurons are listed."""
    algo = core.D_RTRL(Reversed(), window=3)
    ways = [(core.BPTT(algo.model), "manual"), (algo, "vmap"), (algo, "manual")]
    exact, *found = run(lambda: [gradient_of(rule, data_for(), how) for rule, how in ways])
    (block,) = algo.graph.operations[0].blocks
    assert block.neurons == tuple(range(32))[::-1]
    for gradients, _ in found:
        assert_close(gradients, exact[0])


def test_bptt_lists_states_and_parameters() -> None:
    algo = core.BPTT(rate.LEAKY.model())
    run(lambda: core.initialise(algo, data_for().xs[0]))
    first, second, third, *parameters = str(algo.graph).splitlines()
    assert (first, second) == ("hidden states", "  cell.h  [2, 4]")
    assert third == "parameters, with the gradient of every path"
    assert sorted(parameters) == [
        "  cell.W.weight.bias  [4]",
        "  cell.W.weight.weight  [3, 4]",
        "  cell.gain  [4]",
        "  cell.time  []",
        "  out.weight.bias  [2]",
        "  out.weight.weight  [4, 2]",
    ]


def test_before_compilation_there_is_none() -> None:
    algo = core.D_RTRL(rate.LEAKY.model())
    for ask in (lambda: algo.graph, lambda: algo.trace_bytes, lambda: algo(np.ones(3))):
        with pytest.raises(core.NotCompiled) as refused:
            ask()
        assert str(refused.value) == (
            "expected a compiled algorithm; got D_RTRL before compile_graph. "
            "Call core.initialise(algo, x) with one step's input, or algo.compile_graph(x) after "
            "initialising the states."
        )
