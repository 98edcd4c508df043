"""The other side of ``bench.cell.core_process``: answers with weights and the core's gradients."""

from __future__ import annotations

import io
import itertools
import json
import os
import sys
from typing import IO

import brainstate
import jax
import numpy as np

from bench import child, processes
from bench.cell.build import Rebuild, model_of, set_up
from bench.cell.core_process import LENGTH, Arrays
from bench.cell.gradients import Origin, float64_gradients
from bench.cell.trees import flat
from bench.config import Config
from bench.instantiate import task_of


def serve(questions: IO[str], answers: IO[bytes]) -> None:
    """Answers the first question with the cell's weights, every other one with a gradient."""
    config = Config.of(json.loads(questions.readline()))
    set_up(config)
    task = task_of(config)
    first, *_ = itertools.islice(task.batches(0), 1)
    states = model_of(config, task).states(brainstate.ParamState)
    weights = {path: jax.tree.map(np.array, state.value) for path, state in states.items()}
    _send(answers, flat(weights))
    origin = Origin(config, (first[0].astype(config.dtype), first[1]),
                    Rebuild(config, task, weights))
    for line in questions:
        asked = Config.of(json.loads(line))
        _send(answers, float64_gradients(origin, vars(asked), max_samples=asked.batch_size)[0])


def _send(answers: IO[bytes], arrays: Arrays) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    answers.write(LENGTH.pack(buffer.tell()) + buffer.getvalue())
    answers.flush()


if __name__ == "__main__":
    descriptor, parent = child.arguments(__doc__)
    processes.die_with_parent(parent)
    with os.fdopen(descriptor, "wb") as pipe:
        serve(sys.stdin, pipe)
