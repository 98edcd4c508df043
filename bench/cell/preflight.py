"""Makes the tasks of a sweep before anything runs, so that missing data costs a message, not a run.

Started as ``python -m bench.cell.preflight`` by the process of the sweep, which loads no data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bench import child
from bench.errors import BadInput
from bench.instantiate import instantiate
from bench.sweep import launch
from bench.sweep.cell import Cell
from bench.tasks.base import Task

START_S = 60.0  # what a slow machine takes to start a process, and more


def refuse_bad_tasks(cells: list[Cell], tuned: bool = False) -> None:
    """Refuses a sweep with a task that cannot be made: no such files, too few steps.

    A task that states its rule for ``n_steps`` in its YAML has been held against it already.

    Args:
        cells: the cells.
        tuned: whether they need validation data, and a target that can be reached.

    Raises:
        BadInput: with the task's own words.
    """
    jobs = {json.dumps([c.config["task"], c.config["n_steps"]], sort_keys=True): c.config
            for c in cells if tuned or "steps_multiple_of" not in c.config["task"]}
    if not jobs:
        return
    wanted = [{name: c[name] for name in ("task", "n_steps", "batch_size", "seed")}
              | {"tuned": tuned, "target": c["metric"].get("learning", {}).get("target")}
              for c in jobs.values()]
    # A task that takes longer leaves a cell no time either.
    deadline_s = START_S + sum(c["limits"]["deadline_s"] for c in jobs.values())
    env = launch.environment({**next(iter(jobs.values())), "python": None})
    answer = child.asked("bench.cell.preflight", wanted, env=env, timeout_s=deadline_s)
    if answer.found:
        if error := str(answer.found[0]):
            where, words = error.split(": ", 1) if error.startswith("metric.") else ("task", error)
            raise BadInput.quoting(where, words)
    elif answer.late:
        raise BadInput("task", expected=f"a task that is made within {deadline_s:g} s",
                       came="none", do="limits.deadline_s is what a cell has.")
    else:
        raise BadInput("task", expected="a task that can be made", came=answer.last)


def first_error(jobs: list[Mapping[str, Any]]) -> Iterator[str]:
    """What the first task that cannot be made says about it; an empty string when all can."""
    for job in jobs:
        try:
            task = instantiate(job["task"], n_steps=job["n_steps"], batch_size=job["batch_size"],
                               seed=job["seed"])
            if job.get("tuned"):
                _refuse_untunable(task, job["target"])
        except MemoryError:
            continue  # costs its own row, which says so
        except (ValueError, TypeError, OSError) as error:
            yield " ".join(str(error).split()) or type(error).__name__
            return
    yield ""


def _refuse_untunable(task: Task, target: float | None) -> None:
    """Refuses a task that nothing can be chosen by, or a target that says nothing.

    Raises:
        ValueError: in words.
    """
    name = type(task).__name__
    if task.split() is None:
        raise ValueError(f"expected validation data to tune by, got none of {name}. Choose a task "
                         "that can be learned, or leave tune out.")
    if target is not None and not 1 / task.n_out < target <= 1:
        raise ValueError(f"metric.learning.target: expected an accuracy above that of guessing, "
                         f"{1 / task.n_out:.3g}, and at most 1, got {target:g}. Try "
                         "metric.learning.target=0.9.")


if __name__ == "__main__":
    child.answer(first_error, __doc__)
