"""Learn from a stream: one sample, one step, one update. The series to be predicted changes now and
then, and the network's state starts anew with it while its weights go on."""

import time

import brainstate
import braintools
import jax.numpy as jnp
import numpy as np

import core

N_STEPS, CHUNK = 4000, 500


class Net(brainstate.nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.readout = brainstate.nn.GRUCell(1, 32), brainstate.nn.Linear(32, 1)

    def update(self, x):  # x [1]
        return self.readout(self.cell(x))


def loss(out, target):
    return ((out - target) ** 2).sum()


rng = np.random.default_rng(0)
series, reset = np.zeros(N_STEPS + 1, np.float32), np.zeros(N_STEPS, bool)
for start in range(0, N_STEPS, 100):  # a sine of another period and phase every 100 steps
    t = np.arange(101 if start + 100 == N_STEPS else 100)
    series[start : start + len(t)] = np.sin(2 * np.pi * (t / rng.uniform(12, 24) + rng.random()))
    reset[start] = True
xs, ys = jnp.asarray(series[:-1, None]), jnp.asarray(series[1:, None])  # the next value is wanted

brainstate.random.seed(0)
model = Net()
optimizer = braintools.optim.Adam(2e-3)
optimizer.register_trainable_weights(model.states(brainstate.ParamState))
algo = core.D_RTRL(model)
core.initialise(algo, xs[0], batching="single")


@brainstate.transform.jit
def learn(xs, ys, reset):
    found = core.train(
        algo,
        loss,
        xs,
        ys,
        optimizer,
        per_step_targets=True,
        update_every=1,
        reset=reset,
        fresh=False,  # traces go on from chunk to chunk
    )
    return found.losses


naive = float(np.mean((xs - ys) ** 2))
print(f"mean squared error of saying the same value again: {naive:.4f}")
for start in range(0, N_STEPS, CHUNK):  # what came in so far; a chunk is one call and no window
    part = slice(start, start + CHUNK)
    begin = time.perf_counter()
    error = float(np.mean(learn(xs[part], ys[part], jnp.asarray(reset[part]))))
    micro = 1e6 * (time.perf_counter() - begin) / CHUNK
    when = "with compilation" if start == 0 else f"{micro:.0f} us a step, learning included"
    print(f"steps {start} to {start + CHUNK}: mean squared error {error:.4f}; {when}")
