"""Reading the record files of one or several sweeps: the only place that touches them.

A folder may come from a stranger. What is in it is data and never run; each file is checked here,
once, so that no reader of a record has to wonder what a field of it holds. A file that is not what
it should be is left out, with the reason, and everything else goes on.
"""

from __future__ import annotations

import json
import math
import re
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reports.errors import InputError, ReportError
from reports.records.columns import FLAGS, WHOLE

SCHEMA = 1
STATUSES = ("ok", "skipped", "oom", "timeout", "crashed", "invalid")
Record = dict[str, Any]

INDEX = "sweep.json"
MOST_RECORD_MIB = 64
MOST_INDEX_MIB = 512
DEEPEST = 32  # levels of nesting; a real record has six
_KEY = re.compile(r"[0-9a-f]{8,64}")
_NUMBER = (int, float, type(None))
_SETTING = (*_NUMBER, str, bool)
# What the parts of a record hold: * stands for any other name, a list for values in a row. What a
# file lacks is empty.
_RECORD: dict[str, Any] = {
    **dict.fromkeys(("key", "status", "experiment", "reason", "health", "created"), (str,)),
    "row": dict.fromkeys(WHOLE, (int, type(None))) | {"*": _SETTING},
    "config": {}, "memory": {}, "provenance": {"versions": {}}, "traces": {"*": (int, float)},
    "samples": {"*": [_NUMBER]}, "curves": {"*": [_NUMBER]}, "fidelity": {"*": {"*": _NUMBER}},
}  # fmt: skip
_INDEX: dict[str, Any] = {
    "planned": [{"key": (str,), "row": {"*": _SETTING}}], "plots": [(str,)],
    "experiment": (str,), "question": (str,),
}  # fmt: skip


@dataclass(frozen=True)
class Sweeps:
    """Everything that the given folders hold."""

    folders: tuple[Path, ...]
    records: list[Record]  # one a finished cell, oldest first; of two with one key the newer
    # (file, what is wrong with it) of what was left out: a file, or one of its metrics.
    corrupt: list[tuple[Path, str]] = field(default_factory=list)
    # {"key": ..., "folder": ..., row columns} of planned cells without a record.
    missing: list[dict[str, Any]] = field(default_factory=list)
    questions: dict[str, str] = field(default_factory=dict)  # experiment -> what it asks
    # Modules that the sweeps asked to draw plots of their own; none is imported for that.
    plots: tuple[str, ...] = ()


class Unusable(ReportError):
    """A file from a sweep's folder that cannot be used; the text says why."""


def read_sweeps(folders: Iterable[str | Path]) -> Sweeps:
    """Reads ``DIR/cells/*.json`` and ``DIR/sweep.json`` of every folder.

    Raises:
        InputError: a folder is not a sweep, no usable record, or records of several schemas.
    """
    paths = tuple(dict.fromkeys(Path(f) for f in folders))
    records: list[Record] = []
    corrupt: list[tuple[Path, str]] = []
    indices: list[tuple[str, dict[str, Any]]] = []
    for folder in paths:
        for file in _files(folder):
            try:
                if file.name == INDEX:
                    found = _expect(read_json(file, MOST_INDEX_MIB), "the file", dict)
                    indices.append((str(folder), _shaped(found, "", _INDEX)))
                else:
                    record, without = _record(read_json(file, MOST_RECORD_MIB))
                    records.append(record)
                    corrupt += [(file, why) for why in without]
            except Unusable as why:
                corrupt.append((file, str(why)))
    if not paths:
        raise InputError("at least one sweep's folder", "none", 'Name it: load("runs/latest").')
    if not records:
        raise InputError(
            f"at least one record in {', '.join(f'{p}/cells' for p in paths)}",
            f"{len(corrupt)} unusable file(s)" if corrupt else "none",
            "Run a sweep into the folder first; unusable cells run again when it is resumed."
            + "".join(f"\n  {file}: {why}" for file, why in corrupt[:5]),
        )
    versions = Counter(r["schema"] for r in records)
    if set(versions) != {SCHEMA}:
        raise InputError(
            f"records of schema {SCHEMA} only",
            ", ".join(f"{n} of schema {v}" for v, n in sorted(versions.items())),
            "Report each version with the release that wrote it, or run the older cells again.",
        )
    records.sort(key=lambda r: r["created"])
    newest = {r["key"]: r for r in records}
    return Sweeps(
        folders=paths,
        records=[r for r in records if newest[r["key"]] is r],
        corrupt=corrupt,
        missing=[{**cell["row"], "key": cell["key"], "folder": folder}
                 for folder, index in indices for cell in index["planned"]
                 if cell["key"] not in newest],
        questions={i["experiment"]: i["question"] for _, i in indices if i["question"]},
        plots=tuple(dict.fromkeys(name for _, i in indices for name in i["plots"])),
    )  # fmt: skip


