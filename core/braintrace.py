"""BrainTrace's names for what the core does: `import core.braintrace as braintrace`.

A program that was written for the public library runs after this one line, on the core's
algorithms; docs/coming-from-braintrace.md says what comes out differently. New programs want
`core.initialise` and `core.gradient`, which run windows where `etrace_grad` goes step by step.
"""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Self, TypeGuard

import brainstate
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree, Shaped

from core import nn
from core.algorithms.base import OnlineAlgorithm
from core.algorithms.compiled import check_named
from core.algorithms.d_rtrl import D_RTRL, ParamDimVjpAlgorithm
from core.algorithms.e_prop import EProp
from core.algorithms.es_d_rtrl import ES_D_RTRL, IODimVjpAlgorithm, pp_prop
from core.algorithms.snap import SnAp
from core.algorithms.uoro import UORO
from core.data import MultiStepData, SingleStepData
from core.drivers.losses import check_aux
from core.drivers.sequence import begin
from core.errors import InvalidArgument, check_choice, check_flags, is_whole

__all__ = [
    "D_RTRL",
    "ES_D_RTRL",
    "UORO",
    "EProp",
    "IODimVjpAlgorithm",
    "Learner",
    "MultiStepData",
    "ParamDimVjpAlgorithm",
    "SingleStepData",
    "SnAp",
    "compile",
    "einsum",
    "element_wise",
    "embedding",
    "grouped_matmul",
    "lora_matmul",
    "matmul",
    "nn",
    "pp_prop",
]

# Options of the library's algorithms that change no gradient.
_OF_THE_LIBRARY = ("name", "fast_solve", "chunked_trace")


def compile(
    model: Any,
    algorithm: str | type[OnlineAlgorithm],
    *inputs: PyTree[ArrayLike],
    batch_size: int | None = None,
    vmap: bool = False,
    seed: int | None = None,
    verbose: int = 0,
    vjp_method: str = "single-step",
    **options: Any,
) -> Learner:
    """Initialise a model's states, make the algorithm around it and compile its graph.

    Args:
      model: any brainstate module.
      algorithm: a class, or the name of one, in any case and with or without underscores.
      inputs: of one step, with the batch if there is one.
      batch_size: of the states; None for single samples.
      vmap: the model is written for single samples and mapped over the batch.
      seed: of the initial states.
      verbose: from 1 on the graph is printed.
      vjp_method: "single-step", or "multi-step": backpropagation inside the windows of a call
        (D-RTRL and ES-D-RTRL).
      options: of the algorithm. The library's `name`, `fast_solve` and `chunked_trace`, which
        change no gradient, are taken and ignored.

    Raises:
      InvalidArgument: an unknown name or option, a batch of no size, or a combination that is not
        defined.
    """
    if isinstance(algorithm, str):
        public = importlib.import_module("core")
        named = {_plain(name): getattr(public, name) for name in public.__all__}
        known = {name: kind for name, kind in named.items() if _is_algorithm(kind)}
        found = known.get(_plain(algorithm))
        if found is None:
            own = ", ".join(sorted({kind.__name__ for kind in known.values()}))
            raise InvalidArgument(f"one of {own}", repr(algorithm), "Or pass a class.")
        algorithm = found
    elif not _is_algorithm(algorithm):
        raise InvalidArgument("the name or the class of an algorithm", repr(algorithm),
                              'Try "d_rtrl".')  # fmt: skip
    if batch_size is not None and not is_whole(batch_size, 1):
        raise InvalidArgument("batch_size to be a positive number of samples", repr(batch_size),
                              "Leave it out for single samples.")  # fmt: skip
    if vjp_method == "multi-step" and algorithm in (D_RTRL, ES_D_RTRL):
        options["credit"] = "window"
    elif vjp_method != "single-step":
        raise InvalidArgument(
            'vjp_method="single-step", or "multi-step" for D_RTRL and ES_D_RTRL',
            f"{vjp_method!r} for {algorithm.__name__}",
            "Leave it out; core.TruncatedBPTT backpropagates inside windows and carries no trace.",
        )
    check_flags(vmap=vmap)
    shapes = [jnp.shape(a) for a in jax.tree.leaves(inputs)]
    if vmap and {shape[:1] for shape in shapes} != {(batch_size,)}:
        raise InvalidArgument(
            "batch_size for vmap=True, as the first axis of all inputs",
            f"{batch_size} for shapes {shapes}",
            "Give the size of the batch.",
        )
    options = {k: value for k, value in options.items() if k not in _OF_THE_LIBRARY}
    taken = list(inspect.signature(algorithm.__init__).parameters)[2:]
    if unknown := [k for k in options if k not in taken]:
        raise InvalidArgument(
            f"options of {algorithm.__name__}, {', '.join(taken)}",
            ", ".join(unknown),
            "Leave it out.",
        )
    learner = algorithm(model, **options)
    with nullcontext() if seed is None else brainstate.random.seed_context(seed):
        begin(learner, inputs, batch_size, mapped=vmap)
    if verbose:
        print(learner.graph)
    return Learner(learner, vmap)


