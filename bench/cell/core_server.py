"""The other side of ``bench.cell.core_process``: weights, or one of the core's gradients."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from bench import child
from bench.config import Config
from bench.instantiate import task_of


def answers(question: list[Any]) -> Iterator[dict[str, Any]]:
    """The weights of a cell; its gradient by another configuration where one is given."""
    import brainstate
    import jax
    import numpy as np

    from bench.cell.build import Rebuild, model_of, set_up
    from bench.cell.gradients import Origin, float64_gradients
    from bench.cell.trees import flat

    config = Config.of(question[0])
    set_up(config)
    task = task_of(config)
    states = model_of(config, task).states(brainstate.ParamState)
    weights = {path: jax.tree.map(np.array, state.value) for path, state in states.items()}
    found = flat(weights)
    if question[1] is not None:
        changed = Config.of(question[1])
        first, *_ = itertools.islice(task.batches(0), 1)
        origin = Origin(
            config, (first[0].astype(config.dtype), first[1]), Rebuild(config, task, weights)
        )
        found = float64_gradients(origin, vars(changed), max_samples=changed.batch_size)[0]
    yield {name: value.tolist() for name, value in found.items()}


if __name__ == "__main__":
    child.answer(answers, __doc__)
