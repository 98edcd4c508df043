"""Run an algorithm over sequences: gradients, training, evaluation.

Nobody writes the scan-and-accumulate loop by hand:

    core.initialise(algo, xs[0], batching="vmap")
    grads, losses, *_ = core.gradient(algo, loss, xs, targets)

Sequences are [T, B, ...] ([T, ...] for single samples). An algorithm compiled for single samples
is mapped over B; one compiled for a batch takes it whole. The shapes tell which.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, PyTree, Shaped

from core.algorithms.base import OnlineAlgorithm
from core.algorithms.compiled import all_or_nothing, check_algorithm
from core.data import idle_steps, lengths, restarts, step_weights
from core.drivers.losses import StepLoss
from core.drivers.stepper import Stepper, check_samples
from core.errors import InvalidArgument, check_choice, check_flags, is_whole
from core.execution.axes import finite, over_windows
from core.execution.derivative import in_reverse
from core.execution.rollout import Carry, Window

Loss = Callable[..., Float[Array, ""] | tuple[Float[Array, ""], PyTree]]


class Result(NamedTuple):
    """What a pass over a sequence gives.

    Attributes:
      grads: by the path of each ParamState, as `model.states(ParamState)`; empty when evaluating.
      losses: [T], before masking.
      outputs: the model's outputs [T, ...], or None when not asked for.
      aux: what the loss returned beside its value, stacked over T, or None.
    """

    grads: dict[Any, PyTree[Array]]
    losses: Float[Array, " T"]
    outputs: PyTree[Shaped[Array, "T ..."]]
    aux: PyTree[Shaped[Array, "T ..."]]


def initialise(algo: OnlineAlgorithm, x: PyTree[ArrayLike], batching: str = "manual") -> None:
    """Initialise the model's states for a batch and compile the graph.

    Args:
      algo: the algorithm.
      x: one step's input: [B, ...] for "manual" and "vmap", without B for "single".
      batching: "manual" (states hold the batch), "vmap" (single-sample states, mapped), "single".

    Raises:
      InvalidArgument: an unknown batching.
    """
    check_algorithm(algo)
    check_samples(x)
    check_choice("batching", batching, "manual", "vmap", "single")
    shapes, batches = [jnp.shape(a) for a in jax.tree.leaves(x)], lengths(x)
    unequal = batching == "vmap" and (len({*batches}) > 1 or len(batches) < len(shapes))
    if batching != "single" and (not batches or unequal):
        raise InvalidArgument(
            "an input of arrays [B, ...], which for vmap have one and the same B",
            f"shapes {shapes}",
            'Put the batch first, or take batching="single" for one sample.',
        )
    n_samples = None if batching == "single" else batches[0]
    begin(algo, (x,), n_samples, mapped=batching == "vmap")
    algo.single = batching == "single"


@all_or_nothing
def begin(
    algo: OnlineAlgorithm, inputs: tuple[PyTree, ...], n_samples: int | None, *, mapped: bool
) -> None:
    """Make the model's states, of so many samples, and compile the graph for one step's inputs;
    `mapped`, both are of single samples."""

    def of_all() -> None:
        batch = {} if mapped or n_samples is None else {"batch_size": n_samples}
        brainstate.nn.init_all_states(algo.model, **batch)
        algo.compile_graph(*(jax.tree.map(lambda a: a[0], inputs) if mapped else inputs))

    if mapped:
        of_all = brainstate.transform.vmap_new_states(of_all, state_tag="new", axis_size=n_samples)
    of_all()


@all_or_nothing
def gradient(
    algo: OnlineAlgorithm,
    loss: Loss,
    xs: PyTree[Shaped[ArrayLike, "T ..."]],
    targets: PyTree = None,
    *,
    per_step_targets: bool | None = None,
    reduce: str = "sum",
    mask: Shaped[ArrayLike, " T *B"] | None = None,
    reset: Bool[ArrayLike, " T *B"] | None = None,
    fresh: bool = True,
    has_aux: bool = False,
    outputs: bool = False,
) -> Result:
    """The algorithm's gradient of a sequence.

    Args:
      algo: compiled algorithm; its model's states say where the sequence starts and are left where
        it ends.
      loss: `loss(out_t, target)` -> scalar, or (scalar, aux) with `has_aux`.
      xs: input, [T, B, ...].
      targets: passed to the loss.
      per_step_targets: whether targets have an axis of time, [T, ...]; constant over it otherwise.
        Targets that look as if they had one are refused, unless this is said.
      reduce: "sum" or "mean" of the per-step gradients.
      mask: [T], weight of each step's loss, or [T, B], of each sample's.
      reset: [T, B] booleans ([T] for all alike): before which steps a sample starts anew,
        with the states that it had when the graph was compiled and no trace of the past: the
        HiddenStates, and ShortTermStates whose first axis is of samples (the time of a last spike).
        What all samples share, random keys and delays go on.
      fresh: the sequence stands alone: traces start at zero and are not kept. Otherwise they
        continue from the last call and are kept for the next.
      has_aux: whether the loss returns (scalar, aux).
      outputs: whether to return the outputs.

    Returns:
      Result with gradients summed (or averaged) over the steps.
    """
    check_flags(outputs=outputs)
    stepper = Stepper(algo, xs)
    n_steps = stepper.n_steps
    reset = restarts(reset, n_steps, stepper.batch)
    check_choice("reduce", reduce, "sum", "mean")
    asked = StepLoss(loss, targets, per_step_targets, has_aux)
    losses_of = stepper.losses(asked, reset, fresh=fresh)
    weight = step_weights(mask, n_steps, stepper.batch)
    args, idle = stepper.args, None
    if weight is not None:  # padding drives the states, and with them later steps, but with nothing
        args = tuple(finite(a, weight == 0) for a in args)
        idle = idle_steps(weight, reset)
    if reduce == "mean":
        weight = jnp.ones(n_steps) if weight is None else weight
        total = weight.mean(axis=tuple(range(1, weight.ndim))).sum()
        weight = weight / jnp.where(total == 0, 1, total)  # of an update that is masked out
    size = stepper.algo.steps_per_window(n_steps)
    alone = fresh and size >= n_steps

    keep = None if reset is None else 1.0 - reset.astype(float)
    window = Window(args, keep, idle, alone)
    start = stepper.carry
    if reset is not None or mask is not None:
        start = start._replace(initial=stepper.algo.beginning())

    def window_loss(trained: Any, carry: Carry, inputs: Any) -> Any:
        window, targets_w, weight_w, clock = inputs
        params = {**stepper.params, **trained}
        outs, carry = stepper.algo.window(params, carry, window)
        out, states = stepper.seen(params, carry, outs)
        values, aux, weighted = losses_of(out, targets_w, states, clock, weight_w)
        return weighted.sum(), (carry, values, aux, out if outputs else None)

    def tick(state: Any, inputs: Any) -> Any:
        states, traces, grads = state
        before = start._replace(states=states, traces=traces)
        new, (carry, *stacked) = jax.grad(window_loss, has_aux=True)(trained, before, inputs)
        carry = stepper.algo.settle(carry, new)
        return (carry.states, carry.traces, jax.tree.map(jnp.add, grads, new)), tuple(stacked)

    trained, traces = stepper.trained, start.traces
    if fresh:
        traces = jax.tree.map(jnp.zeros_like, traces)
    held = stepper.algo.hold_traces(traces, size) if size < n_steps else traces
    inputs = (window, targets if per_step_targets else None, weight, stepper.clock)
    state = (start.states, held, jax.tree.map(jnp.zeros_like, trained))
    with in_reverse():
        (states, after, grads), (losses, aux, outs) = over_windows(tick, state, inputs, size)
    if fresh:
        after = traces
    elif len(jax.tree.leaves(held)) > len(jax.tree.leaves(traces)):  # not held by `train`
        after = stepper.algo.hold_traces(after, None)
    stepper.owner.set_carry(start._replace(states=states, traces=after))
    return Result(stepper.named(grads), losses, outs, aux)


@all_or_nothing
def train(
    algo: OnlineAlgorithm,
    loss: Loss,
    xs: PyTree[Shaped[ArrayLike, "T ..."]],
    targets: PyTree,
    optimizer: Any,
    *,
    update_every: int | str = "sequence",
    clip_norm: float | None = None,
    per_step_targets: bool | None = None,
    reduce: str = "sum",
    mask: Shaped[ArrayLike, " T *B"] | None = None,
    reset: Bool[ArrayLike, " T *B"] | None = None,
    fresh: bool = True,
    has_aux: bool = False,
) -> Result:
    """As `gradient`, and update the parameters, once a sequence or every k steps.

    The gradient is applied as it is, unless `clip_norm` says to which global norm it is cut.

    Args:
      optimizer: braintools optimizer with the model's ParamStates registered.
      update_every: "sequence", or a number of steps: after each, the gradient of those steps is
        clipped and applied, while states and traces go on, beyond the last as well. BPTT then
        sees these steps only.
      clip_norm: the global norm that a gradient is scaled down to before an update; None for none.

    Returns:
      Result; its gradients are those of the last update, before clipping.
    """
    check_optimizer(optimizer, algo)
    check_norm(clip_norm)
    of_loss: dict[str, Any] = {"per_step_targets": per_step_targets, "has_aux": has_aux}

    def updated(x: Any, target: Any, mask: Any, reset: Any, fresh: bool) -> Result:
        result = gradient(
            algo, loss, x, target, reduce=reduce, mask=mask, reset=reset, fresh=fresh, **of_loss
        )
        apply(optimizer, result.grads, clip_norm)
        return result

    if update_every == "sequence":
        return updated(xs, targets, mask, reset, fresh)
    # What has no steps is refused by the Stepper.
    n_steps = next(iter(lengths(xs)), 0) or Stepper(algo, xs).n_steps
    if not is_whole(update_every, 1, n_steps):
        raise InvalidArgument(
            f'update_every to be "sequence" or 1 to {n_steps} steps',
            repr(update_every),
            "Choose a number of steps within the sequence.",
        )
    if fresh:
        algo.reset_traces()
    stepper = Stepper(algo, xs)
    reset = restarts(reset, n_steps, stepper.batch)
    weight = step_weights(mask, n_steps, stepper.batch)
    stepper.adapt(StepLoss(loss, targets, per_step_targets, has_aux), fresh=fresh)
    of_loss["per_step_targets"] = bool(per_step_targets)

    def chunk(_: Any, inputs: Any) -> Any:
        x, y, mask, reset = inputs
        found = updated(x, y if per_step_targets else targets, mask, reset, False)
        return found.grads, (found.losses, found.aux)

    size = stepper.algo.steps_per_window(int(update_every))
    algo.trace.value = algo.hold_traces(algo.trace.value, size)
    weights = algo.model.states(brainstate.ParamState)
    grads = jax.tree.map(jnp.zeros_like, {path: s.value for path, s in weights.items()})
    inputs = (xs, targets if per_step_targets else None, weight, reset)
    scan = brainstate.transform.scan
    grads, (losses, aux) = over_windows(chunk, grads, inputs, int(update_every), scan)
    algo.trace.value = algo.hold_traces(algo.trace.value, None)
    return Result(grads, losses, None, aux)


def check_norm(clip_norm: Any) -> None:
    """Refuse what is no norm to clip to; what is being traced cannot be known."""
    number = isinstance(clip_norm, numbers.Real | np.ndarray | jax.Array)
    one = number and not isinstance(clip_norm, bool) and jnp.ndim(clip_norm) == 0
    traced = isinstance(clip_norm, jax.core.Tracer)
    positive = one and jnp.isrealobj(clip_norm) and (traced or float(clip_norm) > 0)
    if clip_norm is not None and not positive:
        raise InvalidArgument(
            "clip_norm to be a positive number or None", repr(clip_norm), "Choose one of them."
        )


def apply(optimizer: Any, grads: dict[Any, PyTree[Array]], clip_norm: float | None) -> None:
    """Apply a gradient, clipped as `train` says."""
    if not grads:  # of a model without parameters
        return
    if clip_norm is not None:
        grads = brainstate.nn.clip_grad_norm(grads, clip_norm)
    optimizer.update(grads)


def check_optimizer(optimizer: Any, algo: OnlineAlgorithm) -> None:
    """Before any work. What optax makes has an `update` too, of another kind; weights of another
    model would be the ones that are updated."""
    check_algorithm(algo)
    update = getattr(optimizer, "update", None)
    came = type(optimizer).__name__
    if isinstance(optimizer, type):
        came = f"the class {optimizer.__name__}"
    elif callable(update) and not isinstance(optimizer, tuple):
        weights = {id(s): path for path, s in algo.model.states(brainstate.ParamState).items()}
        held = getattr(optimizer, "param_states", None)
        known = weights if held is None else {id(s): path for path, s in held.to_dict().items()}
        if known.keys() == weights.keys():
            return
        missing = [".".join(map(str, path)) for i, path in weights.items() if i not in known]
        more = f" without {', '.join(missing)}" if missing else " with those of another model"
        came += more if known else " without any"
    raise InvalidArgument(
        "an optimizer of braintools.optim, which holds the model's ParamStates",
        came,
        "Use for example braintools.optim.Adam, or wrap an optax optimizer in"
        " braintools.optim.OptaxOptimizer, and call its register_trainable_weights with"
        " model.states(brainstate.ParamState); a weight that is to stay as it is can be a state of"
        " another kind, such as brainstate.LongTermState.",
    )


@all_or_nothing
def evaluate(
    algo: OnlineAlgorithm,
    loss: Loss,
    xs: PyTree[Shaped[ArrayLike, "T ..."]],
    targets: PyTree = None,
    *,
    per_step_targets: bool | None = None,
    has_aux: bool = False,
) -> Result:
    """Losses and outputs of a sequence, without gradient; traces stand still."""
    stepper = Stepper(algo, xs)
    asked = StepLoss(loss, targets, per_step_targets, has_aux)
    losses_of = stepper.losses(asked, fresh=False, credit=False)
    outs, carry = stepper.algo.forward(stepper.params, stepper.carry, Window(stepper.args))
    out, states = stepper.seen(stepper.params, carry, outs)
    values, aux, _ = losses_of(out, targets, states, stepper.clock)
    stepper.owner.set_carry(carry)
    return Result({}, values, out, aux)


def window_steps(algo: OnlineAlgorithm, xs: PyTree[Shaped[ArrayLike, "T ..."]]) -> int:
    """Steps of a sequence that `gradient` computes at once: all under BPTT, and wherever a
    sequence fits one window, so that no trace is made."""
    stepper = Stepper(algo, xs)
    return stepper.algo.steps_per_window(stepper.n_steps)
