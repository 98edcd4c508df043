"""Builds cells without running them: refuses bad hyperparameters, predicts memory from shapes.

Models are built from shapes alone where their constructors allow it, so that a width for which
there is no memory here costs no more than a small one. The parent has no jax, so
``python -m bench.cell.probe`` does it for all cells of a sweep in one process.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bench import child
from bench.errors import BadInput
from bench.instantiate import target_of
from bench.sweep import launch
from bench.sweep.cell import AXES, GROUPS, Cell

# What is found about a cell: {"error": text or "", "predicted_mib": number or None, "note": why
# there is no number, or ""}.
Finding = dict[str, Any]

# Ten times what a slow machine takes to start and for a cell: nobody waits longer for a courtesy.
START_S, CELL_S = 60.0, 10.0


def finding(*, error: str = "", predicted_mib: float | None = None, note: str = "") -> Finding:
    """What is found about a cell, nothing unless it is given."""
    return {"error": error, "predicted_mib": predicted_mib, "note": note}


def probe(cells: list[Cell], *, memory: bool) -> dict[int, Finding]:
    """Findings about cells, by their place in the list.

    Args:
        cells: the cells to look at; cells that differ in nothing that matters are looked at once.
        memory: whether to trace the training step and predict its memory, about a second a cell.

    Raises:
        BadInput: when the process ends without an answer.
    """
    distinct: dict[str, list[int]] = {}
    for place, cell in enumerate(cells):
        matter = {k: cell.config[k] for k in (*GROUPS, *AXES, "update_every", "dtype", "python")}
        distinct.setdefault(json.dumps(matter, sort_keys=True), []).append(place)
    by_interpreter: dict[str | None, list[list[int]]] = {}
    for places in distinct.values():
        by_interpreter.setdefault(_interpreter(cells[places[0]]), []).append(places)
    return {place: finding for python, groups in by_interpreter.items()
            for places, finding in zip(groups, _asked(
                python, [cells[places[0]] for places in groups], memory), strict=True)
            for place in places}


def _interpreter(cell: Cell) -> str | None:
    """Who can build the cell with the core: not an environment that is there to do without."""
    return None if target_of(cell.config["backend"]).environment else cell.config["python"]


def _asked(python: str | None, cells: list[Cell], memory: bool) -> list[Finding]:
    env = launch.environment({**cells[0].config, "python": python})
    jobs = [{"config": c.config, "choices": c.choices, "memory": memory} for c in cells]
    deadline_s = START_S + CELL_S * len(cells)
    answer = child.asked("bench.cell.probe", jobs, python=python, timeout_s=deadline_s,
                         env={**env, "JAX_PLATFORMS": "cpu"})
    missing = len(cells) - len(answer.found)
    if missing and not answer.late:
        raise BadInput("configuration", expected="cells that can be built", came=answer.last)
    late = finding(note=f"building it takes longer than {deadline_s:g} s")
    return answer.found + [late] * missing


def values_given(overrides: list[str]) -> bool:
    """Whether somebody set a hyperparameter, which then has to pass the constructor it is for.

    What a YAML says is tested; importing jax to hear so again would cost every sweep seconds.
    """
    return any(key.partition(".")[0] in ("algo", "model", "task")
               and ("." in key or value.startswith("{"))
               for key, _, value in (o.lstrip("+~").partition("=") for o in overrides))


def refuse_bad_values(findings: Mapping[int, Finding]) -> None:
    """Refuses a sweep with a cell whose objects cannot be built, before any cell runs.

    Raises:
        BadInput: with the constructor's own words.
    """
    for finding in findings.values():
        if finding["error"]:
            raise BadInput.quoting(*finding["error"].split(": ", 1))


def look(job: Mapping[str, Any]) -> Finding:
    """The finding about one configuration, inside the process that has jax."""
    import jax

    from bench.cell.build import set_up

    set_up(job["config"])
    try:
        try:
            return _from_shapes(lambda: _built(job))
        except jax.errors.JAXTypeError:
            # A constructor that computes with the numbers in its arrays.
            return _built(job)
    except MemoryError as error:
        return finding(note=f"too large to build here: {_line(error)}")
    except jax.errors.JAXTypeError as error:
        return finding(note=_line(error))


def _from_shapes(fun: Callable[[], Finding]) -> Finding:
    """Calls ``fun`` with arrays that have a shape and no numbers."""
    import brainstate

    found: list[Finding] = []
    traced = brainstate.transform.StatefulFunction(lambda: found.append(fun()),
                                                   return_only_write=False)
    traced.make_jaxpr()
    return found[-1]


def _built(job: Mapping[str, Any]) -> Finding:
    import jax

    from bench.cell.build import model_of
    from bench.instantiate import instantiate

    config, choices = job["config"], job["choices"]
    at = "task"
    try:
        task = instantiate(config["task"], n_steps=config["n_steps"],
                           batch_size=config["batch_size"], seed=config["seed"])
        at = "model"
        model = model_of(config, task)
        at = "algo"
        backend = instantiate(config["backend"])
        if backend.unsupported(config, choices):
            return finding()
        instantiate(config["algo"], model)
    except jax.errors.JAXTypeError:
        raise
    except (ValueError, TypeError) as error:
        return finding(error=f"{at}: {_line(error)}")
    if not job["memory"]:
        return finding()
    if backend.environment:
        return finding(note=f"{choices['backend']} runs in an environment of its own")
    try:
        trainee = backend.trainee(model, config)
        trainee.mask = task.mask
        return finding(predicted_mib=predict_mib(trainee, task, config))
    except (MemoryError, jax.errors.JAXTypeError):
        raise
    except Exception as error:
        # A prediction is a courtesy: the cell itself will say what is wrong.
        traceback.print_exc()
        return finding(note=f"{type(error).__name__}: {_line(error)}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def predict_mib(trainee: Any, task: Any, config: Mapping[str, Any]) -> float:
    """MiB that a training step needs, from the shapes in its traced program."""
    import brainstate

    from bench.cell.memory_estimate import peak_bytes

    xs, ys = next(iter(task.batches(0)))
    single = config["batching"]["mode"] == "single"
    step, example = (trainee.gradient, (xs[:, 0], ys[0])) if single else (trainee.train, (xs, ys))
    traced = brainstate.transform.StatefulFunction(step, return_only_write=False)
    traced.make_jaxpr(*example)
    return peak_bytes(traced.get_jaxpr(*example)) / 2**20


def looked(jobs: list[Mapping[str, Any]]) -> Iterator[Finding]:
    """The findings about all configurations, each within the memory of its cell."""
    from bench.cell.worker import cap_memory
    from bench.sweep.measure import memory_cap

    for job in jobs:
        cap_memory(memory_cap(job["config"]["limits"]))
        yield look(job)


if __name__ == "__main__":
    child.answer(looked, __doc__)
