"""What libraries import and a cell seldom uses: loaded when somebody first asks it for a name.

``braintools`` and ``brainpy`` import what they draw with, and in the pinned versions all of
``scipy.stats`` for it: about a seventh of the time that a cell's process takes to begin. A plug-in
that draws finds it all the same.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

LATER = {"braintools.visualize", "brainpy.visualization"}


class Later(PathFinder):
    """Finds these modules as ever, and has each of them wait until it is asked for a name."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of such a module; None for any other, which the usual finders find."""
        spec = super().find_spec(fullname, path, target) if fullname in LATER else None
        if spec and spec.loader:
            spec.loader = LazyLoader(spec.loader)
        return spec


def load_later() -> None:
    """Makes it so in this process, which has imported none of them yet."""
    sys.meta_path.insert(0, Later)
