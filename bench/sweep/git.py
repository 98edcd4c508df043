"""Questions to git about the repository that a folder lies in."""

from __future__ import annotations

import os
import re
from pathlib import Path

from bench.processes import output_of


def git(folder: Path, *arguments: str, timeout_s: float | None = None) -> str | None:
    """Output of a git command, or None when it failed or there is no git.

    Variables such as ``GIT_DIR``, which hooks and scripts set, would name another repository. One
    that belongs to somebody else is read as well: its code runs here anyway.
    """
    env = {k: v for k, v in os.environ.items() if not re.match("GIT_(?!CONFIG_)", k)}
    command = ["git", "-c", "safe.directory=*", "-C", str(folder), *arguments]
    return output_of(command, timeout_s, env)
