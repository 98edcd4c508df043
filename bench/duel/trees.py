"""A version of the project on disk: a folder as it is, or a git revision checked out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.cell import time_slices
from bench.errors import BadInput
from bench.processes import path_from
from bench.sweep.provenance import git

PACKAGES = "bench", "core"


@dataclass(frozen=True)
class Tree:
    """One side of a duel."""

    asked: str  # what was typed, a revision or a folder
    commit: str | None  # its full hash; for a folder the one it stands on, None outside git
    dirty: bool  # whether a folder differs from that commit
    root: Path  # where the tree lies

    def environment(self) -> dict[str, str]:
        """The caller's environment with this tree's own code first on the path."""
        return {**os.environ, "PYTHONPATH": path_from(self.root)}


@contextmanager
def checked_out(side: str, asked: str) -> Iterator[Tree]:
    """The tree that ``asked`` names, for as long as the context lasts.

    That is a folder that holds the project, or else a revision of the repository of the working
    directory.
    """
    folder = Path(asked).expanduser()
    if (folder / "bench").is_dir():
        root = folder.resolve()
        commit = git(root, "rev-parse", "HEAD")
        dirty = commit is not None and bool(git(root, "status", "--porcelain"))
        yield _usable(side, Tree(asked, commit, dirty, root))
        return
    repository = Path.cwd()
    commit = git(repository, "rev-parse", "--verify", "--quiet", f"{asked}^{{commit}}")
    if commit is None:
        expected = "a git revision of this repository or a folder with the project in it"
        raise BadInput(side, expected, asked, "`git log --oneline --all` lists revisions.")
    with TemporaryDirectory(prefix=f"duel-{side}-") as temporary:
        root = Path(temporary).resolve() / "tree"
        # A work tree, not an archive: the records inside then name their commit by themselves.
        added = git(repository, "worktree", "add", "--detach", "--force", str(root), commit)
        if added is None:
            raise BadInput(side, "a revision that can be checked out", asked)
        try:
            yield _usable(side, Tree(asked, commit, False, root))
        finally:
            git(repository, "worktree", "remove", "--force", str(root))


def _usable(side: str, tree: Tree) -> Tree:
    """The tree, unless it lacks a package or its cells are from before they took turns."""
    lacks = [f"a package {p}" for p in PACKAGES if not (tree.root / p / "__init__.py").is_file()]
    name = time_slices.VARIABLE.encode()
    if not any(name in file.read_bytes() for file in (tree.root / "bench").rglob("*.py")):
        lacks.append("cells that can be timed in turns")
    if lacks:
        raise BadInput(side, f"a tree with {lacks[0]}", tree.asked, "Choose a later revision.")
    return tree
