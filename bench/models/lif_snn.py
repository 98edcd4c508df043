"""The spiking tutorial's network as published: current input, neurons stepped twice a step."""

from dataclasses import dataclass

import brainpy.state
import brainstate
import braintools
import brainunit as u
import jax
from brainstate.nn import Module

from bench.bounds import Positive
from bench.models.base import Driven, Stack


class SteppedTwice(Driven):
    """Neurons that go on for a second step without their current."""

    def update(self, x: jax.Array) -> jax.Array:
        super().update(x)
        return self.neuron()


@dataclass(eq=False, repr=False)
class LIFSNN(Stack):
    """Layers of current-driven neurons and a leaky rate readout, exactly as the tutorial has them.

    Each layer's neurons are stepped once with their current and once more without: the second
    step only decays the voltage, which stays far below threshold, so the network never spikes.
    It is kept as published because a benchmark has to notice that; ``lif_net`` works.
    """

    tau_mem: Positive = 20.0  # ms, membrane time constant
    tau_out: Positive = 20.0  # ms, time constant of the readout

    def layer(self, below: int) -> SteppedTwice:
        linear = brainstate.nn.Linear(
            below + self.n_hidden,
            self.n_hidden,
            w_init=braintools.init.KaimingNormal(unit=u.mA),
            b_init=braintools.init.ZeroInit(unit=u.mA),
        )
        return SteppedTwice(brainpy.state.LIF(self.n_hidden, tau=self.tau_mem * u.ms), linear)

    def made_readout(self) -> Module:
        return brainpy.state.LeakyRateReadout(self.n_hidden, self.n_out, tau=self.tau_out * u.ms)
