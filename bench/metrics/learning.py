"""Learning curves from a fixed, seeded pass over the data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bench.answers import CLASSES
from bench.bounds import Positive
from bench.metrics.base import Metric, Run
from bench.tasks.base import Batch, Task
from core.errors import Refusal


@dataclass
class Learning(Metric):
    """Trains from the initial weights for the configured epochs, evaluating after each.

    A score is the task's: the accuracy at the last step, or R² of numbers. With ``choose`` it
    trains without a part of the training data and evaluates on that part instead, to choose by.
    """

    of_process = False

    # Mean training loss that time_to_target_s counts to; None for half of the first epoch's.
    target_loss: Positive | None = None
    # trial never looks at the test data, final once, after training.
    choose: Literal["trial", "final"] | None = None
    target: Positive | None = None  # validation score of steps_to_target; None for the task's

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

        from bench.cell.batches import batches, held
        from bench.cell.program import Program, kept
        from bench.cell.stepper import timed

        task, data = self._data(run.task)
        held_out = None if data is None else held(task, data, run.config)
        name, score = "validation" if self.choose else "test", task.answers.column
        programs: dict[int, Any] = {}

        def evaluated(xs: np.ndarray, ys: np.ndarray) -> tuple[float, float]:
            """Loss and score, by a program for this number of sequences."""
            if len(ys) not in programs:
                with kept():
                    programs[len(ys)] = Program(run.trainee.evaluate, xs, ys, reads_only=True)
            program = programs[len(ys)]
            return judged(program(program.values(), xs, ys)[1])

        def judged(result: Any) -> tuple[float, float]:
            # Mean over the steps [T] that the task asks for.
            loss = float(np.average(np.asarray(result.losses), weights=task.mask))
            return loss, task.answers.score(loss, result.correct, run.task)

        columns = "epoch", "loss", score, f"{name}_{score}", f"{name}_loss", "train_time_s"
        curves: dict[str, list[Any]] = {column: [] for column in (*columns, "train_steps")}
        values = run.stepper.values()
        spent, steps = 0.0, 0
        for epoch in range(run.config.epochs):
            results = []
            for xs, ys in batches(task, epoch, run.config):
                values, result, seconds = timed(run.stepper, values, run.stepper.prepare(xs, ys))
                spent += seconds
                results.append(result)
            steps += len(results)
            losses, scores = zip(*map(judged, results), strict=True)
            means = float(np.mean(losses)), float(np.mean(scores))
            # The evaluation reads the weights from the states.
            run.stepper.store(values)
            values = run.stepper.values()
            loss, found = (None, None) if held_out is None else evaluated(*held_out)
            row = epoch + 1, *means, found, loss, spent, steps
            for curve, value in zip(curves.values(), row, strict=True):
                curve.append(value)
            if found is not None and over(found, steps):
                break
        metrics = self._metrics(curves, task)
        test = held_out if self.choose is None else None
        if self.choose == "final" and (data := run.task.test()) is not None:
            test = held(task, data, run.config)
        # Without test data there is no score of it; null is one that is no finite number.
        if test is not None:
            found = evaluated(*test)[1] if self.choose else curves[f"test_{score}"][-1]
            metrics |= {f"test_{score}": found, "n_test": len(test[1])}
            if task.answers is CLASSES:
                metrics["guess_accuracy"] = CLASSES.constant(test[1])
        run.trained = jax.tree.map(np.array, values)
        run.stepper.store(run.initial)
        return {"metrics": metrics, "curves": curves}

    def _data(self, task: Task) -> tuple[Task, Batch | None]:
        """What is trained on, and what is evaluated after every epoch."""
        if self.choose is None:
            return task, task.test()
        split = task.split()
        if split is None:
            raise Refusal("validation data to choose by", "none", what="task")
        return split

    def _metrics(self, curves: dict[str, list[Any]], task: Task) -> dict[str, float | None]:
        losses, score = curves["loss"], task.answers.column
        found = {"loss_first": losses[0], "loss_final": losses[-1], score: curves[score][-1]}
        if self.choose is None:
            target = losses[0] / 2 if self.target_loss is None else self.target_loss
            reached = time_to(losses, curves["train_time_s"], target)
            return found | {"target_loss": target, "time_to_target_s": reached}
        scores = curves[f"validation_{score}"]
        found |= {
            "validation_loss": curves["validation_loss"][-1],
            f"validation_{score}": scores[-1],
        }
        if self.choose == "trial":
            return found
        goal = self.target or task.target
        missing = [] if goal is None else [goal - s for s in scores]
        return found | {
            f"target_{score}": goal,
            "steps_to_target": time_to(missing, curves["train_steps"], 0.0),
        }


def time_to(losses: list[float], seconds: list[float], target: float) -> float | None:
    """Seconds, or steps, at the end of the first epoch whose loss is at most ``target``."""
    return next((s for loss, s in zip(losses, seconds, strict=False) if loss <= target), None)
