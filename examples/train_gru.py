"""A GRU reads handwritten digits row by row and is trained with D-RTRL."""

import brainstate
import braintools
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import core


class Net(brainstate.nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.readout = brainstate.nn.GRUCell(8, 64), brainstate.nn.Linear(64, 10)

    def update(self, x):  # x [8], one row of one image
        return self.readout(self.cell(x))


def loss(out, label):  # after every row: the earlier the network knows, the better
    return braintools.metric.softmax_cross_entropy_with_integer_labels(out, label).mean()


images, labels = load_digits(return_X_y=True)
xs = jnp.asarray(images.reshape(-1, 8, 8) / 16.0, jnp.float32).transpose(1, 0, 2)  # [T, N, 8]
labels = jnp.asarray(labels)
train, test = slice(0, 1400), slice(1400, None)

brainstate.random.seed(0)
model = Net()
optimizer = braintools.optim.Adam(1e-2)
optimizer.register_trainable_weights(model.states(brainstate.ParamState))


@brainstate.transform.jit
def step(xs, labels):
    algo = core.D_RTRL(model)  # a window of all 8 steps: no trace has to be made
    core.initialise(algo, xs[0], batching="vmap")
    return core.train(algo, loss, xs, labels, optimizer).losses.mean()


@brainstate.transform.jit
def accuracy(xs, labels):
    algo = core.D_RTRL(model)
    core.initialise(algo, xs[0], batching="vmap")
    out = core.evaluate(algo, loss, xs, labels).outputs[-1]
    return (out.argmax(-1) == labels).mean()


@brainstate.transform.jit
def cosine(xs, labels):
    """Of D-RTRL's gradient and BPTT's."""
    flat = []
    for algo in (core.D_RTRL(model), core.BPTT(model)):
        core.initialise(algo, xs[0], batching="vmap")
        grads = core.gradient(algo, loss, xs, labels).grads
        flat.append(jnp.concatenate([g.ravel() for g in jax.tree.leaves(grads)]))
    a, b = flat
    return a @ b / jnp.linalg.norm(a) / jnp.linalg.norm(b)


rng = np.random.default_rng(0)
print(f"gradient cosine to BPTT at the start: {cosine(xs[:, train], labels[train]):.3f}")
for epoch in range(10):
    order = rng.permutation(1400)[:1344].reshape(-1, 64)
    mean = np.mean([step(xs[:, batch], labels[batch]) for batch in order])
    if epoch % 3 == 0:
        print(f"epoch {epoch}: loss {mean:.3f}")
found = float(accuracy(xs[:, test], labels[test]))
print(f"test accuracy {found:.3f}")
