"""A recurrent spiking network that is updated at every time step, with ES-D-RTRL.

Nothing of the past is kept but two vectors a layer and sample, so memory does not grow with time.
"""

import brainpy.state
import brainstate
import braintools
import brainunit as u
import jax.numpy as jnp
import numpy as np

import core

N_IN, N_HIDDEN, T, BATCH = 40, 64, 50, 32
brainstate.environ.set(dt=1.0 * u.ms)


class Net(brainstate.nn.Module):
    def __init__(self):
        super().__init__()
        self.current = brainstate.nn.Linear(N_IN + N_HIDDEN, N_HIDDEN, b_init=None)
        self.neurons = brainpy.state.LIF(
            N_HIDDEN,
            R=1.0 * u.ohm,
            tau=20.0 * u.ms,
            V_th=1.0 * u.mV,
            V_reset=0.0 * u.mV,
            V_rest=0.0 * u.mV,
            V_initializer=braintools.init.ZeroInit(unit=u.mV),
            spk_fun=braintools.surrogate.ReluGrad(),
        )
        self.readout = core.nn.LeakyRateReadout(N_HIDDEN, 2, tau=20.0 * u.ms)

    def update(self, x):
        spikes = self.neurons.get_spike()
        current = 15.0 * self.current(jnp.concatenate([x, spikes], axis=-1))
        return self.readout(self.neurons(current * u.mA))


def draw(rng):
    """Spikes at a low or a high rate; which of both is to be said at all times."""
    labels = rng.integers(0, 2, BATCH)
    rates = np.where(labels == 1, 0.10, 0.06)
    return jnp.asarray(rng.random((T, BATCH, N_IN)) < rates[:, None], jnp.float32), labels


def loss(out, label):
    return braintools.metric.softmax_cross_entropy_with_integer_labels(out, label).mean()


brainstate.random.seed(1)
model = Net()
optimizer = braintools.optim.Adam(1e-3)
optimizer.register_trainable_weights(model.states(brainstate.ParamState))


@brainstate.transform.jit
def step(xs, labels):
    algo = core.ES_D_RTRL(model, 0.95)
    core.initialise(algo, xs[0], batching="manual")
    found = core.train(algo, loss, xs, labels, optimizer, update_every=1, clip_norm=1.0)
    return found.losses


rng = np.random.default_rng(0)
for batch in range(30):
    losses = step(*draw(rng))
    if batch % 10 == 0 or batch == 29:
        print(f"batch {batch}: loss of the last ten steps {losses[-10:].mean():.3f}")
print(f"chance is {np.log(2):.3f}; {30 * T} updates were made")
