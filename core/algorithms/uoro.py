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

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from core.algorithms.base import Arrays, Carry, OnlineAlgorithm, Window
from core.analysis.build import build_graph, join_biases
from core.analysis.graph import Graph
from core.analysis.operation import Operation, Parameter
from core.analysis.reach import credited, reaching
from core.errors import NotRepresentable, checked_seed
from core.execution.axes import along
from core.execution.derivative import with_derivative
from core.execution.rollout import Record, run
from core.execution.signs import signs
from core.execution.step import prelude
from core.execution.window import whole_step

__all__ = ["UORO"]


class UORO(OnlineAlgorithm):
    """Unbiased online recurrent optimization.

    Args:
      model: any brainstate module that D-RTRL takes, with real states.
      seed: of the signs.
      mode: accepted for compatibility; the shapes tell.
    """

    window_size = 1

    def __init__(self, model: Any, *, seed: int = 0, mode: Any = None) -> None:
        super().__init__(model, mode)
        self.seed = checked_seed(seed)

    def make_graph(self, args: tuple[Any, ...], watched: Sequence[Any] = ()) -> Graph:
        graph = join_biases(build_graph(self.stepped, args, watched, every_path=True))
        for v in reaching(graph).intersection(graph.plain):
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

        def zero(source: Operation | Parameter) -> Any:
            shape = (*source.lead, *source.trace_axes, source.width)
            if isinstance(source, Operation):
                return jnp.zeros(shape, graph.operand_dtype(source))
            return jnp.zeros(shape, source.dtype)

        return {
            "s": {h.name: jnp.zeros(h.shape, h.dtype) for h in graph.hidden},
            "theta": {source.label: zero(source) for source in credited(graph)},
            "steps": jnp.zeros(graph.sources[0].lead if graph.sources else (), jnp.int32),
        }

    def window(self, params: Arrays, carry: Carry, window: Window) -> tuple[Arrays, Carry]:
        return self.step_by_step(self._one, params, carry, window)

    def _one(self, params: Arrays, carry: Carry, window: Window) -> tuple[Arrays, Carry]:
        graph, traces = self.graph, window.past(carry.traces)
        values = prelude(graph, params, carry.constants)
        lead = len(traces["steps"].shape)

        def moved_by(traces: Any, moved: dict[int, Any]) -> tuple[Any, ...]:
            """dh_{t-1} = s (theta . dW)."""
            size: Any = jnp.asarray(0.0)
            for source in credited(graph):
                dw = source.moved(moved)
                if dw is not None:
                    if isinstance(source, Parameter):
                        dw = source.drive(None, dw, 1)[0]
                    product = traces["theta"][source.label] * dw
                    size = size + product.sum(axis=tuple(range(lead, product.ndim)))
            every = [(traces["s"][h.name], h.dtype) for h in graph.hidden]
            return tuple((s * along(size, s)).astype(dtype) for s, dtype in every)

        variables = {v: values[v] for v in graph.weights}
        hidden = with_derivative(moved_by, carry.hidden, traces, variables)
        outs, hidden, others, record = run(
            graph, values, hidden, carry.others, window.args, window.restart
        )
        if window.keep:
            traces = self._advance(*lax.stop_gradient((values, traces, record)))
        return outs, Carry(hidden, others, carry.constants, traces)

    def _advance(self, values: Any, traces: Any, record: Record) -> Any:
        graph, steps = self.graph, traces["steps"]
        step = whole_step(graph, values, record)
        passed = step.push(tuple(traces["s"][h.name] for h in graph.hidden))
        # Of the weights those of the last product, mostly of the readout, which has no unit.
        common = next((values[v] for v in graph.weights[-1:]), None)
        seen = [a[0] for a in record.step.args]
        nu = signs(self.seed, common, steps, seen, step.new)
        found = dict(zip((source.label for source in graph.sources), step.pull(nu), strict=True))
        now = {label: found[label].astype(a.dtype) for label, a in traces["theta"].items()}

        def norm(tree: Any) -> Any:
            def square(a: Any) -> Any:
                return (a**2).sum(axis=tuple(range(steps.ndim, a.ndim)))

            return jnp.sqrt(sum(map(square, jax.tree.leaves(tree)), jnp.zeros(steps.shape)))

        r0 = _root(norm(traces["theta"]), norm(passed))
        r1 = _root(norm(now), norm(nu))
        every = zip(graph.hidden, passed, nu, strict=True)
        return {
            "s": {
                h.name: (along(r0, a) * a + along(r1, a) * b).astype(h.dtype) for h, a, b in every
            },
            "theta": {
                label: (a / along(r0, a) + now[label] / along(r1, a)).astype(a.dtype)
                for label, a in traces["theta"].items()
            },
            "steps": steps + 1,
        }


def _root(a: Any, b: Any) -> Any:
    """sqrt(a / b), one where either is zero."""
    both = (a > 0) & (b > 0)
    return jnp.sqrt(jnp.where(both, a, 1.0) / jnp.where(both, b, 1.0))
