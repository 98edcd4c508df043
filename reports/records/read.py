"""Reading the record files of one or several sweeps: the only place that touches them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reports.errors import InputError

SCHEMA = 1
Record = dict[str, Any]


@dataclass(frozen=True)
class Sweeps:
    """Everything that the given folders hold.

    Args:
        folders: where it was read from.
        records: one dict a finished cell, oldest first; of two with one key the newer is kept.
        corrupt: (file, what is wrong with it) of files that are not records.
        missing: {"key": ..., "folder": ..., row columns} of planned cells without a record.
        questions: experiment name -> the question that it asks.
        plots: modules that the sweeps asked to draw plots of their own; none is imported for that.
    """

    folders: tuple[Path, ...]
    records: list[Record]
    corrupt: list[tuple[Path, str]] = field(default_factory=list)
    missing: list[dict[str, Any]] = field(default_factory=list)
    questions: dict[str, str] = field(default_factory=dict)
    plots: tuple[str, ...] = ()


def asked(record: Record, metric: str) -> bool:
    """Whether a cell was to measure this group of metrics; yes where its record names no group."""
    chosen = (record.get("config") or {}).get("metric")
    return metric in chosen if isinstance(chosen, dict) else True


def read_sweeps(folders: Iterable[str | Path]) -> Sweeps:
    """Reads ``DIR/cells/*.json`` and ``DIR/sweep.json`` of every folder.

    Raises:
        InputError: a folder is not a sweep, no usable record, or records of several schemas.
    """
    paths = tuple(dict.fromkeys(Path(f) for f in folders))
    records: list[Record] = []
    corrupt: list[tuple[Path, str]] = []
    manifests: list[tuple[Path, dict[str, Any]]] = []
    for folder in paths:
        for file in _cell_files(folder):
            record, problem = _read_record(file)
            if record is None:
                corrupt.append((file, problem))
            else:
                records.append(record)
        manifests.append((folder, _read_manifest(folder)))
    if not records:
        raise InputError(
            f"at least one record in {', '.join(f'{p}/cells' for p in paths)}",
            f"{len(corrupt)} unreadable file(s)" if corrupt else "none",
            "Run a sweep into the folder first; unreadable cells run again when it is resumed."
            + "".join(f"\n  {file}: {why}" for file, why in corrupt[:5]),
        )
    _check_schema(records)
    newest = _newest_by_key(records)
    known = {r["key"] for r in newest}
    return Sweeps(
        folders=paths,
        records=newest,
        corrupt=corrupt,
        missing=[
            cell
            for folder, m in manifests
            for cell in _planned(m, folder)
            if cell["key"] not in known
        ],
        questions={
            str(m.get("experiment") or ""): str(m["question"])
            for _, m in manifests
            if m.get("question")
        },
        plots=tuple(
            dict.fromkeys(str(name) for _, m in manifests for name in m.get("plots") or [])
        ),
    )


def _cell_files(folder: Path) -> list[Path]:
    cells = folder / "cells"
    if not folder.exists():
        raise InputError(
            "a folder that holds a sweep",
            f"{folder}, which does not exist",
            "Check the path; sweeps are in runs/ unless out=DIR said otherwise.",
        )
    if not cells.is_dir():
        raise InputError(
            "a folder that holds a sweep (cells/*.json inside)",
            f"{folder}, which has no cells/",
            "Give the folder itself, such as runs/latest, not its parent or its report.",
        )
    # Hidden files are records still being written.
    return sorted(f for f in cells.glob("*.json") if not f.name.startswith("."))


def _read_record(file: Path) -> tuple[Record | None, str]:
    """The record, or None and what is wrong with the file."""
    try:
        record = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        return None, f"not readable as JSON: {error}"
    if not isinstance(record, dict):
        return None, f"expected a JSON object, got {type(record).__name__}"
    if not isinstance(record.get("schema"), int):
        return None, "no schema version"
    if record["schema"] != SCHEMA:
        return record, ""  # judged with all the others: mixed versions are refused, not skipped
    for name, kind in (("key", str), ("status", str), ("row", dict), ("metrics", dict)):
        if not isinstance(record.get(name), kind):
            return None, f"expected {name} to be {kind.__name__}, got {record.get(name)!r:.60}"
    return record, ""


def _check_schema(records: list[Record]) -> None:
    versions = Counter(r["schema"] for r in records)
    if set(versions) == {SCHEMA}:
        return
    shown = ", ".join(f"{n} of schema {v}" for v, n in sorted(versions.items()))
    raise InputError(
        f"records of schema {SCHEMA} only",
        shown,
        "Report each version with the release that wrote it, or run the older cells again.",
    )


def _read_manifest(folder: Path) -> dict[str, Any]:
    """``sweep.json``, or {} where there is none or it is not usable: the records are the truth."""
    try:
        manifest = json.loads((folder / "sweep.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _planned(manifest: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    cells = []
    for entry in manifest.get("planned") or []:
        cell = entry if isinstance(entry, dict) else {"key": entry}
        row = cell.get("row")
        cells.append(
            {
                **(row if isinstance(row, dict) else cell),
                "key": str(cell.get("key")),
                "folder": str(folder),
            }
        )
    return cells


def _newest_by_key(records: list[Record]) -> list[Record]:
    """Oldest first; of several records with one key only the newest."""
    ordered = sorted(records, key=lambda r: str(r.get("created", "")))
    newest = {r["key"]: r for r in ordered}
    return [r for r in ordered if newest[r["key"]] is r]
