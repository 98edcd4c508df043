"""Thirty programs as people write them for the public library: a model, its compilation, a loop.

`bt` is the library or `core.braintrace`, and nothing else is told to a program. Weights are set by
their names, so that both libraries start from the same ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import brainpy.state
import brainstate
import braintools
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from .references import named, squared_error

__all__ = ["PROGRAMS", "Program"]

T, B, I, H, O = 6, 2, 3, 4, 2
XS = np.random.default_rng(0).normal(size=(T, B, I)) + 0.3
YS = np.random.default_rng(1).normal(size=(T, B, O))


@dataclass(frozen=True)
class Program:
    """A program.

    Attributes:
      model: builds it from a library.
      algorithm: by name, or by the name of its class.
      loop: what is done with it; its results by name.
      options: of `compile`.
      same_as: how the results are known: "library" (the same program there, for gradients of the
        recurrent weights and whatever else comes out), "driver" (`core.gradient`), "bptt", or
        "learns" (the loss falls).
    """

    name: str
    model: Callable[[Any], Any]
    algorithm: str
    loop: Callable[..., dict[str, Any]]
    same_as: str
    options: dict[str, Any] = field(default_factory=dict)

    def run(self, bt: Any) -> dict[str, Any]:
        """From the model to its results."""
        model = filled(self.model(bt))
        algorithm = getattr(bt, self.algorithm, self.algorithm)
        inputs = ids() if self.model is tokens else XS
        learner = bt.compile(model, algorithm, inputs[0], batch_size=B, **self.options)
        return self.loop(bt, learner, model, jnp.asarray(inputs), jnp.asarray(YS))


def ids() -> Any:
    return np.arange(T * B).reshape(T, B) % 5


def filled(model: Any) -> Any:
    """Weights that are a function of their names and shapes."""
    for path, state in model.states(brainstate.ParamState).items():

        def drawn(at: Any, leaf: Any, path: Any = path) -> Any:
            name = f"{path} {jax.tree_util.keystr(at)}"
            draw = np.random.default_rng(zlib.crc32(name.encode()))
            values = 0.5 * draw.normal(size=jnp.shape(leaf))
            return values * u.get_unit(leaf) if isinstance(leaf, u.Quantity) else values

        state.value = jax.tree_util.tree_map_with_path(
            drawn, state.value, is_leaf=lambda leaf: isinstance(leaf, u.Quantity)
        )
    return model


# -- models


class WithReadout(brainstate.nn.Module):
    def __init__(self, cell: Any, out: Any) -> None:
        super().__init__()
        self.cell, self.out = cell, out

    def update(self, x: Any) -> Any:
        return self.out(self.cell(x))


def cell(kind: str, sizes: tuple[Any, ...] = (I, H), **options: Any) -> Callable[[Any], Any]:
    """A recurrent cell of the library and its linear readout."""
    return lambda bt: WithReadout(getattr(bt.nn, kind)(*sizes, **options), bt.nn.Linear(H, O))


def spiking(kind: str, **options: Any) -> Callable[[Any], Any]:
    """Neurons in mV that are driven by input and their own spikes."""

    def make(bt: Any) -> Any:
        class Spiking(brainstate.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                weights = {"w_init": braintools.init.KaimingNormal(unit=u.mA)}
                bias = {"b_init": braintools.init.Constant(1.0 * u.mA)}
                self.linear = bt.nn.Linear(I + H, H, **weights, **bias)
                self.neuron = getattr(brainpy.state, kind)(
                    H, R=8.0 * u.ohm, tau=8.0 * u.ms, V_th=1.0 * u.mV, V_reset=0.0 * u.mV,
                    V_rest=0.0 * u.mV, spk_fun=braintools.surrogate.ReluGrad(), **options,
                )  # fmt: skip
                self.out = brainpy.state.LeakyRateReadout(H, O, tau=5.0 * u.ms)

            def update(self, x: Any) -> Any:
                joined = jnp.concatenate([x, self.neuron.get_spike()], axis=-1)
                return self.out(self.neuron(self.linear(joined)))

        return Spiking()

    return make


class Own(brainstate.nn.Module):
    """A leaky layer of one's own; `product` says how x becomes its input."""

    def __init__(self, bt: Any, product: Callable[..., Any], **weights: tuple[int, ...]) -> None:
        super().__init__()
        self.bt, self.product = bt, product
        for name, shape in weights.items():
            setattr(self, name, brainstate.ParamState(jnp.zeros(shape)))
        self.out = bt.nn.Linear(H, O)

    def init_state(self, batch_size: int | None = None, **_: Any) -> None:
        shape = (H,) if batch_size is None else (batch_size, H)
        self.h = brainstate.HiddenState(jnp.zeros(shape))

    def update(self, x: Any) -> Any:
        y = self.product(self, self.bt, x, self.h.value)
        self.h.value = 0.8 * self.h.value + 0.2 * jnp.tanh(y)
        return self.out(self.h.value)


