"""Gradients of the first batch in float64, for comparisons between algorithms and libraries.

Spiking networks amplify rounding: one spike that flips between two orders of summation moves a
float32 gradient by 1e-4. In float64 both sides see the same spikes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import brainstate
import jax
import numpy as np

from bench.backends.base import ModelTrainee
from bench.cell.program import Program, kept
from bench.cell.trees import flat
from bench.config import Batching, Config

if TYPE_CHECKING:
    from bench.cell.build import Rebuild

EXACT: dict[str, Any] = {
    "algo": {"_target_": "core.BPTT"},
    "backend": {"_target_": "bench.backends.core.Core"},
    "batching": Batching("manual"),
    "update_every": "sequence",
}


def float64_gradients(
    build: Rebuild,
    batch: tuple[np.ndarray, np.ndarray],
    *changes: Mapping[str, Any],
    max_samples: int,
) -> list[dict[str, np.ndarray]]:
    """Gradients by weight, summed over the first sequences of a batch, at the initial weights.

    There is one for each of ``changes``: the configuration entries that differ from the cell's.
    """
    xs, ys = batch
    n = min(len(ys), max_samples)
    common = replace(build.config, batch_size=n, dtype="float64")
    with jax.enable_x64(True), brainstate.environ.context(precision=64):
        return [
            _gradient(build(config), config, xs[:, :n].astype(np.float64), ys[:n])
            for config in (replace(common, **change) for change in changes)
        ]


def cosine_and_error(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], names: Iterable[str] = ()
) -> tuple[float | None, float | None]:
    """Cosine of the angle between two gradients, and the relative error of the first.

    That is the norm of the difference over the norm of ``theirs``. The named weights, or all of
    ``theirs``, are taken as one vector; where such a norm is zero there is None.
    """
    names = list(names) or sorted(theirs)
    a, b = (np.concatenate([each[name].ravel() for name in names]) for each in (ours, theirs))
    size, norms = float(np.linalg.norm(b)), float(np.linalg.norm(a) * np.linalg.norm(b))
    return (
        float(np.vdot(a, b)) / norms if norms else None,
        float(np.linalg.norm(a - b)) / size if size else None,
    )


def _gradient(
    trainee: ModelTrainee, config: Config, xs: np.ndarray, ys: np.ndarray
) -> dict[str, np.ndarray]:
    single = config.batching.mode == "single"
    samples = [(xs[:, b], ys[b]) for b in range(len(ys))] if single else [(xs, ys)]
    with kept():
        program = Program(trainee.gradient, *samples[0], reads_only=True)
    values = program.values()
    parts = [flat(program(values, *sample)[1][0]) for sample in samples]
    return {name: np.sum([part[name] for part in parts], axis=0) for name in parts[0]}
