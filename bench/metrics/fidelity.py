"""How close an algorithm's gradient is to BPTT's on the same batch and weights."""

from __future__ import annotations

from typing import Any

import brainstate
import jax
import numpy as np

from bench.metrics.base import Metric, Run
from bench.program import Program
from bench.trees import flat


class Fidelity(Metric):
    """Cosine and relative error per weight, in float64.

    Spiking networks amplify rounding: one spike that flips between two orders of summation moves a
    float32 gradient by 1e-4. In float64 both gradients see the same spikes.

    Args:
        max_samples: sequences of the first batch that are compared.
    """

    def __init__(self, max_samples: int = 32) -> None:
        self._max_samples = max_samples

    def measure(self, run: Run) -> dict[str, Any]:
        xs, ys = run.batch
        n = min(len(ys), self._max_samples)
        with jax.enable_x64(True), brainstate.environ.context(precision=64):
            xs, ys = xs[:, :n].astype(np.float64), ys[:n]
            config = {**run.config, "batch_size": n, "dtype": "float64"}
            theirs = _gradient(run, config, xs, ys)
            reference = {**config, "algo": {"_target_": "core.BPTT"},
                         "backend": {"_target_": "bench.backends.core.Core"},
                         "batching": {"mode": "manual"}}
            exact = _gradient(run, reference, xs, ys)
        weights = {path: {"cosine": cosine(theirs[path], exact[path]),
                          "rel_error": relative_error(theirs[path], exact[path])}
                   for path in exact}
        all_theirs = np.concatenate([theirs[path].ravel() for path in exact])
        all_exact = np.concatenate([exact[path].ravel() for path in exact])
        return {
            "metrics": {"grad_cosine": cosine(all_theirs, all_exact),
                        "grad_rel_error": relative_error(all_theirs, all_exact)},
            "fidelity": weights,
        }


def cosine(a: np.ndarray, b: np.ndarray) -> float | None:
    """Cosine of the angle between two arrays taken as vectors; None when one is zero."""
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.vdot(a, b)) / norms if norms else None


def relative_error(a: np.ndarray, b: np.ndarray) -> float | None:
    """Norm of the difference over the norm of ``b``; None when ``b`` is zero."""
    norm = float(np.linalg.norm(b))
    return float(np.linalg.norm(a - b)) / norm if norm else None


def _gradient(run: Run, config: dict[str, Any], xs: np.ndarray, ys: np.ndarray
              ) -> dict[str, np.ndarray]:
    """The summed gradient of a batch by weight, computed by one algorithm from initial weights."""
    trainee = run.build(config)
    if config["batching"]["mode"] != "single":
        program = Program(trainee.gradient, xs, ys, reads_only=True)
        return flat(program(program.values(), xs, ys)[1][0])
    program = Program(trainee.gradient, xs[:, 0], ys[0], reads_only=True)
    values = program.values()
    parts = [flat(program(values, xs[:, b], ys[b])[1][0]) for b in range(len(ys))]
    return {path: np.sum([part[path] for part in parts], axis=0) for path in parts[0]}
