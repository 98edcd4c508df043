"""Whether a cell's numbers mean anything: spikes, gradients, losses and weights that move."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.backends.base import spiking_layers
from bench.bounds import NotNegative
from bench.metrics.base import Metric, Run
from bench.tasks.base import Task

if TYPE_CHECKING:
    import jax

# Of the way from guessing to the best score: what chance does not reach on a training set.
LEARNED = 0.05


@dataclass
class Health(Metric):
    """Words about what is wrong; an empty string when nothing is."""

    of_process = False

    # A final loss within this fraction of that of guessing is stuck there, unless nothing better is
    # possible, or the answers are better than guesses all the same.
    stuck_within: NotNegative = 0.01

    def measure(self, run: Run) -> dict[str, Any]:
        before = _weights(run)
        if run.trained is not None:
            run.stepper.store(run.trained)
        rates = firing_rates(run)
        after = _weights(run)
        run.stepper.store(run.initial)
        metrics = run.parts.get("metrics", {})
        silent = without_gradient(run.parts.get("fidelity", {}))
        words = [
            *(f"layer {name} never spikes" for name, rate in rates.items() if rate == 0),
            *(gradient_words(metrics["grad_norm"]) if "grad_norm" in metrics else []),
            *self.loss_words(run.parts.get("curves", {}), run.task),
            *([f"no gradient reaches {', '.join(silent)}"] if silent else []),
        ]
        if run.trained is not None:
            still = [name for name in before if np.array_equal(before[name], after[name])]
            words += [f"{name} never moves" for name in still if name not in silent]
        found = {"firing_rate": float(np.mean(list(rates.values()))) if rates else None}
        if len(rates) > 1:
            found |= {f"firing_rate_{layer}": rate for layer, rate in enumerate(rates.values())}
        return {"metrics": found, "health": "; ".join(words)}

    def loss_words(self, curves: Mapping[str, Any], task: Task) -> list[str]:
        """What is wrong with the curves of training: mean loss and score of every epoch."""
        losses = curves.get("loss", [])
        if not losses:
            return []
        if not all(math.isfinite(loss) for loss in losses):
            return ["loss is not finite"]
        guess = task.guess
        slack = self.stuck_within * guess.loss
        score = curves[task.answers.column][-1]
        gained = (score - guess.score) / (1 - guess.score) if guess.score < 1 else 0.0
        if abs(losses[-1] - guess.loss) <= slack < guess.loss - task.best_loss and gained < LEARNED:
            return [f"loss stuck at {guess.words} = {guess.loss:.4f}"]
        return []


def gradient_words(norm: float | None) -> list[str]:
    """What is wrong with a gradient of this norm."""
    if norm is None or not math.isfinite(norm):
        return ["gradient is not finite"]
    return ["gradient is zero"] if norm == 0 else []


def without_gradient(fidelity: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """Names of the weights whose gradient is zero where BPTT's is not."""
    # A zero has no angle, and all of the truth as its error.
    return [
        name
        for name, found in fidelity.items()
        if found["cosine"] is None and found["rel_error"] == 1
    ]


def _weights(run: Run) -> dict[str, np.ndarray]:
    from bench.cell.trees import flat

    return flat({path: state.value for path, state in run.trainee.weights.items()})


def firing_rates(run: Run) -> dict[str, float]:
    """Spikes per neuron and step of each spiking layer on the first batch, by the layer's name."""
    import brainstate
    import jax.numpy as jnp

    from bench.cell.program import Program, kept

    model = run.trainee.model
    layers = spiking_layers(model)
    if not layers:
        return {}

    def rates(xs: jax.Array) -> dict[str, jax.Array]:
        brainstate.nn.init_all_states(model, batch_size=xs.shape[1])

        def step(x: jax.Array) -> dict[str, jax.Array]:
            model(x)
            return {name: jnp.mean(node.get_spike()) for name, node in layers.items()}

        per_step = brainstate.transform.for_loop(step, xs)
        return {name: rate.mean() for name, rate in per_step.items()}

    with kept():
        program = Program(rates, run.batch[0], reads_only=True)
    found = program(program.values(), run.batch[0])[1]
    return {name: float(rate) for name, rate in found.items()}
