"""The project's own interpreter beside a cell that runs in another environment.

A library that needs other versions cannot share a process with the core. The cell's process then
asks ``python -m bench.cell.core_process``, run by the interpreter that started the sweep, for the
initial weights and for the core's gradients. It idles while the cell is measured and ends with it.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import struct
import subprocess
import sys
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

from bench import child, processes

if TYPE_CHECKING:
    import numpy as np

    Arrays = dict[str, np.ndarray]

LENGTH = struct.Struct("<Q")


class CoreProcess:
    """A conversation with the process that has the core.

    Args:
        python: the project's own interpreter.
        config: composed configuration of the cell.

    Attributes:
        weights: initial weights by name, in the cell's precision.
    """

    def __init__(self, python: str, config: Mapping[str, Any]) -> None:
        read_end, write_end = os.pipe()
        self._process = subprocess.Popen(
            [python, "-P", "-m", "bench.cell.core_process", str(write_end), str(os.getpid())],
            stdin=subprocess.PIPE, pass_fds=[write_end], env={**os.environ, "JAX_PLATFORMS": "cpu"})
        os.close(write_end)
        self._answers = os.fdopen(read_end, "rb")
        self.weights = self._ask(config)

    def gradient(self, config: Mapping[str, Any]) -> Arrays:
        """The core's gradient of the first ``batch_size`` sequences at the initial weights."""
        return self._ask(config)

    def close(self) -> None:
        """Ends the process; the end of the cell's own does so as well."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._answers.close()

    def _ask(self, question: Mapping[str, Any]) -> Arrays:
        import numpy as np

        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
            (length,) = LENGTH.unpack(self._answers.read(LENGTH.size))
        except (BrokenPipeError, struct.error) as error:
            raise RuntimeError("the process with the core ended without an answer; its own words "
                               "are in the log above") from error
        with np.load(io.BytesIO(self._answers.read(length)), allow_pickle=False) as arrays:
            return dict(arrays)


def serve(questions: IO[str], answers: IO[bytes]) -> None:
    """Answers the first question with the cell's weights, every other one with a gradient."""
    import brainstate
    import jax
    import numpy as np

    from bench.cell.build import Rebuild, model_of, set_up
    from bench.cell.gradients import Origin, float64_gradients
    from bench.cell.trees import flat
    from bench.instantiate import instantiate

    config = json.loads(questions.readline())
    set_up(config)
    task = instantiate(config["task"], n_steps=config["n_steps"],
                       batch_size=config["batch_size"], seed=config["seed"])
    first, *_ = itertools.islice(task.batches(0), 1)
    states = model_of(config, task).states(brainstate.ParamState)
    weights = {path: jax.tree.map(np.array, state.value) for path, state in states.items()}
    _send(answers, flat(weights))
    origin = Origin(config, (first[0].astype(config["dtype"]), first[1]),
                    Rebuild(config, task, weights))
    for line in questions:
        asked = json.loads(line)
        _send(answers, float64_gradients(origin, asked, max_samples=asked["batch_size"])[0])


def _send(answers: IO[bytes], arrays: Arrays) -> None:
    import numpy as np

    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    answers.write(LENGTH.pack(buffer.tell()) + buffer.getvalue())
    answers.flush()


if __name__ == "__main__":
    descriptor, parent = child.arguments(__doc__)
    processes.die_with_parent(parent)
    with os.fdopen(descriptor, "wb") as pipe:
        serve(sys.stdin, pipe)
