"""The place that a report is written to: what no report wrote there is left as it is."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from reports.errors import InputError

# Lists, by their paths below the target, the files that the newest report wrote.
MANIFEST = "report/.written.json"
LARGEST_MANIFEST = 1 << 20
PAGE = "report/index.html"
# In the page of every report, also of those that kept no manifest.
MARK = b"data-column="


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A folder to write into; when the block ends, its files take their places in ``target``.

    Each file is replaced as a whole, the page last; links are replaced, never followed. Files of an
    earlier report that this one lacks go. Several reports may be written to one place at once.

    Args:
        target: where the files go; made if missing.

    Raises:
        InputError: when a file would replace one that no report wrote.
    """
    (target / "report").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".report-") as name:
        stage = Path(name)
        (stage / "report").mkdir()
        yield stage
        _publish(stage, target)


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A path beside `file` that takes its place when complete; a link there is not followed."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def tell(text: str, file: Path | None) -> None:
    """Text to a file whose folder is made if missing, or to standard output."""
    if file is None:
        print(text, end="")
    elif file.exists() and not file.is_file():  # a device or a pipe is written to
        file.write_text(text, encoding="utf-8")
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as part:
            part.write_text(text, encoding="utf-8")


def _publish(stage: Path, target: Path) -> None:
    names = sorted((str(path.relative_to(stage)) for path in stage.rglob("*") if path.is_file()),
                   key=lambda name: (name == PAGE, name))
    assert all(map(_is_place, names)), "files lie directly in the target or in its report"
    with _alone(target / "report"):
        written = _written(target)
        foreign = [name for name in names
                   if name not in written and os.path.lexists(target / name)]
        if foreign and not _older_report(target):
            raise InputError("a place where only reports are written",
                             f"{target / foreign[0]}, which no report wrote",
                             "Move it away, or write elsewhere with --out DIR.")
        # Listed first: what is there and not listed is somebody else's, also after a power cut.
        _list(stage, target, written | set(names))
        for name in names:
            os.replace(stage / name, target / name)
        for name in written - set(names):
            if _is_file(target / name):
                (target / name).unlink(missing_ok=True)
        _list(stage, target, set(names))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _written(target: Path) -> set[str]:
    """What the manifest lists; nothing that is not directly in the target or its report."""
    file = target / MANIFEST
    if not _is_file(file) or file.stat().st_size > LARGEST_MANIFEST:
        return set()
    try:
        listed = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return set()
    return {name for name in (listed if isinstance(listed, list) else []) if _is_place(name)}


def _is_place(name: object) -> bool:
    if not isinstance(name, str):
        return False
    last = name.removeprefix("report/")
    return last not in ("", ".", "..") and "/" not in last and "\0" not in last


def _list(stage: Path, target: Path, names: set[str]) -> None:
    part = stage / "manifest"
    part.write_text(json.dumps(sorted(names)), encoding="utf-8")
    os.replace(part, target / MANIFEST)


def _older_report(target: Path) -> bool:
    """Whether what is there is a report of a version that kept no manifest."""
    page = target / PAGE
    linked = (target / "report").is_symlink() or os.path.lexists(target / MANIFEST)
    return not linked and _is_file(page) and MARK in page.read_bytes()


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
