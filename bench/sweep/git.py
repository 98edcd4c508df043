"""Questions to git about the repository that a folder lies in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def git(folder: Path, *arguments: str, timeout_s: float | None = None) -> str | None:
    """Output of a git command, or None when it failed or there is no git.

    Variables such as ``GIT_DIR``, which hooks and scripts set, would name another repository. One
    that belongs to somebody else is read as well: its code runs here anyway.
    """
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith("GIT_CONFIG_")
    }
    try:
        answer = subprocess.run(
            ["git", "-c", "safe.directory=*", "-C", str(folder), *arguments],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
