"""One record file per finished cell: the truth that tables and reports are made from."""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import math
import os
import re
import stat
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from core.errors import EtraceError

SCHEMA = 1
STATUSES = ("ok", "skipped", "oom", "timeout", "crashed", "invalid")
FINE = ("ok", "skipped")

# What a cell goes through before its step first runs.
COMPILE_PHASES = ("start", "build", "trace", "lower", "compile")

# A record takes kilobytes; with a million samples 20 MiB.
LARGEST = 64 << 20
DEEPEST = 32
LONGEST = len(str(-(2**63)))
SHOWN, MOST_LETTERS = 60, 2000


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
        "metrics": {},
        "health": "",
        "samples": {},
        "curves": {},
        "fidelity": {},
        "traces": {},
        "memory": {},
        "provenance": {},
        "log": f"cells/{key}.log",
    }


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` as JSON, made ``plain``.

    Raises:
        OSError: as ``write_text``.
        ValueError: as ``plain``.
    """
    write_text(path, json.dumps(plain(value), indent=1, allow_nan=False))


def write_text(path: Path, text: str) -> None:
    """Writes a file in UTF-8, as ``write_bytes``.

    Raises:
        OSError: as ``write_bytes``.
    """
    write_bytes(path, text.encode())


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


def plain(value: Any, room: int = DEEPEST) -> Any:
    """``value`` as everybody can read it, in nested containers too.

    NaN, infinities and numbers beyond float64 become None, whole numbers beyond 64 bits floats,
    scalars and arrays of numerical libraries numbers and lists; halves of surrogate pairs in texts
    are replaced.

    Raises:
        ValueError: when containers are nested more than ``room`` deep.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else _as_float(value)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if room <= 0:
        raise ValueError(f"nested more than {DEEPEST} deep")
    if isinstance(value, Mapping):
        return {plain(str(k)): plain(v, room - 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, room - 1) for v in value]
    return plain(value.tolist(), room - 1) if hasattr(value, "tolist") else value


def _as_float(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def malformed(parts: Mapping[str, Any]) -> str:
    """Why these cannot be parts of a record that a measurement adds; empty when they can."""
    for name, value in parts.items():
        words, fits = (_FILED | PARTS).get(name, _OTHER)
        if not fits(value):
            return f"expected {name} to be {words}; got {_shown(value)}"
    for name, value in parts.get("metrics", {}).items():
        if not _is_number(value):
            return f"expected metrics.{name} to be a number or null; got {_shown(value)}"
    return ""


def _shown(value: Any) -> str:
    """A value in a message; of what holds others only the kind, which may be deep."""
    if isinstance(value, list | dict):
        return f"a {type(value).__name__}"
    text = ascii(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float)


def _holds_lists(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(item, list) and all(map(_is_number, item)) for item in value.values()
    )


# What a measurement may add to a record, in words. Plug-ins may add parts of other names.
PARTS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "metrics": ("numbers by name", _is_dict),
    "health": ("text", lambda value: isinstance(value, str)),
    **dict.fromkeys(("samples", "curves"), ("lists of numbers by name", _holds_lists)),
    **dict.fromkeys(("fidelity", "traces", "memory", "provenance"), ("values by name", _is_dict)),
}
# What files a record under its cell.
FILED = ("schema", "key", "experiment", "status", "reason", "created", "row", "config", "log")
_FILED = {name: ("left to the sweep", lambda value: False) for name in FILED}
_OTHER = ("anything", lambda value: True)


class Corrupt(EtraceError, ValueError):
    """A file that cannot be used; the text names it and says why."""


def content(path: Path) -> bytes:
    """What a file holds that anybody may have put there; a link may lead to it.

    Raises:
        Corrupt: when it is a pipe or a device, or larger than ``LARGEST``.
        OSError: when it cannot be read, which says nothing about what is in it.
    """
    # Opening a pipe without this waits for whoever writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        if stat.S_ISDIR(about.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise Corrupt(f"{path.name} is no regular file")
    with os.fdopen(descriptor, "rb") as file:
        text = file.read(LARGEST + 1) if about.st_size <= LARGEST else b""
    if about.st_size > LARGEST or len(text) > LARGEST:
        raise Corrupt(f"{path.name} is larger than {LARGEST >> 20} MiB")
    return text


def load(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        Corrupt: as ``content``, or when it is no JSON.
        OSError: as ``content``.
    """
    try:
        return json.loads(content(path).decode("utf-8"), parse_int=_integer)
    except (ValueError, RecursionError) as error:
        if isinstance(error, Corrupt):
            raise
        raise Corrupt(f"{path.name} is not whole JSON ({error})") from error


def _integer(digits: str) -> int:
    if len(digits) > LONGEST:
        raise ValueError("a whole number beyond 64 bits")
    return int(digits)


def read(path: Path) -> dict[str, Any] | None:
    """The record at ``path``, or None when there is none.

    Raises:
        Corrupt: when the file is there but is not a whole record of this schema.
        OSError: as ``content``.
    """
    try:
        record = load(path)
    except FileNotFoundError:
        return None
    wanted = {"schema", "key", "status", "row", "config", "metrics"}
    if not isinstance(record, dict) or not wanted <= set(record):
        raise Corrupt(f"{path.name} lacks fields of a record")
    if record["schema"] != SCHEMA:
        raise Corrupt(
            f"{path.name} has schema {_shown(record['schema'])}, this version writes {SCHEMA}"
        )
    if record["key"] != path.stem or record["status"] not in STATUSES:
        raise Corrupt(f"{path.name} holds another cell's record")
    record = {"reason": "", "health": "", "created": "", "provenance": {}} | record
    kinds = {"row": dict, "config": dict, "reason": str, "created": str}
    wrong = [
        f"expected {name} to be {kind.__name__}; got {_shown(record[name])}"
        for name, kind in kinds.items()
        if not isinstance(record[name], kind)
    ]
    wrong += filter(None, [malformed({k: v for k, v in record.items() if k not in FILED})])
    if wrong:
        raise Corrupt(f"{path.name}: {wrong[0]}")
    return record


def merge(into: dict[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    """``into`` with ``parts`` laid over it, dictionaries merged one level deep."""
    for name, value in parts.items():
        both = isinstance(value, dict) and isinstance(into.get(name), dict)
        into[name] = {**into[name], **value} if both else value
    return into


def one_line(text: str) -> str:
    """A text of others as one line, of a length to be read, that does nothing to a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MOST_LETTERS]


def is_key(text: object) -> bool:
    """Whether this can name a record, and leads nowhere but to its folder."""
    return isinstance(text, str) and re.fullmatch(r"[0-9a-f]{1,64}", text) is not None