def own(product: Callable[..., Any], **weights: tuple[int, ...]) -> Callable[[Any], Any]:
    return lambda bt: Own(bt, product, **weights)


def joined(x: Any, h: Any) -> Any:
    return jnp.concatenate([x, h], axis=-1)


plain = own(lambda m, bt, x, h: bt.matmul(joined(x, h), m.W.value), W=(I + H, H))
forward = own(lambda m, bt, x, h: bt.matmul(x, m.W.value, m.b.value), W=(I, H), b=(H,))
with_function = own(
    lambda m, bt, x, h: bt.matmul(joined(x, h), m.W.value, weight_fn=jnp.abs), W=(I + H, H)
)
low_rank = own(
    lambda m, bt, x, h: bt.lora_matmul(joined(x, h), m.L.value, m.R.value, alpha=0.5),
    L=(I + H, 2), R=(2, H),
)  # fmt: skip
gain = own(
    lambda m, bt, x, h: bt.element_wise(m.g.value) * bt.matmul(joined(x, h), m.W.value),
    W=(I + H, H), g=(H,),
)  # fmt: skip
groups = own(
    lambda m, bt, x, h: bt.grouped_matmul(
        h.reshape(*h.shape[:-1], 2, 2), m.G.value
    ).reshape(h.shape) + bt.matmul(x, m.W.value),
    W=(I, H), G=(2, 2, 2),
)  # fmt: skip


def tokens(bt: Any) -> Any:
    """Symbols, looked up, into a GRU."""
    return brainstate.nn.Sequential(bt.nn.Embedding(5, I), cell("GRUCell")(bt))


def adapted(bt: Any) -> Any:
    """A readout of low rank."""
    return WithReadout(bt.nn.MiniGRU(I, H), bt.nn.LoRA(H, 2, O))


