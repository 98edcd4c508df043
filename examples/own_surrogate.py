"""A spike with a derivative rule of your own. What passes through it is what the rule says."""

import brainstate
import jax
import jax.numpy as jnp
import numpy as np

import core

brainstate.environ.set(precision=64)


@jax.custom_vjp
def spike(v):
    return (v > 0).astype(v.dtype)


# Forward a step, backward a Gaussian bump.
spike.defvjp(lambda v: (spike(v), v), lambda v, g: (g * jnp.exp(-2.0 * v**2),))


class Net(brainstate.nn.Module):
    """Leaky integrators that spike and are reset by subtraction, without recurrent weights."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(0)
        self.W = brainstate.ParamState(jnp.asarray(rng.normal(size=(5, 6))))
        self.R = brainstate.ParamState(jnp.asarray(rng.normal(size=(6, 2))))

    def init_state(self, batch_size=None, **_):
        self.v = brainstate.HiddenState(jnp.zeros((6,) if batch_size is None else (batch_size, 6)))

    def update(self, x):
        v = 0.9 * self.v.value + x @ self.W.value
        s = spike(v - 1.0)
        self.v.value = v - s
        return s @ self.R.value


def loss(out, target):
    return ((out - target) ** 2).sum()


xs = jnp.asarray(np.random.default_rng(1).normal(size=(20, 3, 5)))
model, found = Net(), {}
for name, algo in (("D-RTRL", core.D_RTRL(model)), ("BPTT", core.BPTT(model))):
    core.initialise(algo, xs[0], batching="manual")
    found[name] = core.gradient(algo, loss, xs, jnp.ones(2)).grads
    if name == "D-RTRL":
        print(algo.graph)
for path, grad in found["D-RTRL"].items():
    exact = found["BPTT"][path]
    error = float(jnp.linalg.norm(grad - exact) / jnp.linalg.norm(exact))
    # Credit in time passes neuron by neuron here, so D-RTRL is exact.
    print(f"{'.'.join(path)}: differs from BPTT by {error:.1e} of its size")
    assert error < 1e-12
