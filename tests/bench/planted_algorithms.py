"""D-RTRL with one mistake each, which the conformance suite has to find by name."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

import core
from bench.check.algorithm import N_OUT


class BatchLeak(core.D_RTRL):
    """Samples see the mean of all samples' logits."""

    def window(self, *args: Any, **kwargs: Any) -> Any:
        outs, carry = super().window(*args, **kwargs)
        return tuple(o + 0.1 * o.mean(1, keepdims=True) for o in outs), carry


class ZeroReadout(core.D_RTRL):
    """The readout, which has no trace, gets no gradient either."""

    def window(self, params: Any, *args: Any, **kwargs: Any) -> Any:
        cut = {v: lax.stop_gradient(p) if p.shape[-1] == N_OUT else p for v, p in params.items()}
        return super().window(cut, *args, **kwargs)


class NoDecay(core.D_RTRL):
    """The trace never decays: ``eps_t = eps_{t-1} + x_t (x) f_t``."""

    def direction(self, graph: Any, local: Any, past: Any, d_weights: Any) -> Any:
        return super().direction(graph, _undecayed(local), past, d_weights)

    def follow(self, graph: Any, local: Any, traces: Any) -> Any:
        return super().follow(graph, _undecayed(local), traces)


class PrunesSmall(core.D_RTRL):
    """Weights that are small as numbers are not trained, whatever their unit."""

    def window(self, params: Any, *args: Any, **kwargs: Any) -> Any:
        def pruned(p: Any) -> Any:
            largest = jnp.abs(p).max()
            return jnp.where((largest > 0) & (largest < 1e-2), lax.stop_gradient(p), p)

        return super().window(jax.tree.map(pruned, params), *args, **kwargs)


class KeepsTraces(core.D_RTRL):
    """A reset that does nothing."""

    def reset_traces(self) -> None:
        return


class Untraceable(core.D_RTRL):
    """Raises as soon as it is used."""

    def window(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("planted")


def _undecayed(local: Any) -> Any:
    return dataclasses.replace(local, transition=jax.tree.map(jnp.ones_like, local.transition))
