"""A version of the project on disk: a folder as it is, or a git revision checked out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.cell import time_slices
from bench.errors import BadInput
from bench.sweep.git import git


@dataclass(frozen=True)
class Tree:
    """One side of a duel.

    Attributes:
        asked: what was typed, a revision or a folder.
        commit: full commit hash; for a folder the one it stands on, None outside git.
        dirty: whether a folder differs from that commit.
        root: where the tree lies.
        core: the file that ``import core`` loads there.
    """

    asked: str
    commit: str | None
    dirty: bool
    root: Path
    core: str

    def environment(self) -> dict[str, str]:
        """The caller's environment with this tree's own code first on the path."""
        inherited = os.environ.get("PYTHONPATH")
        path = [str(self.root), *([inherited] if inherited else [])]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}

    def described(self) -> dict[str, Any]:
        """For the record."""
        return {**asdict(self), "root": str(self.root)}


@contextmanager
def checked_out(side: str, asked: str) -> Iterator[Tree]:
    """The tree that ``asked`` names, for as long as the context lasts.

    Args:
        side: ``base`` or ``head``, for messages.
        asked: a folder that holds the project, or a revision of the repository of the working
            directory; a folder wins over a revision of the same name.

    Raises:
        BadInput: when it is neither, or holds no ``bench`` and ``core``.
    """
    folder = Path(asked).expanduser()
    if (folder / "bench").is_dir():
        root = folder.resolve()
        commit = git(root, "rev-parse", "HEAD")
        dirty = commit is not None and bool(git(root, "status", "--porcelain"))
        yield _tree(side, asked, commit, dirty, root)
        return
    commit = git(Path.cwd(), "rev-parse", "--verify", "--quiet", f"{asked}^{{commit}}")
    if commit is None:
        raise BadInput(
            side,
            "a git revision of this repository or a folder with the project in it",
            asked,
            "`git log --oneline --all` lists revisions.",
        )
    repository = Path.cwd()
    with TemporaryDirectory(prefix=f"duel-{side}-") as temporary:
        root = Path(temporary).resolve() / "tree"
        # A work tree, not an archive: the records inside then name their commit by themselves.
        added = git(repository, "worktree", "add", "--detach", "--force", str(root), commit)
        if added is None:
            raise BadInput(side, "a revision that can be checked out", asked)
        try:
            yield _tree(side, asked, commit, False, root)
        finally:
            git(repository, "worktree", "remove", "--force", str(root))


def _tree(side: str, asked: str, commit: str | None, dirty: bool, root: Path) -> Tree:
    for package in ("bench", "core"):
        if not (root / package / "__init__.py").is_file():
            raise BadInput(
                side, f"a tree with a package {package}", asked, "Choose a later revision."
            )
    tree = Tree(asked, commit, dirty, root, core="")
    # Bytecode now, so that the first process of a side does not pay for it.
    _python(tree, "-m", "compileall", "-q", "bench", "core")
    found = _python(tree, "-c", "import importlib.util as u; print(u.find_spec('core').origin)")
    if not Path(found).resolve().is_relative_to(root):
        raise BadInput(
            side,
            f"`import core` to load {root}/core",
            found,
            "Something on the path comes before it: check PYTHONPATH and .pth files.",
        )
    if not _takes_turns(root):
        raise BadInput(
            side, "a tree whose cells can be timed in turns", asked, "Choose a later revision."
        )
    return replace(tree, core=found)


def _takes_turns(root: Path) -> bool:
    files = (file for file in (root / "bench").rglob("*.py") if file.is_file())
    return any(time_slices.VARIABLE.encode() in file.read_bytes() for file in files)


def _python(tree: Tree, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree.root,
        env=tree.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()
