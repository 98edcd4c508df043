"""The other side of ``bench.command.trial``: builds cells, predicts their memory from shapes.

Models are built from shapes alone where their constructors allow it, so that a width for which
there is no memory here costs no more than a small one.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

from bench import child, processes
from bench.cell import late_imports
from bench.config import Config
from bench.errors import BadInput, words_of
from bench.instantiate import check, instantiate, task_of
from core.errors import NotRepresentable, Refusal

Finding = dict[str, Any]  # as in bench.command.trial


def finding(*, error: str = "", predicted_mib: float | None = None, note: str = "") -> Finding:
    """What is found about a cell, nothing unless it is given."""
    return {"error": error, "predicted_mib": predicted_mib, "note": note}


def look(job: Mapping[str, Any]) -> Finding:
    """The finding about one configuration."""
    try:
        # A task needs no jax, which takes seconds to import.
        return _built(job) if job["depth"] == "task" else _from_shapes(job)
    except MemoryError as error:
        return finding(note=f"too large to build here: {words_of(error)}")


def _from_shapes(job: Mapping[str, Any]) -> Finding:
    """Builds a cell with arrays that have a shape and no numbers, or else with numbers."""
    import brainstate
    from jax.errors import JAXTypeError

    from bench.cell.build import set_up

    set_up(job["config"])
    found: list[Finding] = []
    traced = brainstate.transform.StatefulFunction(
        lambda: found.append(_built(job)), return_only_write=False
    )
    try:
        try:
            traced.make_jaxpr()
        except JAXTypeError:
            # A constructor that computes with the numbers in its arrays.
            found.append(_built(job))
        return found[-1]
    except JAXTypeError as error:
        return finding(note=words_of(error))


def _built(job: Mapping[str, Any]) -> Finding:
    config = job["config"]
    at = "task"
    try:
        task = _checked_task(job)
        if job["depth"] == "task":
            return finding()
        from bench.cell.build import model_of

        at = "model"
        check("model", config.model)
        model = model_of(config, task)
        at = "algo"
        check("algo", config.algo)
        backend = instantiate(config.backend)
        if backend.unsupported(config, job["choices"]):
            return finding()
        instantiate(config.algo, model)
        if job["depth"] != "memory":
            return finding()
        at = "memory"
        trainee = backend.trainee(model, config)
        trainee.task = task
        return finding(predicted_mib=predict_mib(trainee, task, config))
    except (Exception, SystemExit) as error:  # of somebody's own task or model it may be any
        if isinstance(error, MemoryError) or _needs_numbers(error):
            raise
        words = words_of(error)
        if at != "memory":
            return finding(error=words if isinstance(error, BadInput) else f"{at}: {words}")
        if isinstance(error, NotRepresentable):
            return finding(error=words)
        # A prediction is a courtesy: the cell itself will say what is wrong.
        traceback.print_exc()
        return finding(note=words)


def _checked_task(job: Mapping[str, Any]) -> Any:
    """The task of a cell; where that is tuned, one that can be."""
    config = job["config"]
    check("task", config.task)
    task = task_of(config)
    if not job.get("tuned"):
        return task
    if task.split() is None:
        do = "Choose a task that can be learned, or leave tune out."
        raise Refusal("validation data to tune by", f"none of {type(task).__name__}", do)
    target = config.metric.get("learning", {}).get("target")
    if target is not None and not task.guess.score < target <= 1:
        score, guess = task.answers.name, task.guess.score
        expected = f"a score ({score}) above that of guessing, {guess:.3g}, and at most 1"
        key, do = "metric.learning.target", "Try metric.learning.target=0.9."
        raise BadInput(key, expected, f"{target:g}", do)
    return task


def _needs_numbers(error: BaseException) -> bool:
    """Whether something computed with numbers where there are only shapes."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(error, jax.errors.JAXTypeError)


def predict_mib(trainee: Any, task: Any, config: Config) -> float:
    """MiB that a training step needs, from the shapes in its traced program."""
    import brainstate
    import jax

    from bench.cell.operations import peak_bytes

    # Shapes are enough: a batch may be larger than the memory of this machine.
    xs: tuple[int, ...] = (config.n_steps, config.batch_size, task.n_in)
    ys, kind = task.answers.shape(task, config.n_steps, config.batch_size)
    single = config.batching.mode == "single"
    if single:
        xs, ys = (config.n_steps, task.n_in), ys[1:]
    example = (
        jax.ShapeDtypeStruct(xs, config.dtype),
        jax.ShapeDtypeStruct(ys, jax.dtypes.canonicalize_dtype(kind)),
    )
    step = trainee.gradient if single else trainee.train
    traced = brainstate.transform.StatefulFunction(step, return_only_write=False)
    traced.make_jaxpr(*example)
    return peak_bytes(traced.get_jaxpr(*example)) / 2**20


def looked(jobs: list[Mapping[str, Any]]) -> Iterator[Finding]:
    """The findings about all configurations, each within the memory of its cell."""
    for job in jobs:
        config = Config.of(job["config"])
        processes.cap_memory(processes.memory_cap(config.limits))
        yield look({**job, "config": config})


if __name__ == "__main__":
    late_imports.load_later()
    child.answer(looked, __doc__)
