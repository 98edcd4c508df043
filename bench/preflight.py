"""Makes the tasks of a sweep before anything runs, so that missing data costs a message, not a run.

Started as ``python -m bench.preflight`` by the process of the sweep, which loads no data itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from bench import launch
from bench.cell import Cell
from bench.errors import BadInput
from bench.instantiate import instantiate


def refuse_bad_tasks(cells: list[Cell]) -> None:
    """Refuses a sweep with a task that cannot be made: no such files, too few steps.

    A task that states its rule for ``n_steps`` in its YAML has been held against it already.

    Raises:
        BadInput: with the task's own words.
    """
    jobs = {json.dumps([c.config["task"], c.config["n_steps"]], sort_keys=True): c.config
            for c in cells if "steps_multiple_of" not in c.config["task"]}
    if not jobs:
        return
    first = next(iter(jobs.values()))
    wanted = [{name: c[name] for name in ("task", "n_steps", "batch_size", "seed")}
              for c in jobs.values()]
    answer = subprocess.run(
        [sys.executable, "-P", "-m", "bench.preflight"], input=json.dumps(wanted), text=True,
        env=launch.environment(first), capture_output=True, check=False)
    last = (answer.stdout.strip() or answer.stderr.strip() or "no output").splitlines()[-1]
    if answer.returncode:
        raise BadInput("task", expected="a task that can be made", came=last)
    if error := json.loads(last):
        raise BadInput.quoting("task", error)


def first_error(jobs: list[Mapping[str, Any]]) -> str:
    """What the first task that cannot be made says about it; an empty string when all can."""
    for job in jobs:
        try:
            instantiate(job["task"], n_steps=job["n_steps"], batch_size=job["batch_size"],
                        seed=job["seed"])
        except (ValueError, TypeError, OSError) as error:
            return " ".join(str(error).split())
    return ""


if __name__ == "__main__":
    print(json.dumps(first_error(json.load(sys.stdin))))
