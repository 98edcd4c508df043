"""The folder of a sweep: its records, its list of planned cells, and who works on which cell."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.bounds import is_number
from bench.errors import BadInput, one_line
from bench.sweep import record
from bench.sweep.cell import Cell, kind_of
from bench.sweep.inputs import digest
from bench.sweep.provenance import code_of

RUNS = Path("runs")

# Overrides that do not change what a sweep measures, so they do not change where it lives.
_ELSEWHERE = ("out=", "plan=", "resume=", "report=", "plot=", "hydra.", "hydra/")


def default(experiment: str | None, overrides: list[str]) -> Path:
    """``runs/<experiment, or a hash of the overrides>``: the same command finds its records."""
    if experiment:
        return RUNS / experiment
    asked = sorted(o for o in overrides if not o.lstrip("+~").startswith(_ELSEWHERE))
    return RUNS / digest(asked)


class Folder:
    """``DIR/cells/*.json`` and ``DIR/sweep.json``; it need not be there, but a file is a BadInput.

    Attributes:
        path: DIR.
        cells: where the records are.
        anywhere: whether a cell is done once any machine has run it for such a folder; otherwise
            each machine has records of its own.
    """

    def __init__(self, path: Path, anywhere: bool = False) -> None:
        self.path, self.cells, self.anywhere = path, path / "cells", anywhere
        self._opened, self._named = False, set[Path]()
        with self.writing(), contextlib.suppress(FileNotFoundError):
            self.cells.stat()

    @classmethod
    def open(cls, path: Path, anywhere: bool = False) -> Folder:
        """The folder at ``path``, made if missing; a BadInput where it cannot be made."""
        folder = cls(path, anywhere)
        with folder.writing():
            folder.cells.mkdir(parents=True, exist_ok=True)
        folder._opened = True
        return folder

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Makes what goes wrong with writing in the block a BadInput."""
        try:
            yield
        except OSError as error:
            do = f"{error.strerror or error}. Try out=DIR with another folder."
            raise BadInput("out", "a folder that can be written", self.path, do) from error

    def link_latest(self) -> None:
        """Points ``runs/latest`` to this folder; a file system without links is no failure."""
        with contextlib.suppress(OSError):
            RUNS.mkdir(exist_ok=True)
            fresh = RUNS / f".latest-{os.getpid()}"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(os.path.relpath(self.path.resolve(), RUNS.resolve()))
            os.replace(fresh, RUNS / "latest")

    def plan(self, about: Mapping[str, Any], cells: Iterable[Cell]) -> None:
        """Writes what this sweep is going to do, so that a cell without a record is still seen.

        A cell that another machine has recorded is planned under the key of that record. A
        BadInput where it cannot be written.
        """
        planned = []
        for cell in cells:
            found = self.of(cell) if self.anywhere else None
            planned.append({"key": found["key"] if found else cell.key, "row": cell.row()})
        content = {"schema": record.SCHEMA, **about, "planned": planned}
        with self.writing():
            record.write_json(self.path / "sweep.json", content)

    def of(self, cell: Cell) -> dict[str, Any] | None:
        """The cell's record; where a launcher chooses the machine, also another machine's."""
        found = self.load(cell.key)
        if found is None and self.anywhere:
            found = self._newest("identity_anywhere", cell.identity_anywhere)
            if found and found["provenance"].get("code") != code_of(cell.config):
                return None
        return found

    def load(self, key: str) -> dict[str, Any] | None:
        """The record of a cell; what cannot be read is named, and set aside if this was opened."""
        path = self.cells / f"{key}.json"
        try:
            return record.read(path)
        except (record.Corrupt, OSError) as error:
            print(one_line(f"corrupt record, the cell runs again: {error}"), file=sys.stderr)
            self._named.add(path)
            with contextlib.suppress(OSError):
                if self._opened:
                    os.replace(path, path.with_suffix(".corrupt"))
            return None

    def save(self, value: Mapping[str, Any]) -> None:
        """Writes a record or raises an OSError; retires those that older code made of the cell."""
        record.write_json(self.cells / f"{value['key']}.json", value)
        for name in ("identity", "identity_anywhere") if self.anywhere else ("identity",):
            identity = value["provenance"].get(name)
            if not _is_key(identity):
                continue
            # The record is there; without an index older ones stay beside it.
            with contextlib.suppress(OSError):
                old = self._newest(name, identity)
                record.write_bytes(self._index(identity), value["key"].encode())
                if old is not None and old["key"] != value["key"]:
                    for suffix in (".json", ".log"):
                        (self.cells / f"{old['key']}{suffix}").unlink(missing_ok=True)

    def _index(self, identity: str) -> Path:
        """The file that names the newest record of a cell, whatever code made it."""
        return self.cells / f".{identity}.key"

    def _newest(self, name: str, identity: str) -> dict[str, Any] | None:
        """The record that an index names, if it is of the cell: the index may say what it likes."""
        with contextlib.suppress(OSError, ValueError):
            key = self._index(identity).read_text("utf-8")
            found = record.read(self.cells / f"{key}.json") if _is_key(key) else None
            if found is not None and found["provenance"].get(name) == identity:
                return found
        return None

    def count(self) -> int:
        """How many records there are, of whatever cells."""
        return sum(1 for _ in self._records())

    def _records(self) -> Iterator[Path]:
        return self.cells.glob("[!.]*.json")

    def times(self) -> dict[str, float]:
        """The mean wall-clock seconds that cells of a kind took, as ``kind_of`` tells them apart.

        Whatever machine and code made their records; one that cannot be used is named, once.
        """
        times = dict[str, list[float]]()
        for path in sorted({*self._records()} - self._named):
            try:
                value = record.read(path)
            except (record.Corrupt, OSError) as error:
                print(one_line(f"left out {path}: {error}"), file=sys.stderr)
                continue
            if value is not None and is_number(wall_s := value["provenance"].get("wall_s")):
                times.setdefault(kind_of(value["row"]), []).append(wall_s)
        return {kind: statistics.fmean(found) for kind, found in times.items()}

    @contextlib.contextmanager
    def lock(self, key: str, wait: bool = False) -> Iterator[bool]:
        """Holds a cell's lock while the block runs; yields False when another process holds it.

        A cell's lock is a byte of a file that all cells share; to ``wait`` is until the other has
        finished. The kernel frees it when its process ends, also by signal 9. Where there can be
        none, a cell may run twice at once, and the later record stays.
        """
        mine = True
        with contextlib.ExitStack() as held:
            try:
                file = held.enter_context((self.cells / ".lock").open("ab"))
                how = fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
                fcntl.lockf(file, how, 1, int(key, 16) % 2**62)
            except BlockingIOError:
                mine = False
            except OSError:
                pass
            yield mine


def _is_key(text: object) -> bool:
    """Whether this can name a record, and leads nowhere but to its folder."""
    return isinstance(text, str) and re.fullmatch("[0-9a-f]{1,64}", text) is not None
