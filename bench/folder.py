"""The folder of a sweep: its records, its list of planned cells, and one lock per running cell."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench import record
from bench.cell import GROUPS, Cell, digest, kind_of
from bench.errors import BadInput

RUNS = Path("runs")

# Overrides that do not change what a sweep measures, so they do not change where it lives.
_ELSEWHERE = ("out=", "plan=", "resume=", "report=", "plot=", "hydra.", "hydra/")


def default(experiment: str | None, overrides: list[str]) -> Path:
    """``runs/<experiment, or a hash of the overrides>``: the same command finds its records."""
    if experiment:
        return RUNS / experiment
    asked = sorted(o for o in overrides if not o.lstrip("+~").startswith(_ELSEWHERE))
    return RUNS / digest(asked)


def _unwritable(path: Path, error: OSError) -> BadInput:
    return BadInput("out", expected="a folder that can be written", came=str(path),
                    do=f"{error.strerror or error}. Try out=DIR with another folder.")


def _unreadable(path: Path, error: OSError) -> BadInput:
    return BadInput("out", expected="records that can be read", came=str(path),
                    do=f"{error.strerror or error}. It is left as it is; try again.")


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
            raise _unwritable(path, error) from error

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
            raise _unwritable(path, error) from error
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
            record.write_json(self.path / "sweep.json",
                              {"schema": record.SCHEMA, **about, "planned": planned})
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def load(self, key: str) -> dict[str, Any] | None:
        """The record of a cell; a corrupt one is named, set aside and counts as missing.

        Raises:
            BadInput: when there is one that cannot be read, which may be a good one.
        """
        path = self.cells / f"{key}.json"
        try:
            return record.read(path)
        except record.Corrupt as error:
            print(f"corrupt record, the cell runs again: {error}", file=sys.stderr)
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
            key = index.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(index, error) from error
        found = self.load(key)
        return found if found is not None and found["provenance"].get("code") == code else None

    def save(self, value: Mapping[str, Any]) -> None:
        """Writes a record, and retires the ones that older code made of the same cell."""
        record.write_json(self.cells / f"{value['key']}.json", value)
        names = ["identity", "identity_anywhere"] if self.anywhere else ["identity"]
        for name in names:
            index = self.cells / f".{value['provenance'].get(name)}.key"
            old = index.read_text(encoding="utf-8") if index.exists() else value["key"]
            if old != value["key"]:
                for suffix in (".json", ".log"):
                    (self.cells / f"{old}{suffix}").unlink(missing_ok=True)
            record.write_text(index, value["key"])

    def durations(self) -> dict[str, float]:
        """Wall-clock seconds that past cells took, by algorithm, batching and model."""
        found: dict[str, list[float]] = {}
        for path in self.cells.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                value = json.loads(path.read_text(encoding="utf-8"))
                found.setdefault(kind_of(value["row"]), []).append(value["provenance"]["wall_s"])
        return {kind: sum(times) / len(times) for kind, times in found.items()}

    def others(self, cells: Mapping[str, Cell]) -> int:
        """How many records are of none of these cells, whatever machine and code made them.

        Args:
            cells: by their keys; what is recorded under one of these need not be read.
        """
        own = {cell.identity({}) for cell in cells.values()}
        found = 0
        for path in self.cells.glob("*.json"):
            if path.stem in cells:
                continue
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                value = json.loads(path.read_text(encoding="utf-8"))
                row = value["row"]
                made = Cell(value["config"], {group: row[group] for group in GROUPS}, row["repeat"])
                found += made.identity({}) not in own
        return found

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[bool]:
        """Holds a cell's lock while the block runs; yields False when another sweep holds it.

        The kernel frees the lock when its process ends, also by signal 9.
        """
        path = self.cells / f".{key}.lock"
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        except OSError:
            # No room for a lock, so none for a record of another sweep either.
            yield True
            return
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            except OSError as error:
                # A shared file system without locks: two sweeps at once may then run a cell twice.
                if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
            yield True
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
