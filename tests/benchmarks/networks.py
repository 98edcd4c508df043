"""The networks, inputs and compiled gradients that the speed benchmarks time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import brainpy.state
import brainstate
import braintools
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

import core


class LIFNet(brainstate.nn.Module):
    """Recurrent LIF network with a leaky readout, one matrix for input and recurrence."""

    def __init__(self, n_in: int, n_hidden: int, layers: Any) -> None:
        super().__init__()
        self.linear = layers.Linear(
            n_in + n_hidden,
            n_hidden,
            w_init=braintools.init.KaimingNormal(scale=20.0, unit=u.mA),
            b_init=braintools.init.ZeroInit(unit=u.mA),
        )
        self.neurons = brainpy.state.LIF(n_hidden, tau=20.0 * u.ms, V_th=1.0 * u.mV)
        self.readout = layers.LeakyRateReadout(n_hidden, 10)

    def update(self, x: Any) -> Any:
        self.neurons(self.linear(jnp.concatenate([x, self.neurons.get_spike()], axis=-1)))
        return self.readout(self.neurons.get_spike())


class StackedLIF(brainstate.nn.Module):
    """Three recurrent LIF layers and a leaky readout; input and recurrence have a matrix each.

    Weights are scaled for inputs that are on in a hundredth of the steps, and for neurons that
    spike in a tenth of them.
    """

    def __init__(self, n_in: int, n_hidden: int, n_layers: int = 3) -> None:
        super().__init__()

        def matrix(n: int, gain: float, rate: float) -> Any:
            init = braintools.init.KaimingNormal(scale=gain / rate, unit=u.mA)
            return brainstate.nn.Linear(n, n_hidden, w_init=init, b_init=None)

        sources = [(n_in, 0.01), *[(n_hidden, 0.1)] * (n_layers - 1)]
        self.inputs = [matrix(n, 80.0, rate) for n, rate in sources]
        self.recurrent = [matrix(n_hidden, 5.0, 0.1) for _ in sources]
        self.neurons = [
            brainpy.state.LIF(n_hidden, tau=20.0 * u.ms, V_th=1.0 * u.mV) for _ in sources
        ]
        self.readout = brainpy.state.LeakyRateReadout(n_hidden, 10)

    def update(self, x: Any) -> Any:
        for drive, feedback, neurons in zip(self.inputs, self.recurrent, self.neurons, strict=True):
            neurons(drive(x) + feedback(neurons.get_spike()))
            x = neurons.get_spike()
        return self.readout(x)


class GRUNet(brainstate.nn.Module):
    """GRU with a linear readout."""

    def __init__(self, n_in: int, n_hidden: int, layers: Any) -> None:
        super().__init__()
        self.cell = layers.GRUCell(n_in, n_hidden)
        self.readout = layers.Linear(n_hidden, 10)

    def update(self, x: Any) -> Any:
        return self.readout(self.cell(x))


class PartlyTrainedGRUNet(brainstate.nn.Module):
    """The same without the gradients that braintrace leaves at zero: those of weights that reach no
    state but through another operation, the reset gate's and the readout's."""

    def __init__(self, n_in: int, n_hidden: int, layers: Any) -> None:
        super().__init__()
        gate = [layers.Linear(n_in + n_hidden, n_hidden) for _ in range(3)]
        self.reset, self.update_gate, self.candidate = gate
        self.readout, self.n_hidden = layers.Linear(n_hidden, 10), n_hidden

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        lead = () if batch_size is None else (batch_size,)
        self.h = brainstate.HiddenState(jnp.zeros((*lead, self.n_hidden)))

    def update(self, x: Any) -> Any:
        h = self.h.value
        both = jnp.concatenate([x, h], axis=-1)
        r = jax.lax.stop_gradient(jax.nn.sigmoid(self.reset(both)))
        z = jax.nn.sigmoid(self.update_gate(both))
        new = jnp.tanh(self.candidate(jnp.concatenate([x, r * h], axis=-1)))
        self.h.value = h = (1 - z) * h + z * new
        weights = jax.lax.stop_gradient(self.readout.weight.value)
        return h @ weights["weight"] + weights["bias"]


@dataclass(frozen=True)
class Case:
    """One network at one size: `n_steps` steps of a batch of Bernoulli(0.1) spikes."""

    network: type
    n_in: int
    n_hidden: int
    batch: int
    n_steps: int
    peer_steps: int  # braintrace's D-RTRL is timed on fewer steps where a step takes long

    def data(self, n_steps: int | None = None) -> tuple[Any, Any]:
        """Inputs [T, B, I] and labels [B]."""
        rng = np.random.default_rng(0)
        shape = (n_steps or self.n_steps, self.batch, self.n_in)
        return (
            jnp.asarray(rng.random(shape) < 0.1, jnp.float32),
            jnp.asarray(rng.integers(0, 10, self.batch)),
        )

    @property
    def window(self) -> int:
        """The longest window of at most 32 steps that divides the sequence."""
        return max(k for k in range(1, 33) if self.n_steps % k == 0)

    @property
    def rows(self) -> int:
        """Length of the operand of the recurrent matrix."""
        return self.n_in + self.n_hidden


CASES = {
    "LIF 50+128->128 B32 T200": Case(LIFNet, 50, 128, 32, 200, 200),
    "GRU 50->128 B32 T50": Case(GRUNet, 50, 128, 32, 50, 50),
    "LIF 128+512->512 B64 T64": Case(LIFNet, 128, 512, 64, 64, 4),
}


def loss(out: Any, target: Any) -> Any:
    """Mean cross entropy of one step."""
    return braintools.metric.softmax_cross_entropy_with_integer_labels(out, target).mean()


def ours(case: Case, make: Callable[[Any], Any], batching: str = "manual") -> Any:
    """The compiled gradient of a fresh sequence, (xs, labels) -> gradients."""
    with brainstate.environ.context(dt=1.0 * u.ms):
        brainstate.random.seed(0)
        model = case.network(case.n_in, case.n_hidden, core.nn)

    @brainstate.transform.jit
    def run(xs: Any, labels: Any) -> Any:
        with brainstate.environ.context(dt=1.0 * u.ms):
            algo = make(model)
            core.initialise(algo, xs[0], batching)
            return core.gradient(algo, loss, xs, labels).grads

    return run


def braintrace(case: Case, algorithm: str, batching: str) -> Any:
    """The same with braintrace, the way its tutorials write it."""
    import braintrace as peer

    with brainstate.environ.context(dt=1.0 * u.ms):
        brainstate.random.seed(0)
        model = case.network(case.n_in, case.n_hidden, peer.nn)
    weights = model.states(brainstate.ParamState)

    @brainstate.transform.jit
    def run(xs: Any, labels: Any) -> Any:
        with brainstate.environ.context(dt=1.0 * u.ms):
            algo = (
                peer.D_RTRL(model)
                if algorithm == "d_rtrl"
                else peer.ES_D_RTRL(model, decay_or_rank=0.9)
            )
            call: Any = algo
            if batching == "vmap":

                @brainstate.transform.vmap_new_states(state_tag="new", axis_size=case.batch)
                def init() -> None:
                    brainstate.nn.init_all_states(model)
                    algo.compile_graph(xs[0, 0])

                init()
                call = brainstate.nn.Vmap(algo, vmap_states="new")
            else:
                brainstate.nn.init_all_states(model, batch_size=case.batch)
                algo.compile_graph(xs[0])

            def step(grads: Any, x: Any) -> Any:
                new = brainstate.transform.grad(lambda x: loss(call(x), labels), weights)(x)
                return jax.tree.map(lambda a, b: a + b, grads, new), None

            zero = jax.tree.map(u.math.zeros_like, weights.to_dict_values())
            return brainstate.transform.scan(step, zero, xs)[0]

    return run