def image(bt: Any) -> Any:
    """A convolution over the inputs in front of a leaky layer."""
    conv = bt.nn.Conv1d((I, 1), 2, kernel_size=3)

    class Seen(brainstate.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.rest = conv, WithReadout(bt.nn.MiniGRU(2 * I, H), bt.nn.Linear(H, O))

        def update(self, x: Any) -> Any:
            return self.rest(self.conv(x[..., None]).reshape(*x.shape[:-1], -1))

    return Seen()


# -- loops: each (bt, learner, model, xs, ys) -> results


def summed(bt: Any, learner: Any, model: Any, xs: Any, ys: Any) -> dict[str, Any]:
    grads = learner.etrace_grad(
        xs, ys, step_fn=lambda x, y: squared_error(learner(x), y), reduction="sum",
        weights=model.states(brainstate.ParamState),
    )  # fmt: skip
    return {"grads": named(grads)}


def by_default(bt: Any, learner: Any, model: Any, xs: Any, ys: Any) -> dict[str, Any]:
    """The mean over steps, of the learner's own weights."""
    grads = learner.etrace_grad(xs, ys, step_fn=lambda x, y: squared_error(learner(x), y))
    return {"grads": {name: T * g for name, g in named(grads).items()}}


def with_outputs(bt: Any, learner: Any, model: Any, xs: Any, ys: Any) -> dict[str, Any]:
    def step(x: Any, y: Any) -> Any:
        out = learner(x)
        return squared_error(out, y), out

    grads, losses, outs = learner.etrace_grad(
        xs, ys, step_fn=step, has_aux=True, return_value=True, reduction="sum"
    )
    return {"grads": named(grads), "losses": losses, "outs": outs}


def one_number(bt: Any, learner: Any, model: Any, xs: Any, ys: Any) -> dict[str, Any]:
    """The masked mean of the losses alone, and the gradient."""
    grads, loss = learner.etrace_grad(
        xs, ys, step_fn=lambda x, y: squared_error(learner(x), y), mask=np.arange(T) >= 2,
        loss_output="scalar", return_value=True,
    )  # fmt: skip
    return {"grads": named(grads), "loss": loss}


def warmed_up(bt: Any, learner: Any, model: Any, xs: Any, ys: Any) -> dict[str, Any]:
    """The first steps for the sake of the states."""
    learner.etrace_evolve(xs[:2])
    grads = learner.etrace_grad(xs[2:], ys[2:], step_fn=lambda x, y: squared_error(learner(x), y))
    return {"grads": named(grads)}


def prediction(bt: Any, learner: Any, model: Any, xs: Any, ys: Any) -> dict[str, Any]:
    return {"outs": learner.etrace_evolve(xs, return_outputs=True)}


def twice(bt: Any, learner: Any, model: Any, xs: Any, ys: Any) -> dict[str, Any]:
    """Two sequences, the second from the beginning."""
    summed(bt, learner, model, xs[::-1], ys)
    learner.reset_state(batch_size=B)
    return summed(bt, learner, model, xs, ys)


def chunks(size: int) -> Callable[..., dict[str, Any]]:
    """Windows of a few steps, each in one call."""

    def loop(bt: Any, learner: Any, model: Any, xs: Any, ys: Any) -> dict[str, Any]:
        def step(x: Any, y: Any) -> Any:
            return jax.vmap(squared_error)(learner(bt.MultiStepData(x)), y)

        grads = learner.etrace_grad(
            xs, ys, step_fn=step, chunk_size=size, reduction="sum",
            weights=model.states(brainstate.ParamState),
        )  # fmt: skip
        return {"grads": named(grads)}

    return loop


def by_hand(bt: Any, learner: Any, model: Any, xs: Any, ys: Any) -> dict[str, Any]:
    """The loop of the older tutorials, with the learner's `param_states`."""
    weights = learner.param_states

    def step(total: Any, inputs: Any) -> Any:
        x, y = inputs
        grads = brainstate.transform.grad(lambda: squared_error(learner(x), y), weights)()
        return jax.tree.map(jnp.add, total, grads), None

    zero = {path: jax.tree.map(jnp.zeros_like, state.value) for path, state in weights.items()}
    return {"grads": named(brainstate.transform.scan(step, zero, (xs, ys))[0])}


def trained(bt: Any, learner: Any, model: Any, xs: Any, ys: Any) -> dict[str, Any]:
    """An optimizer of braintools, an update a sequence."""
    optimizer = braintools.optim.Adam(lr=3e-2)
    optimizer.register_trainable_weights(learner.param_states)

    def epoch(_: Any) -> Any:
        learner.reset_state(batch_size=B)
        grads, losses = learner.etrace_grad(
            xs, ys, step_fn=lambda x, y: squared_error(learner(x), y), return_value=True
        )
        optimizer.update(grads)
        return losses.sum()

    return {"losses": brainstate.transform.for_loop(epoch, jnp.arange(12))}


MULTI = {"vjp_method": "multi-step"}
VMAP = {"vmap": True}
DECAY = {"decay_or_rank": 0.9}


def sized(kind: str) -> Callable[[Any], Any]:
    """With the library's names of the sizes."""
    return cell(kind, (), in_size=I, out_size=H)


def linear_recurrence(bt: Any) -> Any:
    return WithReadout(bt.nn.LRUCell(I, H), bt.nn.Linear(I, O))


alif = spiking("ALIF", tau_a=20.0 * u.ms)
PROGRAMS = [
    Program("gru by name", cell("GRUCell"), "d_rtrl", summed, "driver"),
    Program("gru, sizes by name", sized("GRUCell"), "D_RTRL", summed, "driver"),
    Program("lstm in training", sized("LSTMCell"), "D_RTRL", trained, "learns"),
    Program("mgu, mean over steps", cell("MGUCell"), "D_RTRL", by_default, "driver"),
    Program("rnn by hand", cell("ValinaRNNCell"), "ParamDimVjpAlgorithm", by_hand, "driver"),
    Program("minigru", cell("MiniGRU"), "D_RTRL", with_outputs, "library"),
    Program("minilstm", cell("MiniLSTM"), "D_RTRL", summed, "library"),
    # The library leaves out what passes through another product within a step.
    Program("minimal rnn over vmap", cell("MinimalRNNCell"), "D_RTRL", summed, "driver", VMAP),
    Program("cfn with a mask", cell("CFNCell"), "D_RTRL", one_number, "library"),
    Program("lru", linear_recurrence, "d_rtrl", summed, "driver"),
    Program("pp_prop, decay", plain, "pp_prop", summed, "library", DECAY),
    Program("es_d_rtrl over vmap", plain, "ES_D_RTRL", summed, "library", {**DECAY, **VMAP}),
    Program("pp_prop in training", cell("GRUCell"), "es_d_rtrl", trained, "learns", DECAY),
    Program("own layer", plain, "D_RTRL", by_hand, "library"),
    Program("own layer, warmed up", plain, "D_RTRL", warmed_up, "library"),
    Program("own layer, two sequences", plain, "D_RTRL", twice, "library"),
    Program("own layer, prediction", plain, "D_RTRL", prediction, "library"),
    Program("weights through a function", with_function, "D_RTRL", summed, "library"),
    Program("low-rank product", low_rank, "D_RTRL", summed, "library"),
    Program("gain of one's own", gain, "D_RTRL", summed, "driver"),
    # The library lets no groups into states of another shape.
    Program("groups", groups, "D_RTRL", summed, "driver"),
    Program("lora readout", adapted, "D_RTRL", summed, "driver"),
    Program("tokens", tokens, "D_RTRL", summed, "driver"),
    Program("convolution", image, "D_RTRL", summed, "driver"),
    Program("lif", spiking("LIF"), "D_RTRL", with_outputs, "library"),
    Program("alif, pp_prop", alif, "IODimVjpAlgorithm", summed, "library", DECAY),
    Program("chunks, d_rtrl", plain, "d_rtrl", chunks(3), "library", MULTI),
    Program("one chunk, pp_prop", plain, "pp_prop", chunks(T), "bptt", {**DECAY, **MULTI}),
    Program("e-prop by name", spiking("LIF"), "eprop", trained, "learns"),
    Program("uoro by name", forward, "uoro", trained, "learns"),
]
