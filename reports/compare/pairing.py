"""Reading the two sides of a comparison and pairing their cells by configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from reports.errors import InputError
from reports.records import read_sweeps
from reports.records.columns import SETTINGS, SYMBOLS
from reports.records.settings import identities, is_setting
from reports.records.table import environments, frame, read_parquet


@dataclass(frozen=True)
class Side:
    """One sweep: its rows, and key -> where each was measured."""

    name: str
    rows: pd.DataFrame
    environment: dict[str, dict[str, Any]]

    def values(self, name: str) -> set[str]:
        """The distinct values of one fact about the environment."""
        return {str(e.get(name)) for e in self.environment.values() if e.get(name) is not None}


@dataclass(frozen=True)
class Pairing:
    """Cells of both sides by identity: (name, base rows, head rows); a side may be None."""

    cells: list[tuple[str, pd.DataFrame | None, pd.DataFrame | None]]
    notes: list[str]


def read_side(path: Path) -> Side:
    """A folder with records, or a results.parquet.

    Raises:
        InputError: neither of the two, no record, or another schema.
    """
    if path.is_file():
        rows, environment = read_parquet(path)
        if rows.empty:
            raise InputError(
                "a results table with rows", f"{path}, which has none", "Run a sweep first."
            )
        return Side(str(path), rows, environment)
    sweeps = read_sweeps([path])
    return Side(str(path), frame(sweeps.records), environments(sweeps.records))


def pair(base: Side, head: Side) -> Pairing:
    """Pairs cells by every setting that both sides know; seeds are part of a cell, repeats are not.

    A setting that only one side has (a new option with its default) cannot tell cells apart and is
    named in the notes.

    Raises:
        InputError: the sides have no cell in common.
    """
    leaves = [{c for c in side.rows.columns if is_setting(c)} for side in (base, head)]
    shared = sorted(leaves[0] & leaves[1])
    notes = [
        f"Only {side.name} has the settings {', '.join(sorted(own)[:6])}; cells were paired "
        "without them."
        for side, own in ((base, leaves[0] - leaves[1]), (head, leaves[1] - leaves[0]))
        if own
    ]
    by = [*SETTINGS, *shared, "seed"]
    groups = [_groups(side.rows, by) for side in (base, head)]
    names = _names(pd.concat([base.rows[by], head.rows[by]]), by)
    identities = list(dict.fromkeys([*groups[0], *groups[1]]))
    if not set(groups[0]) & set(groups[1]):
        raise InputError(
            "two sweeps with cells in common",
            f"{base.name} and {head.name}, which share none of their "
            f"{len(groups[0])} and {len(groups[1])} cells",
            "Run the same KEY=VALUE settings on both.",
        )
    return Pairing([(names[i], groups[0].get(i), groups[1].get(i)) for i in identities], notes)


def _groups(rows: pd.DataFrame, by: list[str]) -> dict[tuple[str, ...], pd.DataFrame]:
    identity = identities(rows, by)
    # Of a cell that was measured again in the same place the later record counts.
    rows = rows.assign(_id=identity).drop_duplicates(["_id", "repeat"], keep="last")
    return dict(iter(rows.groupby("_id", sort=False)))


def _names(rows: pd.DataFrame, by: list[str]) -> dict[tuple[str, ...], str]:
    """Identity -> the cell in words: always its main settings, others only where they vary."""
    always = {"algo", "batching", "batch_size", "n_hidden", "n_steps"}
    rows_as_text = identities(rows, by)
    seen: dict[str, set[str]] = {}
    main = [by.index(s) for s in (*SETTINGS, "seed")]
    for identity in rows_as_text:
        seen.setdefault("|".join(identity[i] for i in main), set()).add("|".join(identity))
    ambiguous = any(len(values) > 1 for values in seen.values())
    varied = {
        name
        for i, name in enumerate(by)
        if len({v[i] for v in rows_as_text}) > 1 and (not name.startswith("cfg.") or ambiguous)
    }
    names = {}
    for identity in dict.fromkeys(rows_as_text):
        words = []
        for name, value in zip(by, identity, strict=True):
            if name in ("algo", "batching", "model", "task", "backend", "device"):
                words += [value] if name in always or name in varied else []
            elif name in always or name in varied:
                leaf = name.rsplit(".", 1)[-1]
                if not (name.startswith("cfg.") and leaf in (*SETTINGS, "name", "_target_")):
                    words.append(f"{SYMBOLS.get(name, leaf)}={value}")
        names[identity] = " ".join(words)
    return names
