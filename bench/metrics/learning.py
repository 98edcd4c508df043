"""Learning curves from a fixed, seeded pass over the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from bench.bounds import Positive
from bench.metrics.base import Metric, Run
from bench.tasks.base import Batch, Task
from core.errors import Refusal


class Learning(Metric):
    """Trains from the initial weights for the configured epochs, evaluating after each.

    A score is the task's: the accuracy at the last step, or R² of numbers.

    Args:
        target_loss: mean training loss of an epoch that ``time_to_target_s`` counts to; None for
            half of the first epoch's.
        choose: trains without a part of the training data and evaluates on that part instead, to
            choose by; ``trial`` never looks at the test data, ``final`` once, after training.
        target: validation score that ``steps_to_target`` counts to; None for the task's.
    """

    reads_clock = True

    def __init__(
        self,
        target_loss: Positive | None = None,
        choose: Literal["trial", "final"] | None = None,
        target: Positive | None = None,
    ) -> None:
        self._target_loss = target_loss
        self._choose = choose
        self._target = target

    def measure(
        self, run: Run, over: Callable[[float, int], bool] = lambda score, steps: False
    ) -> dict[str, Any]:
        """As of every metric.

        Args:
            run: the cell.
            over: told the held-out score and the training steps after every epoch; whether to
                stop there.
        """
        import jax

        from bench.cell.program import Program
        from bench.cell.stepper import timed

        task, held_out = self._data(run.task)
        score = task.answers.column
        dtype, evaluate = run.config.dtype, None

        def evaluated(data: Batch) -> tuple[float, float]:
            """Loss and score."""
            nonlocal evaluate
            xs, ys = data[0].astype(dtype), data[1]
            if evaluate is None:
                evaluate = Program(run.trainee.evaluate, xs, ys, reads_only=True)
            result = evaluate(evaluate.values(), xs, ys)[1]
            return judged(result)

        def judged(result: Any) -> tuple[float, float]:
            loss = _mean(result.losses, task)
            return loss, task.answers.score(loss, result.correct, run.task)

        name = "validation" if self._choose else "test"
        curves: dict[str, list[Any]] = {
            column: []
            for column in (
                "epoch",
                "loss",
                score,
                f"{name}_{score}",
                f"{name}_loss",
                "train_time_s",
                "train_steps",
            )
        }
        values = run.stepper.values()
        norms: list[float] = []
        spent = 0.0
        for epoch in range(run.config.epochs):
            results = []
            for xs, ys in task.batches(epoch):
                values, result, seconds = timed(run.stepper, values, run.stepper.prepare(xs, ys))
                spent += seconds
                results.append(result)
            norms += [float(result.grad_norm) for result in results]
            curves["epoch"].append(epoch + 1)
            curves["train_steps"].append(len(norms))
            losses, scores = zip(*map(judged, results), strict=True)
            curves["loss"].append(float(np.mean(losses)))
            curves[score].append(float(np.mean(scores)))
            curves["train_time_s"].append(spent)
            # The evaluation reads the weights from the states.
            run.stepper.store(values)
            values = run.stepper.values()
            loss, found = (None, None) if held_out is None else evaluated(held_out)
            curves[f"{name}_loss"].append(loss)
            curves[f"{name}_{score}"].append(found)
            if found is not None and over(found, len(norms)):
                break
        test: tuple[float, int] | None = None
        if self._choose == "final" and (data := run.task.test()) is not None:
            evaluate = None  # compiled for another number of sequences
            test = evaluated(data)[1], len(data[1])
        run.trained = jax.tree.map(np.array, values)
        run.stepper.store(run.initial)
        return {"metrics": self._metrics(curves, norms, test, task), "curves": curves}

    def _data(self, task: Task) -> tuple[Task, Batch | None]:
        """What is trained on, and what is evaluated after every epoch."""
        if self._choose is None:
            return task, task.test()
        split = task.split()
        if split is None:
            raise Refusal("validation data to choose by", "none", what="task")
        return split

    def _metrics(
        self,
        curves: dict[str, list[Any]],
        norms: list[float],
        test: tuple[float, int] | None,
        task: Task,
    ) -> dict[str, float | None]:
        losses, score = curves["loss"], task.answers.column
        target = losses[0] / 2 if self._target_loss is None else self._target_loss
        found = {
            "loss_first": losses[0],
            "loss_final": losses[-1],
            score: curves[score][-1],
            "grad_norm": norms[0],
        }
        if self._choose is None:
            return found | {
                f"test_{score}": curves[f"test_{score}"][-1],
                "target_loss": target,
                "time_to_target_s": time_to(losses, curves["train_time_s"], target),
            }
        found |= {
            "validation_loss": curves["validation_loss"][-1],
            f"validation_{score}": curves[f"validation_{score}"][-1],
        }
        if self._choose == "trial":
            return found
        goal = self._target or task.target
        missing = [] if goal is None else [goal - s for s in curves[f"validation_{score}"]]
        tested, n_test = test or (None, None)
        return found | {
            f"test_{score}": tested,
            "n_test": n_test,
            f"target_{score}": goal,
            "steps_to_target": time_to(missing, curves["train_steps"], 0.0),
        }


def time_to(losses: list[float], seconds: list[float], target: float) -> float | None:
    """Training time at the end of the first epoch whose mean loss is at most ``target``.

    Args:
        losses: mean training loss of each epoch; what falls as training goes on.
        seconds: training time up to the end of each epoch, evaluation left out; or steps.
        target: loss to reach.
    """
    return next((s for loss, s in zip(losses, seconds, strict=False) if loss <= target), None)


def _mean(losses: Any, task: Task) -> float:
    """Mean over the steps [T] that the task asks for."""
    return float(np.average(np.asarray(losses), weights=task.mask))
