"""Which packages an interpreter has, this one or that of ``python=``."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from typing import Any

from bench.errors import BadInput

# What every cell imports, whatever its backend.
NEEDED = (
    *("jax", "jaxlib", "numpy", "psutil", "brainstate", "braintools", "brainunit"),
    "lazy-loader",
)

_ASK = """\
from __future__ import annotations
import contextlib, json, platform, sys
from importlib import metadata
{}
print(json.dumps(_installed(sys.argv[1:])))
"""


def checked(key: str, value: object) -> str | None:
    """What ``python=`` was given, as an absolute path.

    Raises:
        BadInput: when there is no such program.
    """
    if value is None:
        return None
    found = shutil.which(os.path.expanduser(str(value)))
    if found is None:
        raise BadInput(
            key,
            "a Python interpreter",
            str(value),
            "Give the path of the python in a virtual environment.",
        )
    # Not resolved further: the python of a virtual environment is a link to another one.
    return os.path.abspath(found)


@cache
def packages(python: str | None, names: tuple[str, ...]) -> dict[str, Any]:
    """``{"python": its version, "versions": {name: version}}`` of what an interpreter has of these.

    Args:
        python: its path; None for this one.
        names: of distributions.

    Raises:
        BadInput: when it is no Python interpreter, or has not what cells need.
    """
    if python is None:
        return _installed(names)
    # Isolated, so that it tells what is installed there and not what is on the path here.
    command = [python, "-I", "-c", _ASK.format(inspect.getsource(_installed)), *names, *NEEDED]
    try:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        told = json.loads(answer.stdout)
        found = dict(told["versions"])
    except Exception as error:  # any program may be named, and answer anything
        raise BadInput(
            "python", "a Python interpreter", python, "It does not answer like one."
        ) from error
    if missing := [name for name in NEEDED if name not in found]:
        raise BadInput(
            "python",
            "an interpreter that has what cells import",
            f"{python}, which lacks {', '.join(missing)}",
            "Install them into its environment.",
        )
    return {**told, "versions": {name: found[name] for name in names if name in found}}


# Its text runs in other interpreters as well.
def _installed(names: Sequence[str]) -> dict[str, Any]:
    found = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return {"python": platform.python_version(), "versions": found}
