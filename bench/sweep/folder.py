"""The folder of a sweep: its records, its list of planned cells, and one lock per running cell."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bench.bounds import is_number
from bench.errors import BadInput
from bench.sweep import record
from bench.sweep.cell import GROUPS, Cell, digest, identity, kind_of

RUNS = Path("runs")

# Overrides that do not change what a sweep measures, so they do not change where it lives.
_ELSEWHERE = ("out=", "plan=", "resume=", "report=", "plot=", "hydra.", "hydra/")


def default(experiment: str | None, overrides: list[str]) -> Path:
    """``runs/<experiment, or a hash of the overrides>``: the same command finds its records."""
    if experiment:
        return RUNS / experiment
    asked = sorted(o for o in overrides if not o.lstrip("+~").startswith(_ELSEWHERE))
    return RUNS / digest(asked)


def unwritable(path: Path, error: OSError) -> BadInput:
    """The refusal of a folder that no record can be written to."""
    return BadInput(
        "out",
        "a folder that can be written",
        str(path),
        f"{error.strerror or error}. Try out=DIR with another folder.",
    )


def _unreadable(path: Path, error: OSError) -> BadInput:
    return BadInput(
        "out",
        "records that can be read",
        str(path),
        f"{error.strerror or error}. It is left as it is; try again.",
    )


class Survey(NamedTuple):
    """What a folder's records tell before a sweep.

    Attributes:
        others: how many are of none of the sweep's cells.
        durations: mean wall-clock seconds that cells took, by algorithm, batching and model.
    """

    others: int
    durations: dict[str, float]


class Folder:
    """``DIR/cells/*.json`` and ``DIR/sweep.json``.

    Attributes:
        path: DIR.
        cells: where the records are.
        anywhere: whether a cell is done once any machine has run it for such a folder; otherwise
            each machine has records of its own.

    Raises:
        BadInput: when a file has its name; that it is not there yet is no failure.
    """

    def __init__(self, path: Path, anywhere: bool = False) -> None:
        self.path = path
        self.cells = path / "cells"
        self.anywhere = anywhere
        try:
            self.cells.stat()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise unwritable(path, error) from error

    @classmethod
    def open(cls, path: Path, anywhere: bool = False) -> Folder:
        """The folder at ``path``, made if missing.

        Raises:
            BadInput: when it cannot be written.
        """
        folder = cls(path, anywhere)
        # Several jobs may open the folder at the same moment.
        probe = folder.cells / f".writable-{socket.gethostname()}-{os.getpid()}"
        try:
            folder.cells.mkdir(parents=True, exist_ok=True)
            record.write_json(probe, {})
            probe.unlink()
        except OSError as error:
            raise unwritable(path, error) from error
        return folder

    def link_latest(self) -> None:
        """Points ``runs/latest`` to this folder; a file system without links is no failure."""
        link = RUNS / "latest"
        with contextlib.suppress(OSError):
            RUNS.mkdir(exist_ok=True)
            fresh = RUNS / f".latest-{os.getpid()}"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(os.path.relpath(self.path.resolve(), RUNS.resolve()))
            os.replace(fresh, link)

    def plan(self, about: Mapping[str, Any], planned: list[Mapping[str, Any]]) -> None:
        """Writes what this sweep is going to do, so that a cell without a record is still seen.

        Raises:
            BadInput: when it cannot be written.
        """
        try:
            record.write_json(
                self.path / "sweep.json", {"schema": record.SCHEMA, **about, "planned": planned}
            )
        except OSError as error:
            raise unwritable(self.path, error) from error

    def load(self, key: str) -> dict[str, Any] | None:
        """The record of a cell; a corrupt one is named, set aside and counts as missing.

        Raises:
            BadInput: when there is one that cannot be read, which may be a good one.
        """
        path = self.cells / f"{key}.json"
        try:
            return record.read(path)
        except record.Corrupt as error:
            print(record.one_line(f"corrupt record, the cell runs again: {error}"), file=sys.stderr)
            with contextlib.suppress(OSError):
                os.replace(path, path.with_suffix(".corrupt"))
            return None
        except OSError as error:
            raise _unreadable(path, error) from error

    def load_anywhere(self, identity: str, code: str) -> dict[str, Any] | None:
        """The record that some machine made of a cell with this code, if there is one.

        Raises:
            BadInput: as ``load``.
        """
        index = self.cells / f".{identity}.key"
        try:
            key = _indexed(index)
        except OSError as error:
            raise _unreadable(index, error) from error
        found = self.load(key) if key else None
        return found if found is not None and found["provenance"].get("code") == code else None

    def save(self, value: Mapping[str, Any]) -> None:
        """Writes a record, and retires the ones that older code made of the same cell.

        Raises:
            OSError: when the record could not be written.
        """
        record.write_json(self.cells / f"{value['key']}.json", value)
        names = ["identity", "identity_anywhere"] if self.anywhere else ["identity"]
        for name in names:
            identity = value["provenance"].get(name)
            if not record.is_key(identity):
                continue
            # The record is there; without an index older ones stay beside it.
            with contextlib.suppress(OSError):
                index = self.cells / f".{identity}.key"
                old = _indexed(index)
                if old and old != value["key"] and self._is_of(old, name, identity):
                    for suffix in (".json", ".log"):
                        (self.cells / f"{old}{suffix}").unlink(missing_ok=True)
                record.write_text(index, value["key"])

    def _is_of(self, key: str, name: str, identity: str) -> bool:
        """Whether a record is of this identity; the index may say what it likes."""
        try:
            found = record.read(self.cells / f"{key}.json")
        except record.Corrupt:
            return False
        return found is not None and found["provenance"].get(name) == identity

    def survey(self, cells: Mapping[str, Cell]) -> Survey:
        """Looks through all records, whatever machine and code made them, and names the unusable.

        Args:
            cells: by their keys; records of other cells than these are counted.
        """
        own = {cell.identity({}) for cell in cells.values()}
        others = 0
        times: dict[str, list[float]] = {}
        for path in sorted(self.cells.glob("*.json")):
            if path.name.startswith("."):
                continue  # being written
            try:
                value = record.read(path)
                if value is None:
                    continue  # retired meanwhile
                choices = {group: value["row"].get(group) for group in GROUPS}
                if path.stem not in cells:
                    repeat = value["row"].get("repeat")
                    others += identity(value["config"], choices, repeat, {}) not in own
            except (record.Corrupt, OSError, RecursionError) as error:
                if path.stem not in cells:
                    print(record.one_line(f"left out {path}: {error}"), file=sys.stderr)
                continue
            wall_s = value["provenance"].get("wall_s")
            if is_number(wall_s):
                times.setdefault(kind_of(choices), []).append(wall_s)
        return Survey(others, {kind: sum(found) / len(found) for kind, found in times.items()})

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[bool]:
        """Holds a cell's lock while the block runs; yields False when another sweep holds it.

        The kernel frees the lock when its process ends, also by signal 9. Where there can be none,
        a cell may run twice at once, and the later record stays.
        """
        path = self.cells / f".{key}.lock"
        try:
            descriptor = _locked(path)
        except BlockingIOError:
            yield False
            return
        except OSError:
            yield True
            return
        try:
            yield True
            with contextlib.suppress(OSError):  # the folder may be read-only by now
                path.unlink()
        finally:
            os.close(descriptor)


def _locked(path: Path) -> int:
    """A descriptor of the file at ``path`` that holds its lock.

    Raises:
        BlockingIOError: when another process holds it.
        OSError: when there can be no such file, or the file system has no locks.
    """
    while True:
        flags = os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(path, flags | os.O_RDWR, 0o666)
        except PermissionError:  # another user's
            descriptor = os.open(path, flags | os.O_RDONLY, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who held it before may have removed the file meanwhile: that lock keeps nobody away.
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _indexed(index: Path) -> str | None:
    """The key that an index file holds; None without one, or if it holds something else."""
    try:
        key = record.content(index).decode(errors="replace")
    except (FileNotFoundError, record.Corrupt):
        return None
    return key if record.is_key(key) else None
