"""UORO: an unbiased estimate of RTRL's influence as one product of two vectors.

With random signs nu_t, one for each state, and all derivatives those of the whole step,

    s_t     = r0 dh_t/dh_{t-1} s_{t-1} + r1 nu_t                  [lead, states]
    theta_t = theta_{t-1} / r0 + (nu_t . dh_t/dW) / r1            [lead, weights]
    r0 = sqrt(|theta_{t-1}| / |dh_t/dh_{t-1} s_{t-1}|),   r1 = sqrt(|nu_t . dh_t/dW| / |nu_t|)

    g_t = dl_t/dh_{t-1} . s_{t-1} theta_{t-1} + dl_t/dW within the step

The expectation of s theta over the signs is RTRL's influence, so g is unbiased while the weights
stand still: its average over N draws comes near BPTT's gradient as 1/sqrt(N). Its noise grows with
the states and the steps. Each sample has an s and a theta of its own: memory O(B x weights).

The signs of a sample follow from the seed, its input, the steps it has taken and the weights: the
same however samples are batched, and others after every update. Each sample has a product of its
own, and so has each row of a product with more axes: rows that read one another are refused.

Reference: C. Tallec & Y. Ollivier, "Unbiased Online Recurrent Optimization", ICLR 2018,
arXiv:1702.05043. There g_t is dl_t/dh_t . s_t theta_t; here the present step is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from core.algorithms.base import Arrays, OnlineAlgorithm, Params
from core.analysis.build import build_graph, join_biases
from core.analysis.graph import Graph
from core.analysis.operation import Operation, Parameter
from core.analysis.reach import credited, making, mixes
from core.errors import NotRepresentable, checked_seed
from core.execution.axes import along, behind
from core.execution.derivative import with_derivative
from core.execution.rollout import Carry, Record, Window, run
from core.execution.step import prelude
from core.execution.window import whole_step

OWN = 0x0505050  # signs have nothing to do with weights that were drawn from the same seed


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
        for v in making(graph, [h.new for h in graph.hidden]).intersection(graph.plain):
            raise NotRepresentable(
                "weights of products, and parameters that reach a state neuron by neuron",
                f"{graph.names[v]}, which reaches one through a product only",
                "Use core.RTRL or core.BPTT.",
            )
        leads = {source.lead for source in graph.sources}
        came = f"axes {sorted(leads)}" if len(leads) > 1 else ""
        if not all(jnp.issubdtype(h.dtype, jnp.floating) for h in graph.hidden):
            came = "complex states"
        for lead in leads if not came else ():
            own = [h for h in graph.hidden if h.shape[: len(lead)] == lead]
            start = {h.var: h.shape for h in own} | {
                op.y: op.shape for op in graph.trained_operations
            }
            ends = {h.new: h.shape for h in own if h.new in graph.program.avals}
            if mixes(graph, lead, start, ends):
                came = f"rows {list(lead)} that read one another (batch norm, a convolution)"
        if came:
            raise NotRepresentable(
                "real states, one set of axes of samples, and rows that read no other, for UORO",
                came,
                "Use core.RTRL or core.BPTT.",
            )
        return graph

    def init_traces(self, graph: Graph) -> dict[str, Any]:
        """s by state, theta by source, and the steps that a sample has taken."""

        def zero(source: Operation | Parameter) -> Any:
            dtype = graph.operand_dtype(source) if isinstance(source, Operation) else source.dtype
            return jnp.zeros((*source.lead, *source.trace_axes, source.width), dtype)

        return {
            "s": {h.name: jnp.zeros(h.shape, h.dtype) for h in graph.hidden},
            "theta": {source.label: zero(source) for source in credited(graph)},
            "steps": jnp.zeros(graph.sources[0].lead if graph.sources else (), jnp.int32),
        }

    def window(self, params: Params, carry: Carry, window: Window) -> tuple[Arrays, Carry]:
        return self.step_by_step(self._one, params, carry, window)

    def _one(self, params: Params, carry: Carry, window: Window) -> tuple[Arrays, Carry]:
        graph, traces = self.graph, window.past(carry.traces)
        values, lead = prelude(graph, params, carry.constants), traces["steps"].ndim

        def moved_by(traces: Any, moved: dict[int, Any]) -> dict[int, Any]:
            """dh_{t-1} = s (theta . dW)."""
            size: Any = jnp.asarray(0.0)
            for source in credited(graph):
                dw = source.moved(moved)
                if dw is not None:
                    if isinstance(source, Parameter):
                        dw = source.drive(None, dw, 1)[0]
                    theta = traces["theta"][source.label]
                    product = theta * behind(dw, theta)
                    size = size + product.sum(axis=tuple(range(lead, product.ndim)))
            every = ((h, traces["s"][h.name]) for h in graph.hidden)
            return {h.var: (s * along(size, s)).astype(h.dtype) for h, s in every}

        hidden = {h.var: carry.states[h.var] for h in graph.hidden}
        weights = {v: values[v] for v in graph.weights}
        states = carry.states | with_derivative(moved_by, hidden, traces, weights)
        outs, after, record = run(graph, values, carry._replace(states=states), window)
        if not window.alone:
            traces = self._advance(*lax.stop_gradient((values, traces, record)))
        return outs, after._replace(traces=traces)

    def _advance(self, values: Any, traces: Any, record: Record) -> Any:
        graph, steps, theta = self.graph, traces["steps"], traces["theta"]
        new, push, pull = whole_step(graph, values, record)
        passed = push({h.var: traces["s"][h.name] for h in graph.hidden})
        # Of the weights those of the last product, mostly of the readout, which has no unit.
        common = next((values[v] for v in graph.weights[-1:]), None)
        nu = _signs(self.seed, common, steps, [record.read[v][0] for v in graph.arg_vars], new)
        found = dict(zip((source.label for source in graph.sources), pull(nu), strict=True))
        now = {label: found[label].astype(a.dtype) for label, a in theta.items()}

        def norm(tree: Any) -> Any:
            leaves = [a.reshape(*steps.shape, -1) for a in jax.tree.leaves(tree)]
            return jnp.sqrt(sum(((a**2).sum(axis=-1) for a in leaves), jnp.zeros(steps.shape)))

        r0, r1 = _root(norm(theta), norm(passed)), _root(norm(now), norm(nu))
        s = [along(r0, a) * a + along(r1, b) * b for a, b in zip(passed, nu, strict=True)]
        return {
            "s": {h.name: a.astype(h.dtype) for h, a in zip(graph.hidden, s, strict=True)},
            "theta": {
                label: (a / along(r0, a) + now[label] / along(r1, a)).astype(a.dtype)
                for label, a in theta.items()
            },
            "steps": steps + 1,
        }


def _root(a: Any, b: Any) -> Any:
    """sqrt(a / b), one where either is zero."""
    both = (a > 0) & (b > 0)
    return jnp.sqrt(jnp.where(both, a, 1.0) / jnp.where(both, b, 1.0))


def _signs(seed: int, common: Any, steps: Any, seen: Sequence[Any], like: Sequence[Any]) -> Any:
    """One or minus one for each element of `like`, arrays [lead, ...], at the `steps`-th step
    [lead] of samples that share `common` and have `seen` arrays of their own."""
    lead = steps.shape
    code = steps.reshape(-1).astype(jnp.uint32)
    keys = jax.random.fold_in(jax.random.key(seed), OWN)
    if common is not None:
        keys = jax.random.fold_in(keys, _bits(common.reshape(1, -1))[0])
    for a in seen:
        if a.shape[: len(lead)] == lead:
            code = 31 * code + _bits(a.reshape(len(code), -1))
    keys = jax.vmap(partial(jax.random.fold_in, keys))(code)

    def drawn(k: int, h: Any) -> Any:
        own = jax.vmap(lambda key: jax.random.fold_in(key, k))(keys)
        size = (h.size // len(code),)
        return jax.vmap(lambda key: jax.random.rademacher(key, size, h.dtype))(own).reshape(h.shape)

    return tuple(drawn(k, h) for k, h in enumerate(like))


def _bits(rows: Any) -> Any:
    """A number for each row, [B, n] -> [B], whatever else stands beside it."""
    bits = lax.bitcast_convert_type(rows.real.astype(jnp.float32), jnp.uint32)
    odd = (2 * np.arange(rows.shape[1], dtype=np.uint32) + 1) * np.uint32(0x9E3779B1)
    return (bits * odd[None]).sum(axis=1, dtype=jnp.uint32)
