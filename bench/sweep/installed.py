"""Which of some packages an interpreter has: ``python -I installed.py NAME...`` prints it as JSON.

Other interpreters run this file by itself, so it imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import json
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any


def installed(names: Sequence[str]) -> dict[str, Any]:
    """``{"python": its version, "versions": {name: version}}`` of what this one has of these."""
    found = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return {"python": platform.python_version(), "versions": found}


if __name__ == "__main__":
    print(json.dumps(installed(sys.argv[1:])))
