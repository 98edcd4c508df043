"""Which packages an interpreter has, this one or that of ``python=``."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from functools import cache
from importlib import metadata
from typing import Any

from bench.errors import BadInput
from bench.processes import output_of

# What every cell imports, whatever its backend.
NEEDED = (
    *("jax", "jaxlib", "numpy", "psutil", "brainstate", "braintools", "brainunit"),
    "lazy-loader",
)
ASK = "import json, platform, sys; print(json.dumps([platform.python_version(), sys.path]))"


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
    """``{"python": its version, "versions": {name: version}}`` of an interpreter; None is this one.

    A BadInput where it is none, or lacks what cells need.
    """
    told, wanted = (platform.python_version(), sys.path), names
    try:
        if python is not None:
            # Isolated, so that it tells what is installed there and not what is on the path here.
            command = [python, "-I", "-c", ASK]
            told, wanted = json.loads(output_of(command, timeout_s=60.0) or ""), names + NEEDED
        version, path = told
        there = {name: list(metadata.distributions(name=name, path=path)) for name in wanted}
    except Exception as error:  # any program may be named, and answer anything
        do = "It does not answer like one."
        raise BadInput("python", "a Python interpreter", str(python), do) from error
    found = {name: some[0].version for name, some in there.items() if some}
    if missing := [name for name in NEEDED if python and name not in found]:
        expected = "an interpreter that has what cells import"
        came = f"{python}, which lacks {', '.join(missing)}"
        raise BadInput("python", expected, came, "Install them into its environment.")
    return {"python": version, "versions": {name: found[name] for name in names if name in found}}