def _is_algorithm(kind: Any) -> TypeGuard[type[OnlineAlgorithm]]:
    return isinstance(kind, type) and issubclass(kind, OnlineAlgorithm)


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "").replace("-", "")


class Learner(brainstate.nn.Module):
    """A compiled algorithm that is called step by step, mapped over a batch with `vmap`; whatever
    it has otherwise is the algorithm's."""

    def __init__(self, algorithm: OnlineAlgorithm, vmap: bool) -> None:
        super().__init__()
        self.module = algorithm
        self._call = brainstate.nn.Vmap(algorithm, vmap_states="new") if vmap else algorithm

    def __getattr__(self, name: str) -> Any:
        if name in ("module", "_call"):
            raise AttributeError(name)
        return getattr(self.module, name)

    def __deepcopy__(self, memo: Any) -> Self:
        return type(self)(copy.deepcopy(self.module, memo), self._call is not self.module)

    @property
    def param_states(self) -> dict[Any, Any]:
        """The model's ParamStates by path."""
        return self.module.model.states(brainstate.ParamState)

    def update(
        self, *inputs: PyTree[ArrayLike] | SingleStepData | MultiStepData, **named: Any
    ) -> PyTree[Array]:
        """One step, or a window of `MultiStepData`."""
        check_named(named)
        windows = [isinstance(a, MultiStepData) for a in inputs]
        if self._call is self.module or not any(windows):
            return self._call(*inputs)
        axes = tuple(map(int, windows))  # of samples, behind that of time
        mapped = brainstate.nn.Vmap(self.module, vmap_states="new", in_axes=axes, out_axes=1)
        return mapped(*inputs)

    def reset_state(self, batch_size: int | None = None, **_: Any) -> None:
        """Back to the initial states, without a trace."""
        brainstate.nn.reset_all_states(self.module.model, batch_size=batch_size)
        self.module.reset_traces()

    def etrace_grad(
        self,
        *sequences: PyTree[Shaped[ArrayLike, "T ..."]],
        step_fn: Callable[..., Any],
        mask: Shaped[ArrayLike, " T"] | None = None,
        chunk_size: int | None = None,
        weights: dict[Any, brainstate.State] | None = None,
        reduction: str = "mean",
        loss_output: str = "per_step",
        has_aux: bool = False,
        return_value: bool = False,
    ) -> Any:
        """The gradient of a loss of every step, added up over sequences [T, ...].

        Args:
          step_fn: calls this learner once and returns the loss of the step, a number, or of each
            step of a chunk, [chunk_size]; with `has_aux` and something else beside it.
          mask: [T], weights of the steps.
          chunk_size: steps a call, for `step_fn` to wrap as `MultiStepData`.
          weights: ParamStates; all of the model's if not given.
          reduction: "mean" over the steps that count, or "sum".
          loss_output: "per_step", "masked" or "scalar" losses with `return_value`.

        Returns:
          Gradients by path; with `return_value` and `has_aux` a tuple of them, losses, aux.
        """
        check_flags(has_aux=has_aux, return_value=return_value)
        check_choice("reduction", reduction, "mean", "sum")
        check_choice("loss_output", loss_output, "per_step", "masked", "scalar")
        weights = self.param_states if weights is None else weights
        n_steps, size = _n_steps(sequences, chunk_size)
        share = jnp.ones(n_steps) if mask is None else jnp.asarray(mask, float)
        of_steps = () if size is None else (size,)
        if share.shape != (n_steps,):
            raise InvalidArgument(f"a mask of shape ({n_steps},), one number a step", share.shape)
        total = jnp.maximum(share.sum(), 1) if reduction == "mean" else 1
        chunks = _chunks((sequences, share), size)

        def objective(slices: Any, share: Any) -> Any:
            found = step_fn(*slices)
            check_aux(found, has_aux, "step_fn")
            loss, aux = found if has_aux else (found, None)
            if jnp.shape(loss) != of_steps:
                raise InvalidArgument(
                    f"a loss of shape {of_steps}, one number a step",
                    f"shape {jnp.shape(loss)}",
                    "Sum or average it over samples and outputs inside step_fn.",
                )
            return (share * loss).sum(), (loss, aux)

        gradient = brainstate.transform.grad(objective, weights, has_aux=True)

        def add(so_far: Any, inputs: Any) -> Any:
            grads, seen = gradient(*inputs)
            return jax.tree.map(jnp.add, so_far, grads), seen

        zero = {path: jax.tree.map(jnp.zeros_like, s.value) for path, s in weights.items()}
        grads, (losses, aux) = brainstate.transform.scan(add, zero, chunks)
        grads = jax.tree.map(lambda g: g / total, grads)
        losses = losses.reshape(n_steps)
        if loss_output != "per_step":
            losses = share * losses
        if loss_output == "scalar":
            losses = losses.sum() / total
        rest = [*([losses] if return_value else []), *([aux] if has_aux else [])]
        return (grads, *rest) if rest else grads

    def etrace_evolve(
        self,
        *sequences: PyTree[Shaped[ArrayLike, "T ..."]],
        step_fn: Callable[..., Any] | None = None,
        chunk_size: int | None = None,
        return_outputs: bool = False,
    ) -> Any:
        """Run sequences [T, ...] for the sake of states and traces; outputs if asked for."""
        check_flags(return_outputs=return_outputs)
        size = _n_steps(sequences, chunk_size)[1]

        def one(*slices: Any) -> Any:
            if step_fn is None and size is not None:
                slices = tuple(map(MultiStepData, slices))
            out = (step_fn or self.update)(*slices)
            return out if return_outputs else None

        return brainstate.transform.for_loop(one, *_chunks(sequences, size))


