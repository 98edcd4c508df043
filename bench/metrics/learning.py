"""Learning curves from a fixed, seeded pass over the data."""

from __future__ import annotations

import time
from typing import Any

import jax
import numpy as np

from bench.bounds import Positive
from bench.cell.program import Program
from bench.metrics.base import Metric, Run
from bench.tasks.base import Batch


class Learning(Metric):
    """Trains from the initial weights for the configured epochs, evaluating after each.

    A sequence is classified by the logits of its last step.

    Args:
        target_loss: mean training loss of an epoch that ``time_to_target_s`` counts to; None for
            half of the first epoch's.
    """

    reads_clock = True

    def __init__(self, target_loss: Positive | None = None) -> None:
        self._target_loss = target_loss

    def measure(self, run: Run) -> dict[str, Any]:
        test = run.task.test()
        if test is not None:
            test = test[0].astype(run.config["dtype"]), test[1]
            evaluate = Program(run.trainee.evaluate, *test, reads_only=True)

        def accuracy_on(held_out: Batch) -> float:
            return float(evaluate(evaluate.values(), *held_out)[1].correct[-1])

        curves: dict[str, list[Any]] = {name: [] for name in (
            "epoch", "loss", "accuracy", "test_accuracy", "train_time_s")}
        values = run.stepper.values()
        norms: list[float] = []
        spent = 0.0
        for epoch in range(run.config["epochs"]):
            results = []
            for xs, ys in run.task.batches(epoch):
                batch = run.stepper.prepare(xs, ys)
                started = time.perf_counter()
                values, result = run.stepper(values, batch)
                jax.block_until_ready(values)
                spent += time.perf_counter() - started
                results.append(result)
            norms += [float(result.grad_norm) for result in results]
            curves["epoch"].append(epoch + 1)
            curves["loss"].append(float(np.mean([np.mean(r.losses) for r in results])))
            curves["accuracy"].append(float(np.mean([r.correct[-1] for r in results])))
            curves["train_time_s"].append(spent)
            # The evaluation reads the weights from the states.
            run.stepper.store(values)
            values = run.stepper.values()
            curves["test_accuracy"].append(accuracy_on(test) if test is not None else None)
        run.trained = jax.tree.map(np.array, values)
        run.stepper.store(run.initial)
        return {"metrics": self._metrics(curves, norms), "curves": curves}

    def _metrics(self, curves: dict[str, list[Any]], norms: list[float]) -> dict[str, float | None]:
        losses = curves["loss"]
        target = losses[0] / 2 if self._target_loss is None else self._target_loss
        return {
            "loss_first": losses[0],
            "loss_final": losses[-1],
            "accuracy": curves["accuracy"][-1],
            "test_accuracy": curves["test_accuracy"][-1],
            "target_loss": target,
            "time_to_target_s": time_to(losses, curves["train_time_s"], target),
            "grad_norm": norms[0],
        }


def time_to(losses: list[float], seconds: list[float], target: float) -> float | None:
    """Training time at the end of the first epoch whose mean loss is at most ``target``.

    Args:
        losses: mean training loss of each epoch.
        seconds: training time up to the end of each epoch, evaluation left out.
        target: loss to reach.
    """
    return next((s for loss, s in zip(losses, seconds, strict=True) if loss <= target), None)
