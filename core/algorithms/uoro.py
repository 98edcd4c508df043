"""UORO: an unbiased estimate of RTRL's influence as one product of two vectors.

With random signs nu_t, one for each state, and all derivatives those of the whole step,

    s_t     = r0 dh_t/dh_{t-1} s_{t-1} + r1 nu_t                  [lead, states]
    theta_t = theta_{t-1} / r0 + (nu_t . dh_t/dW) / r1            [lead, weights]
    r0 = sqrt(|theta_{t-1}| / |dh_t/dh_{t-1} s_{t-1}|),   r1 = sqrt(|nu_t . dh_t/dW| / |nu_t|)

    g_t = dl_t/dh_{t-1} . s_{t-1} theta_{t-1} + dl_t/dW within the step

The expectation of s theta over the signs is RTRL's influence, so g is unbiased while the weights
stand still: its average over N draws comes near BPTT's gradient as 1/sqrt(N). Its noise grows with
the states and the steps. Each sample has an s and a theta of its own: memory O(B x weights).

The signs of a sample follow from the seed, its input, how many steps it has taken and the weights:
they are the same however samples are batched, and others after every update.

Reference: C. Tallec & Y. Ollivier, "Unbiased Online Recurrent Optimization", ICLR 2018,
arXiv:1702.05043. There g_t is dl_t/dh_t . s_t theta_t; here the present step is exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from core.algorithms.base import Arrays, Carry, OnlineAlgorithm, Window
from core.analysis.build import build_graph, join_biases
from core.analysis.graph import Graph
from core.analysis.operation import Operation, Parameter
from core.equations.program import needed
from core.errors import NotRepresentable, checked_seed
from core.execution.axes import along
from core.execution.derivative import with_derivative
from core.execution.rollout import run
from core.execution.step import StepInput, operands, prelude, whole_run
from core.execution.window import stretched

__all__ = ["UORO"]

Source = Operation | Parameter
OWN = 0x0505050  # signs have nothing to do with weights that were drawn from the same seed


class UORO(OnlineAlgorithm):
    """Unbiased online recurrent optimization.

    Args:
      model: any brainstate module that D-RTRL takes, with real states.
      seed: of the signs.
      mode: accepted for compatibility; the shapes tell.
    """

    def __init__(self, model: Any, *, seed: int = 0, mode: Any = None) -> None:
        super().__init__(model, mode)
        self.seed = checked_seed(seed)

    def make_graph(self, args: tuple[Any, ...], watched: Sequence[Any] = ()) -> Graph:
        graph = join_biases(build_graph(self.stepped, args, watched, every_path=True))
        reaching = _reaching(graph)
        for v in graph.plain:
            if v in reaching:
                raise NotRepresentable(
                    "weights of products, and parameters that reach a state neuron by neuron",
                    f"{graph.names[v]}, which reaches one through a product only",
                    "Use core.RTRL or core.BPTT.",
                )
        leads = {source.lead for source in graph.sources}
        real = all(jnp.issubdtype(h.dtype, jnp.floating) for h in graph.hidden)
        if len(leads) > 1 or not real:
            raise NotRepresentable(
                "real states, and the same axes of samples in all products",
                f"axes {sorted(leads)}" if real else "complex states",
                "Use core.BPTT.",
            )
        return graph

    def init_traces(self, graph: Graph) -> dict[str, Any]:
        """s by state, theta by source, and the steps that a sample has taken."""
        lead = graph.sources[0].lead if graph.sources else ()
        return {
            "s": {h.name: jnp.zeros(h.shape, h.dtype) for h in graph.hidden},
            "theta": {
                source.label: jnp.zeros(
                    (*source.lead, *source.trace_axes, source.width), _dtype(graph, source)
                )
                for source in _credited(graph)
            },
            "steps": jnp.zeros(lead, jnp.int32),
        }

    def steps_per_window(self, n_steps: int) -> int:
        return 1

    def window(self, params: Arrays, carry: Carry, window: Window) -> tuple[Arrays, Carry]:
        return self.step_by_step(self._one, params, carry, window)

    def _one(self, params: Arrays, carry: Carry, window: Window) -> tuple[Arrays, Carry]:
        graph, traces = self.graph, window.past(carry.traces)
        values = prelude(graph, params, carry.constants)
        lead = len(traces["steps"].shape)

        def moved_by(traces: Any, moved: dict[int, Any]) -> tuple[Any, ...]:
            """dh_{t-1} = s (theta . dW)."""
            size: Any = 0.0
            for source in _credited(graph):
                dw = source.moved(moved)
                if dw is not None:
                    if isinstance(source, Parameter):
                        dw = source.drive(None, dw, 1)[0]
                    product = traces["theta"][source.label] * dw
                    size = size + product.sum(axis=tuple(range(lead, product.ndim)))
            return tuple(
                (traces["s"][h.name] * along(jnp.asarray(size), traces["s"][h.name])).astype(
                    h.dtype
                )
                for h in graph.hidden
            )

        variables = {v: values[v] for v in graph.weights}
        hidden = with_derivative(moved_by, carry.hidden, traces, variables)
        outs, hidden, others, record = run(
            graph, values, hidden, carry.others, window.args, window.restart
        )
        if window.keep:
            fixed, now = lax.stop_gradient((values, jax.tree.map(lambda a: a[0], tuple(record))))
            traces = self._advance(fixed, traces, *now)
        return outs, Carry(hidden, others, carry.constants, traces)

    def _advance(self, values: Any, traces: Any, hidden: Any, ys: Any, step: StepInput) -> Any:
        graph, steps = self.graph, traces["steps"]
        thetas = tuple(a[0] for a in stretched(graph, values, 1))

        def last(hidden: Any, d_ys: Any, thetas: Any) -> Any:
            return whole_run(graph, graph.with_parameters(values, thetas), hidden, d_ys, step)

        still = jax.tree.map(jnp.zeros_like, (ys, thetas))
        new, pull = jax.vjp(last, hidden, still[0], thetas)
        push = jax.linear_transpose(pull, new)
        s = tuple(traces["s"][h.name] for h in graph.hidden)
        (passed,) = push((s, *still))
        signs = self._signs(values, steps, step, new)
        _, d_ys, d_thetas = pull(signs)
        xs = operands(graph, values, hidden, ys, step)
        trained = [d for op, d in zip(graph.operations, d_ys, strict=True) if op.trainable]
        ops = [source for source in graph.sources if isinstance(source, Operation)]
        found = {
            op.label: x[..., :, None] * op.canonical_y(d)[..., None, :]
            for op, x, d in zip(ops, xs, trained, strict=True)
        }
        for p, d in zip(graph.parameters, d_thetas, strict=True):
            found[p.label] = d.reshape(*p.lead, p.width)
        now = {label: found[label].astype(a.dtype) for label, a in traces["theta"].items()}

        def norm(tree: Any) -> Any:
            squares = [
                (a**2).sum(axis=tuple(range(steps.ndim, a.ndim))) for a in jax.tree.leaves(tree)
            ]
            return jnp.sqrt(sum(squares, jnp.zeros(steps.shape)))

        r0 = _root(norm(traces["theta"]), norm(passed))
        r1 = _root(norm(now), norm(signs))
        return {
            "s": {
                h.name: (along(r0, a) * a + along(r1, nu) * nu).astype(h.dtype)
                for h, a, nu in zip(graph.hidden, passed, signs, strict=True)
            },
            "theta": {
                label: (a / along(r0, a) + now[label] / along(r1, a)).astype(a.dtype)
                for label, a in traces["theta"].items()
            },
            "steps": steps + 1,
        }

    def _signs(self, values: Any, steps: Any, step: StepInput, new: Any) -> tuple[Any, ...]:
        """One or minus one for each state."""
        lead = steps.shape
        code = jnp.zeros((math.prod(lead),), jnp.uint32) + steps.reshape(-1).astype(jnp.uint32)
        keys = jax.random.fold_in(jax.random.key(self.seed), OWN)
        for v in self.graph.weights[-1:]:  # mostly of the readout, which has no unit
            keys = jax.random.fold_in(keys, _bits(values[v].reshape(1, -1))[0])
        for a in step.args:
            if a.shape[: len(lead)] == lead:
                code = 31 * code + _bits(a.reshape(len(code), -1))
        keys = jax.vmap(partial(jax.random.fold_in, keys))(code)
        return tuple(
            jax.vmap(
                lambda key, k=k, h=h: jax.random.rademacher(
                    jax.random.fold_in(key, k), (h.size // len(code),), h.dtype
                )
            )(keys).reshape(h.shape)
            for k, h in enumerate(new)
        )


def _bits(rows: Any) -> Any:
    """A number for each row, [B, n] -> [B], whatever else stands beside it."""
    bits = lax.bitcast_convert_type(rows.real.astype(jnp.float32), jnp.uint32)
    odd = (2 * np.arange(rows.shape[1], dtype=np.uint32) + 1) * np.uint32(0x9E3779B1)
    return (bits * odd).sum(axis=1, dtype=jnp.uint32)


def _root(a: Any, b: Any) -> Any:
    """sqrt(a / b), one where either is zero."""
    both = (a > 0) & (b > 0)
    return jnp.sqrt(jnp.where(both, a, 1.0) / jnp.where(both, b, 1.0))


def _reaching(graph: Graph) -> set[int]:
    """Variables that reach a new state in a step."""
    equations = needed(graph.body, [h.new for h in graph.hidden])
    return {v for eqn in equations for v in (*eqn.variables, *eqn.outputs)}


def _credited(graph: Graph) -> list[Source]:
    """What reaches a state in a step, and so has a theta."""
    reaching = _reaching(graph)
    return [s for s in graph.sources if (s.y if isinstance(s, Operation) else s.w) in reaching]


def _dtype(graph: Graph, source: Source) -> Any:
    return graph.operand_dtype(source) if isinstance(source, Operation) else source.dtype
