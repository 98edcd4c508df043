"""What another interpreter has: versions, and perhaps a version of this project of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.errors import BadInput

# What every cell imports, whatever its backend.
NEEDED = (
    *("jax", "jaxlib", "numpy", "psutil", "brainstate", "braintools", "brainunit"),
    "lazy-loader",
)
OLDEST = (3, 11)

# Isolated, so that it tells what is installed there and not what this process has on its path.
_ASK = """
import importlib.util, json, pathlib, platform, sys
from importlib import metadata
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
roots = set()
for name in ("bench", "core"):
    spec = importlib.util.find_spec(name)
    roots.add(str(pathlib.Path(spec.origin).resolve().parents[1]) if spec and spec.origin else "")
root = roots.pop() if len(roots) == 1 else ""
own = bool(root) and (pathlib.Path(root) / "bench" / "cell" / "worker.py").is_file()
print(json.dumps({"python": platform.python_version(), "versions": found,
                  "root": root if own else ""}))
"""


@dataclass(frozen=True)
class Interpreter:
    """What an interpreter answered.

    Attributes:
        python: its own version.
        versions: of the distributions asked for that it has.
        root: folder of the version of this project that is installed there; None for none.
    """

    python: str
    versions: dict[str, str]
    root: Path | None


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
def ask(python: str, packages: tuple[str, ...]) -> Interpreter:
    """Runs an interpreter to hear what it has.

    Args:
        python: its path.
        packages: distributions to ask for.

    Raises:
        BadInput: when it is no Python interpreter, too old, or has not what cells need.
    """
    try:
        answer = subprocess.run(
            [python, "-I", "-c", _ASK, *packages, *NEEDED],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        told = json.loads(answer.stdout)
        version = tuple(map(int, told["python"].split(".")[:2]))
        found, root = dict(told["versions"]), str(told["root"])
    except Exception as error:  # any program may be named, and answer anything
        raise BadInput(
            "python", "a Python interpreter", python, "It does not answer like one."
        ) from error
    if version < OLDEST:
        raise BadInput(
            "python",
            f"Python {'.'.join(map(str, OLDEST))} or newer",
            f"{python}, which is {told['python']}",
        )
    if missing := [name for name in NEEDED if name not in found]:
        raise BadInput(
            "python",
            "an interpreter that has what cells import",
            f"{python}, which lacks {', '.join(missing)}",
            "Install them into its environment.",
        )
    versions = {name: found[name] for name in packages if name in found}
    return Interpreter(told["python"], versions, Path(root) if root else None)
