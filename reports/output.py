"""The place that a report is written to: what no report wrote there is left as it is."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from reports.errors import InputError

# Lists, by their paths below the target, the files that the newest report wrote.
MANIFEST = "report/.written.json"
PAGE = "report/index.html"


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A folder to write into; when the block ends, its files take their places in `target`.

    Each file is replaced as a whole, the page last; links are replaced, never followed. Files of an
    earlier report that this one lacks go.

    Raises:
        InputError: when a file would replace one that no report wrote.
    """
    (target / "report").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".report-") as name:
        stage = Path(name)
        (stage / "report").mkdir()
        yield stage
        _publish(stage, target)


def tell(text: str, file: Path | None) -> None:
    """Text to a file, whole and in place of a link, its folder made if missing; or to standard
    output.
    """
    if file is None:
        print(text, end="")
    elif file.exists() and not file.is_file():  # a device or a pipe is written to
        file.write_text(text, encoding="utf-8")
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.{os.getpid()}.part")
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)


def _publish(stage: Path, target: Path) -> None:
    names = sorted((str(path.relative_to(stage)) for path in stage.rglob("*") if path.is_file()),
                   key=lambda name: (name == PAGE, name))  # fmt: skip
    folder = os.open(target / "report", os.O_RDONLY)
    try:
        # Reports that are written to one place at once wait for each other.
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(folder, fcntl.LOCK_EX)
        written = _written(target / MANIFEST)
        foreign = [n for n in names if n not in written and os.path.lexists(target / n)]
        if foreign:
            raise InputError("a place where only reports are written",
                             f"{target / foreign[0]}, which no report wrote",
                             "Move it away, or write elsewhere with --out DIR.")  # fmt: skip
        # Listed first: what is there and not listed is somebody else's, also after a power cut.
        tell(json.dumps(sorted({*written, *names})), target / MANIFEST)
        for name in names:
            os.replace(stage / name, target / name)
        for name in written - set(names):
            if (target / name).is_file() and not (target / name).is_symlink():
                (target / name).unlink(missing_ok=True)
        tell(json.dumps(names), target / MANIFEST)
    finally:
        os.close(folder)


def _written(manifest: Path) -> set[str]:
    """What the manifest lists, as far as it lies directly in the target or its report."""
    try:
        listed = [] if manifest.is_symlink() else json.loads(manifest.read_bytes())
    except (OSError, ValueError, RecursionError):
        return set()
    names = [n for n in listed if isinstance(n, str)] if isinstance(listed, list) else []
    return {n for n in names if "/" not in (last := n.removeprefix("report/")) and last != ".."}
