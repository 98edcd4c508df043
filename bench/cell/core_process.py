"""The project's own interpreter beside a cell that runs in another environment.

A library that needs other versions cannot share a process with the core. The cell's process then
asks ``python -m bench.cell.core_server``, run by the interpreter that started the sweep, for the
initial weights and for the core's gradients. None of them runs while the cell is measured.
"""

from __future__ import annotations

import os

import numpy as np

from bench import child
from bench.config import Config

Arrays = dict[str, np.ndarray]

TIMEOUT_S = 3600.0  # the cell's own deadline comes first


def core_weights(python: str, config: Config) -> Arrays:
    """Initial weights of a cell by name.

    Args:
        python: the project's own interpreter.
        config: of the cell.
    """
    return _asked(python, config, None)


def core_gradient(python: str, config: Config, changed: Config) -> Arrays:
    """The core's gradient of the first sequences at the initial weights of a cell.

    Args:
        python, config: as of ``core_weights``.
        changed: the configuration that the gradient is of.
    """
    return _asked(python, config, changed)


def _asked(python: str, config: Config, changed: Config | None) -> Arrays:
    question = [config.plain(), None if changed is None else changed.plain()]
    answer = child.asked(
        "bench.cell.core_server",
        question,
        python=python,
        timeout_s=TIMEOUT_S,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    if not answer.found:
        raise RuntimeError(f"the process with the core ended without an answer: {answer.last}")
    return {name: np.asarray(values) for name, values in answer.found[0].items()}
