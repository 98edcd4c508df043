"""Which packages an interpreter has, this one or that of ``python=``."""

from __future__ import annotations

import json
import os
import shutil
from functools import cache
from typing import Any

from bench.errors import BadInput
from bench.processes import output_of
from bench.sweep import installed

# What every cell imports, whatever its backend.
NEEDED = (
    *("jax", "jaxlib", "numpy", "psutil", "brainstate", "braintools", "brainunit"),
    "lazy-loader",
)


def checked(value: object) -> str | None:
    """What ``python=`` was given, as an absolute path; a BadInput where there is none."""
    if value is None:
        return None
    found = shutil.which(os.path.expanduser(str(value)))
    if found is None:
        do = "Give the path of the python in a virtual environment."
        raise BadInput("python", "a Python interpreter", str(value), do)
    # Not resolved further: the python of a virtual environment is a link to another one.
    return os.path.abspath(found)


@cache
def packages(python: str | None, names: tuple[str, ...]) -> dict[str, Any]:
    """What an interpreter has, as of ``installed``; None is this one.

    A BadInput where it is none, or lacks what cells need.
    """
    if python is None:
        return installed.installed(names)
    # Isolated, so that it tells what is installed there and not what is on the path here.
    command = [python, "-I", installed.__file__, *names, *NEEDED]
    try:
        told = json.loads(output_of(command, timeout_s=60.0) or "")
        found = dict(told["versions"])
    except Exception as error:  # any program may be named, and answer anything
        do = "It does not answer like one."
        raise BadInput("python", "a Python interpreter", python, do) from error
    if missing := [name for name in NEEDED if name not in found]:
        expected = "an interpreter that has what cells import"
        came = f"{python}, which lacks {', '.join(missing)}"
        raise BadInput("python", expected, came, "Install them into its environment.")
    return {**told, "versions": {name: found[name] for name in names if name in found}}