def _n_steps(sequences: Any, size: Any) -> tuple[int, int | None]:
    """T, and the steps of a chunk: None for one, which is a step as it is.

    Raises:
      InvalidArgument: sequences of several lengths, or none; a size that does not divide them.
    """
    lengths = sorted({(*jnp.shape(a), 0)[0] for a in jax.tree.leaves(sequences)})
    if len(lengths) != 1 or 0 in lengths:
        raise InvalidArgument(
            "sequences [T, ...] of one length of at least one step",
            f"lengths {lengths}",
            "Put time first in all of them; what is constant needs no place among them.",
        )
    if size is not None and not (is_whole(size, 1) and lengths[0] % size == 0):
        raise InvalidArgument(
            f"chunk_size to be a number of steps that divides the {lengths[0]} of the sequences",
            repr(size),
            "Choose one that does.",
        )
    return lengths[0], None if size in (None, 1) else int(size)


def _chunks(tree: Any, size: int | None) -> Any:
    """[T, ...] as [T / size, size, ...], or as it is."""
    if size is None:
        return jax.tree.map(jnp.asarray, tree)
    return jax.tree.map(lambda a: jnp.asarray(a).reshape(-1, size, *jnp.shape(a)[1:]), tree)


# -- operations: plain products, which the core finds by itself


Fn = Callable[[Any], Any] | None


def _of(fn: Fn, weight: Any) -> Any:
    return weight if fn is None else fn(weight)


def _plus(y: Any, bias: Any, fn: Any) -> Any:
    return y if bias is None else y + _of(fn, bias)


def matmul(
    x: Float[Array, "... I"],
    weight: Float[Array, "I O"],
    bias: Float[Array, " O"] | None = None,
    *,
    weight_fn: Fn = None,
    bias_fn: Fn = None,
) -> Float[Array, "... O"]:
    """x W (+ b)."""
    return _plus(x @ _of(weight_fn, weight), bias, bias_fn)


def grouped_matmul(
    x: Float[Array, "... G K"],
    weight: Float[Array, "G K N"],
    bias: Float[Array, "G N"] | None = None,
    *,
    weight_fn: Fn = None,
    bias_fn: Fn = None,
) -> Float[Array, "... G N"]:
    """[..., G, K] times [G, K, N], (+ b)."""
    return _plus(jnp.einsum("...gk,gkn->...gn", x, _of(weight_fn, weight)), bias, bias_fn)


def einsum(equation: str, x: Array, weight: Array, *, weight_fn: Fn = None) -> Array:
    """`jnp.einsum` of x and W."""
    return jnp.einsum(equation, x, _of(weight_fn, weight))


def embedding(
    indices: Array, weight: Float[Array, "N O"], *, weight_fn: Fn = None
) -> Float[Array, "... O"]:
    """Rows of a table."""
    return _of(weight_fn, weight)[indices]


def lora_matmul(
    x: Float[Array, "... I"],
    B: Float[Array, "I R"],
    A: Float[Array, "R O"],
    *,
    alpha: float = 1.0,
    bias: Float[Array, " O"] | None = None,
    b_fn: Fn = None,
    a_fn: Fn = None,
    bias_fn: Fn = None,
) -> Float[Array, "... O"]:
    """alpha x (B A) (+ b): in this order both factors have credit in time, as one matrix."""
    return _plus(alpha * (x @ (_of(b_fn, B) @ _of(a_fn, A))), bias, bias_fn)


def element_wise(weight: PyTree, *, weight_fn: Fn = None) -> PyTree:
    """The weight itself."""
    return _of(weight_fn, weight)
