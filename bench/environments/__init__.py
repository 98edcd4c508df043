"""Environments beside the project's own: for libraries that need other versions of everything.

Each ``NAME.txt`` here pins one. ``python -m bench.environments NAME`` builds it, ``python=NAME``
runs cells in it. They lie in the user's cache folder, not in an installed package.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from bench.errors import BadInput, suggest

PINS = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
FOLDER = CACHE / "etrace-bench" / "environments"


def names() -> list[str]:
    """Environments that can be built."""
    return sorted(path.stem for path in PINS.glob("*.txt"))


def built(name: str) -> bool:
    """Whether the named environment is there, whole."""
    return (FOLDER / name / "complete").is_file()


def how_to_build(name: str) -> str:
    """The command that builds a named environment."""
    return f"python -m bench.environments {name}"


def executable(python: str | None) -> str:
    """The interpreter that ``python=`` stands for: a name, a path, or None for the running one."""
    if python is None:
        return sys.executable
    return str(FOLDER / python / "bin" / "python") if python in names() else python


def checked(key: str, value: object) -> str | None:
    """What ``python=`` was given, as a name or an absolute path.

    Raises:
        BadInput: when there is no such interpreter.
    """
    if value is None:
        return None
    text = str(value)
    if text in names():
        if not built(text):
            raise BadInput(
                key,
                expected="an environment that is built",
                came=text,
                do=f"Build it: {how_to_build(text)}",
            )
        return text
    found = shutil.which(os.path.expanduser(text))
    if found is None:
        hint = suggest(text, names()) if os.sep not in text else ""
        raise BadInput(
            key,
            expected=f"a Python interpreter or the name of an environment ({', '.join(names())})",
            came=text,
            do=hint or "Give the path of the python in a virtual environment.",
        )
    # Not resolved further: the python of a virtual environment is a link to another one.
    return os.path.abspath(found)
