"""The other side of ``bench.command.trial``: builds cells, predicts their memory from shapes.

Models are built from shapes alone where their constructors allow it, so that a width for which
there is no memory here costs no more than a small one.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from typing import Any

from bench import child, processes
from bench.cell import late_imports
from bench.config import Config
from bench.errors import BadInput, quoted, words_of
from bench.instantiate import check, instantiate, task_of
from core.errors import NotRepresentable, Refusal

Finding = dict[str, Any]  # as in bench.command.trial


def finding(**found: str | float | None) -> Finding:
    """What is found about a cell, nothing unless it is given."""
    return {"error": "", "skipped": "", "predicted_mib": None, "note": ""} | found


def look(job: Mapping[str, Any]) -> Finding:
    """The finding about one configuration."""
    config = job["config"]
    try:
        if job["depth"] != "task":  # which needs no jax: importing that takes seconds
            from bench.cell.build import set_up

            set_up(config)
        task = _checked_task(config, job.get("tuned", False))
        return finding() if job["depth"] == "task" else _from_shapes(job, task)
    except BadInput as refused:
        return finding(error=str(refused))
    except MemoryError as error:
        return finding(note=f"too large to build here: {words_of(error)}")


def _checked_task(config: Config, tuned: bool) -> Any:
    """The task of a cell; where that is tuned, one that can be."""
    with quoted("task", MemoryError):
        check("task", config.task)
        task = task_of(config)
        if tuned and task.split() is None:
            do = "Choose a task that can be learned, or leave tune out."
            raise Refusal("validation data to tune by", f"none of {type(task).__name__}", do)
        target = config.metric.get("learning", {}).get("target") if tuned else None
        if target is not None and not task.guess.score < target <= 1:
            score, guess = task.answers.name, task.guess.score
            expected = f"a score ({score}) above that of guessing, {guess:.3g}, and at most 1"
            key, do = "metric.learning.target", "Try metric.learning.target=0.9."
            raise BadInput(key, expected, f"{target:g}", do)
    return task


def _from_shapes(job: Mapping[str, Any], task: Any) -> Finding:
    """Builds a cell with arrays that have a shape and no numbers, or else with numbers."""
    import brainstate
    from jax.errors import JAXTypeError

    found: list[Finding] = []

    def build() -> None:
        found.append(_built(job, task))

    try:
        try:
            brainstate.transform.StatefulFunction(build, return_only_write=False).make_jaxpr()
        except JAXTypeError:
            build()  # a constructor that computes with the numbers in its arrays
        return found[-1]
    except JAXTypeError as error:
        return finding(note=words_of(error))


def _built(job: Mapping[str, Any], task: Any) -> Finding:
    from jax.errors import JAXTypeError

    from bench.cell.build import model_of

    config, others = job["config"], (JAXTypeError, MemoryError)
    with quoted("model", *others):
        check("model", config.model)
        model = model_of(config, task)
    with quoted("algo", *others):
        check("algo", config.algo)
    with quoted("backend"):
        backend = instantiate(config.backend)
        if backend.unsupported(config, job["choices"]):
            return finding()
    with quoted("algo", *others):
        instantiate(config.algo, model)
    if job["depth"] != "memory":
        return finding()
    try:
        trainee = backend.trainee(model, config)
        trainee.task = task
        return finding(predicted_mib=predict_mib(trainee, task, config))
    except others:
        raise
    except NotRepresentable as error:
        return finding(skipped=words_of(error))
    except (Exception, SystemExit) as error:
        # A prediction is a courtesy: the cell itself will say what is wrong.
        traceback.print_exc()
        return finding(note=words_of(error))


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
        processes.cap_memory(processes.memory_cap(job["config"].limits))
        yield look(job)


if __name__ == "__main__":
    late_imports.load_later()
    child.answer(looked, __doc__)
