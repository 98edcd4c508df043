"""One record file per finished cell: the truth that tables and reports are made from."""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCHEMA = 1
STATUSES = ("ok", "skipped", "oom", "timeout", "crashed", "invalid")
FINE = ("ok", "skipped")


def blank(key: str, experiment: str | None, row: Mapping[str, Any], config: Mapping[str, Any]
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
    """Writes ``value`` as JSON; numbers that JSON has no word for (NaN, infinities) become null.

    Raises:
        OSError: as ``write_text``.
    """
    write_text(path, json.dumps(finite(value), indent=1, allow_nan=False))


def write_text(path: Path, text: str) -> None:
    """Writes a file so that a reader sees the old one or the whole new one.

    Raises:
        OSError: when the disk is full or the folder cannot be written; no partial file stays.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes private files; a results folder is shared like any other file.
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def finite(value: Any) -> Any:
    """``value`` with every NaN and infinity replaced by None, in nested containers too."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value


class Corrupt(ValueError):
    """A record file that cannot be used; the text names it and says why."""


def read(path: Path) -> dict[str, Any] | None:
    """The record at ``path``, or None when there is none.

    Raises:
        Corrupt: when the file is there but is not a whole record of this schema.
        OSError: when it cannot be read, which says nothing about what is in it.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Corrupt(f"{path.name} is not a whole record ({error})") from error
    wanted = {"schema", "key", "status", "row", "config", "metrics"}
    if not isinstance(record, dict) or not wanted <= set(record):
        raise Corrupt(f"{path.name} lacks fields of a record")
    if record["schema"] != SCHEMA:
        raise Corrupt(f"{path.name} has schema {record['schema']}, this version writes {SCHEMA}")
    if record["key"] != path.stem or record["status"] not in STATUSES:
        raise Corrupt(f"{path.name} holds another cell's record")
    return record


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