def read_json(file: Path, most_mib: int) -> Any:
    """What a JSON file holds, nothing in it too deep, too large or impossible to write again.

    Raises:
        Unusable: it cannot be read, is no regular file, or holds something else.
    """
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):  # opening a pipe would wait for its other end
            raise Unusable("not a regular file")
        if found.st_size > most_mib * 2**20:
            size = f"{found.st_size / 2**20:,.0f} MiB"
            raise Unusable(f"{size}, more than the {most_mib} MiB it may have")
        text = file.read_bytes().decode()
        value = json.loads(text, parse_int=_whole)
        if _depth(value) > DEEPEST:
            raise RecursionError
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except tuple(_FAULTS) as error:
        words = next(words for kind, words in _FAULTS.items() if isinstance(error, kind))
        raise Unusable(words.format(error)) from None
    return value


# The first that an error is.
_FAULTS: dict[type[Exception], str] = {
    OSError: "not readable: {0.strerror}",
    RecursionError: f"nested more than {DEEPEST} levels deep",
    UnicodeDecodeError: "not UTF-8: {0.reason} at byte {0.start}",
    UnicodeEncodeError: "text with half of a surrogate pair, which no file can hold",
    ValueError: "not readable as JSON: {0}",
}


def _whole(digits: str) -> int:
    if not -(2**63) <= (number := int(digits)) < 2**63:
        raise Unusable("a whole number beyond 64 bits")
    return number


def _depth(value: Any) -> int:
    values = value.values() if isinstance(value, dict) else value
    return 1 + max(map(_depth, values), default=0) if isinstance(value, dict | list) else 0


def _record(value: Any) -> tuple[Record, list[str]]:
    """The record, parts that it lacks as empty ones, and a line for each metric left out of it.

    Raises:
        Unusable: a part of it is not what it should be.
    """
    record = _expect(value, "the file", dict)
    if not isinstance(record.get("schema"), int):
        raise Unusable("no schema version")
    if record["schema"] != SCHEMA:
        return record, []  # judged with all the others: mixed versions are refused, not skipped
    given, _ = (dict(_expect(record.get(part), part, dict)) for part in ("metrics", "row"))
    # Words are no metric; a writer that put them there meant the health beside them.
    told = given.pop("health", None)
    record = _shaped({**record, "health": record.get("health") or told}, "", _RECORD)
    for part, right, wanted in (
        ("key", _KEY.fullmatch(record["key"]), "8 to 64 hexadecimal digits"),
        ("status", record["status"] in STATUSES, f"one of {', '.join(STATUSES)}"),
    ):
        if not right:
            raise Unusable(f"expected {part} to be {wanted}; got {record[part]!r:.60}")
    metrics, without = _finite(given)
    return {**record, "metrics": metrics}, without


def _shaped(value: Any, name: str, shape: Any) -> Any:
    """The value, when it has the shape; what an object lacks is empty."""
    if isinstance(shape, tuple):
        return _expect("" if value is None and shape == (str,) else value, name, *shape)
    kind = type(shape)
    found = _expect(kind() if value is None else value, name or "the file", kind)
    if kind is list:
        return [_shaped(item, f"one of {name}", shape[0]) for item in found]
    return found | {
        part: _shaped(found.get(part), f"{name}.{part}".lstrip("."), shape.get(part, rest))
        for rest in [shape.get("*")]
        for part in dict.fromkeys([*shape, *found])
        if part != "*" and (part in shape or rest)
    }


def _finite(metrics: dict[str, Any]) -> tuple[dict[str, float | None], list[str]]:
    """The metrics, None where one is no finite number; a line for each that is no number at all.

    The cell stays: were it dropped, a gate would compare only those that went well.
    """
    found: dict[str, float | None] = {}
    without = []
    for name, number in metrics.items():
        if name in FLAGS and isinstance(number, bool):
            number = int(number)
        try:
            _expect(number, f"metrics.{name}", *_NUMBER)
        except Unusable as why:
            without.append(f"only a metric: {why}")
            number = None
        found[name] = number if number is not None and math.isfinite(number) else None
    return found, without


_NAMES = {dict: "an object", list: "a list", str: "text", float: "a number", int: "a whole number"}


def _expect(value: Any, name: str, *kinds: type) -> Any:
    """The value, when it is of one of the kinds; true and false are no numbers."""
    if isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)):
        return value
    wanted = " or ".join(dict.fromkeys(_NAMES[kind] for kind in _NAMES if kind in kinds))
    raise Unusable(f"expected {name} to be {wanted}; got {value!r:.60}")


def _files(folder: Path) -> list[Path]:
    """The records of a sweep, and its index where it has one."""
    cells, index = folder / "cells", folder / INDEX
    if not cells.is_dir():
        there = folder.exists()
        raise InputError(
            "a folder that holds a sweep (cells/*.json inside)",
            f"{folder}, which {'has no cells/' if there else 'does not exist'}",
            "Give the folder itself, such as runs/latest, not its parent or its report." if there
            else "Check the path; sweeps are in runs/ unless out=DIR said otherwise.",
        )  # fmt: skip
    # Hidden files are records still being written.
    found = sorted(f for f in cells.glob("*.json") if not f.name.startswith("."))
    return [*found, index] if index.exists() else found
