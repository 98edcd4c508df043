"""The project's own interpreter beside a cell that runs in another environment.

A library that needs other versions cannot share a process with the core. The cell's process then
asks ``python -m bench.cell.core_server``, run by the interpreter that started the sweep, for the
initial weights and for the core's gradients. It idles while the cell is measured and ends with it.
"""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess

import numpy as np

from bench.config import Config

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

    def __init__(self, python: str, config: Config) -> None:
        read_end, write_end = os.pipe()
        self._process = subprocess.Popen(
            [python, "-P", "-m", "bench.cell.core_server", str(write_end), str(os.getpid())],
            stdin=subprocess.PIPE, pass_fds=[write_end], env={**os.environ, "JAX_PLATFORMS": "cpu"})
        os.close(write_end)
        self._answers = os.fdopen(read_end, "rb")
        self.weights = self._ask(config)

    def gradient(self, config: Config) -> Arrays:
        """The core's gradient of the first ``batch_size`` sequences at the initial weights."""
        return self._ask(config)

    def close(self) -> None:
        """Ends the process; the end of the cell's own does so as well."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._answers.close()

    def _ask(self, question: Config) -> Arrays:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question.plain()).encode() + b"\n")
            self._process.stdin.flush()
            (length,) = LENGTH.unpack(self._answers.read(LENGTH.size))
        except (BrokenPipeError, struct.error) as error:
            raise RuntimeError("the process with the core ended without an answer; its own words "
                               "are in the log above") from error
        with np.load(io.BytesIO(self._answers.read(length)), allow_pickle=False) as arrays:
            return dict(arrays)
