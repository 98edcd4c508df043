"""One record file per finished cell: the truth that tables and reports are made from."""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import os
import reprlib
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.bounds import is_number
from core.errors import EtraceError

SCHEMA = 1
STATUSES = ("ok", "skipped", "oom", "timeout", "crashed", "invalid")
FINE = ("ok", "skipped")

# What a cell goes through before its step first runs.
COMPILE_PHASES = ("start", "build", "trace", "lower", "compile")

# What files a record under its cell, and what a measurement may add to it. Plug-ins may add parts
# of other names.
FILED = {
    **dict.fromkeys(("key", "experiment", "status", "reason", "created", "log"), str),
    **dict.fromkeys(("row", "config"), dict),
    "schema": int,
}
PARTS = {
    **dict.fromkeys(("metrics", "samples", "curves", "fidelity", "traces", "memory"), dict),
    "provenance": dict,
    "health": str,
}
WORDS = {str: "text", dict: "values by name", int: "a whole number"}


def blank(
    key: str, experiment: str | None, row: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, Any]:
    """A record of a cell that has not been measured yet."""
    return {
        "schema": SCHEMA,
        "key": key,
        "experiment": experiment or "",
        "status": "crashed",
        "reason": "",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "row": dict(row),
        "config": dict(config),
        **{part: kind() for part, kind in PARTS.items()},
        "log": f"cells/{key}.log",
    }


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` as JSON, made ``plain``, as ``write_bytes`` does."""
    write_bytes(path, json.dumps(plain(value), indent=1, allow_nan=False).encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file so that a reader sees the old one or the whole new one.

    A link of this name is replaced; what it leads to stays as it is.

    Raises:
        OSError: when the disk is full or the folder cannot be written; no partial file stays.
    """
    # Not one of tempfile's, which are private: a results folder is shared like any other.
    name = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.tmp")
    try:
        with name.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            name.unlink()
        raise


def plain(value: Any) -> Any:
    """``value`` as everybody can read it, in nested containers too.

    NaN, infinities and numbers beyond float64 become None, whole numbers beyond 64 bits floats,
    scalars and arrays of numerical libraries numbers and lists; halves of surrogate pairs in texts
    are replaced.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, int):
        if -(2**63) <= value < 2**63:
            return value
        return float(value) if is_number(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {plain(str(k)): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return plain(value.tolist()) if hasattr(value, "tolist") else value


def malformed(parts: Mapping[str, Any]) -> str:
    """Why these cannot be parts of a record that a measurement adds; empty when they can."""
    for name, value in parts.items():
        if name in FILED:
            return f"expected {name} to be left to the sweep; got {reprlib.repr(value)}"
        if name not in PARTS and is_number(value):  # which no table would show
            return f"expected numbers to be below metrics; got {name} beside it"
        if why := _of_another_kind(name, value, PARTS.get(name, object)):
            return why
    for name, value in parts.get("metrics", {}).items():
        if not _is_metric(value):
            return f"expected metrics.{name} to be a number or null; got {reprlib.repr(value)}"
    for part in ("samples", "curves"):
        for name, value in parts.get(part, {}).items():
            if not (isinstance(value, list) and all(map(_is_metric, value))):
                return f"expected {part}.{name} to be numbers; got {reprlib.repr(value)}"
    return ""


def _of_another_kind(name: str, value: Any, kind: type) -> str:
    if isinstance(value, kind):
        return ""
    return f"expected {name} to be {WORDS[kind]}; got {reprlib.repr(value)}"


def _is_metric(value: Any) -> bool:
    return value is None or isinstance(value, bool) or is_number(value)


class Corrupt(EtraceError, ValueError):
    """A file that cannot be used; the text names it and says why."""


def load(path: Path) -> Any:
    """What a JSON file holds; Corrupt where that is no JSON.

    An OSError, where it cannot be read, says nothing about what is in it.
    """
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{path.name} is not whole JSON ({error})") from error


def read(path: Path) -> dict[str, Any] | None:
    """The record at ``path``, or None when there is none; Corrupt and OSError as of ``load``.

    Corrupt is also what is no whole record of this schema.
    """
    try:
        record = load(path)
    except FileNotFoundError:
        return None
    wanted = {"schema", "key", "status", "row", "config", "metrics"}
    if not isinstance(record, dict) or not wanted <= set(record):
        raise Corrupt(f"{path.name} lacks fields of a record")
    if record["schema"] != SCHEMA:
        came = reprlib.repr(record["schema"])
        raise Corrupt(f"{path.name} has schema {came}, this version writes {SCHEMA}")
    if record["key"] != path.stem or record["status"] not in STATUSES:
        raise Corrupt(f"{path.name} holds another cell's record")
    record = {"reason": "", "health": "", "created": "", "provenance": {}} | record
    wrong = [_of_another_kind(n, record[n], kind) for n, kind in FILED.items() if n in record]
    wrong.append(malformed({name: v for name, v in record.items() if name not in FILED}))
    if why := next(filter(None, wrong), ""):
        raise Corrupt(f"{path.name}: {why}")
    return record


def merge(into: dict[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    """``into`` with ``parts`` laid over it, dictionaries merged one level deep."""
    for name, value in parts.items():
        both = isinstance(value, dict) and isinstance(into.get(name), dict)
        into[name] = {**into[name], **value} if both else value
    return into
