"""Reading the two sides of a comparison and pairing their cells by configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports.compare.result import Verdict
from reports.errors import InputError
from reports.records import read_sweeps
from reports.records.columns import SETTINGS, SYMBOLS
from reports.records.settings import identities, labels, option_names, settings
from reports.records.table import environments, frame, read_parquet

_WORDS = ("algo", "batching", "model", "task", "backend", "device")
_ALWAYS = ("algo", "batching", "batch_size", "n_hidden", "n_steps")


@dataclass(frozen=True)
class Side:
    """One sweep: its rows, key -> where each was measured, and files that were left out."""

    name: str
    rows: pd.DataFrame
    environment: dict[str, dict[str, Any]]
    left_out: list[str] = field(default_factory=list)

    def values(self, name: str) -> set[str]:
        """The distinct values of one fact about the environment."""
        return {str(e.get(name)) for e in self.environment.values() if e.get(name) is not None}

    def told(self, name: str) -> str:
        return ", ".join(sorted(self.values(name))) or "unknown"


@dataclass(frozen=True)
class Cell:
    """One cell on both sides.

    Args:
        name: the configuration in words.
        base, head: its rows, one a process; none on a side that lacks it.
        sides: where the rows come from.
    """

    name: str
    base: pd.DataFrame
    head: pd.DataFrame
    sides: tuple[Side, Side]

    @property
    def keys(self) -> tuple[str, ...]:
        return (*self.base["key"], *self.head["key"])

    def only_ok(self) -> Cell | None:
        """The same without processes that failed; None where a side has none left."""
        base, head = (rows[rows["status"].eq("ok")] for rows in (self.base, self.head))
        return Cell(self.name, base, head, self.sides) if len(base) and len(head) else None

    def column(self, metric: str) -> tuple[pd.Series, pd.Series]:
        """A metric on both sides, NaN in each process that lacks a finite one."""
        base, head = (
            pd.to_numeric(rows[metric]).replace([np.inf, -np.inf], np.nan)
            if metric in rows
            else pd.Series(np.nan, rows.index)
            for rows in (self.base, self.head)
        )
        return base, head

    @property
    def contended(self) -> tuple[pd.Series, pd.Series]:
        """Which processes were timed while other programs took part of the machine."""
        base, head = (side.gt(0) for side in self.column("contended"))
        return base, head

    @property
    def timed(self) -> bool:
        """Whether both sides were to take times."""
        return all(any(name.startswith("cfg.metric.timing") and rows[name].notna().any()
                       for name in rows) for rows in (self.base, self.head))  # fmt: skip

    def gone(self, metric: str, better: str | None) -> tuple[Verdict, str] | None:
        """The verdict where a side lacks the number in some of its processes, and why.

        None where neither does, or head no more often than base: NaN and infinities are recorded as
        null, and a number that is gone is no "cannot tell".
        """
        base, head = self.column(metric)
        gone, was_gone = int(head.isna().sum()), int(base.isna().sum())
        if gone * len(base) > was_gone * len(head):
            ill = "; ".join(sorted({w for w in self.head["health"] if w}))
            why = f"not finite or not recorded in {gone} of {len(head)} processes of head"
            if gone == len(head) and not ill:
                return "lost", "base has it and head lacks it; measure the same metric= groups"
            return ("changed" if better is None else "worse"), why + (f" ({ill})" if ill else "")
        if was_gone == len(base):
            if gone == len(head):
                return "cannot tell", "not finite or not recorded in any process of either side"
            if better is None and self.base["health"].str.contains("finite").any():
                return "changed", "not finite in base"
            return "cannot tell", "base does not record it"
        return None

    def lacking(self, metric: str) -> str:
        """In words, how many processes lack a number; "" where all have it."""
        told = [f"{int(side.isna().sum())} of {len(side)} processes of {name}"
                for name, side in zip(("base", "head"), self.column(metric), strict=True)
                if side.isna().any()]  # fmt: skip
        return f"not finite or not recorded in {' and '.join(told)}" if told else ""

    def difference(self, *names: str) -> str:
        """In words, how the environments of both sides differ in these facts; "" for not at all."""
        known = [
            [side.environment.get(key, {}) for key in rows["key"]]
            for side, rows in zip(self.sides, (self.base, self.head), strict=True)
        ]
        for name in names:
            found = [
                {str(sorted(v.items())) if isinstance(v, dict) else str(v): v
                 for e in side if (v := e.get(name)) is not None}
                for side in known
            ]  # fmt: skip
            if not all(found):
                return f"{name} not recorded on {'one side' if any(found) else 'both sides'}"
            if set(found[0]) != set(found[1]):
                return _differ(name, *(next(iter(values.values())) for values in found))
        return ""


def _differ(name: str, base: Any, head: Any) -> str:
    if not isinstance(base, dict):
        return f"different {name}: {base} and {head}"
    moved = [
        f"{library} {base.get(library, 'absent')} and {head.get(library, 'absent')}"
        for library in sorted({*base, *head})
        if base.get(library) != head.get(library)
    ]
    return f"different {name}" + (f": {', '.join(moved[:4])}" if moved else "")


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
    left_out = [f"Left out {file}: {why}" for file, why in sweeps.corrupt]
    return Side(str(path), frame(sweeps.records), environments(sweeps.records), left_out)


def pair(base: Side, head: Side) -> tuple[list[Cell], list[str]]:
    """Cells by every setting that both sides know, and notes; seeds are part of a cell.

    A setting that only one side has (a new option with its default) cannot tell cells apart and is
    named in the notes.

    Raises:
        InputError: the sides have no cell in common.
    """
    sides = (base, head)
    known = [dict.fromkeys(settings(side.rows)) for side in sides]
    by = [*(c for c in known[0] if c in known[1]), "seed"]
    notes = [
        f"Only {side.name} has the settings {', '.join(own[:6])}; cells were paired without them."
        for side, own in zip(sides, ([c for c in known[i] if c not in known[1 - i]]
                                     for i in (0, 1)), strict=True)
        if own
    ]  # fmt: skip
    text = [identities(side.rows, by) for side in sides]
    groups = [_groups(side.rows, found) for side, found in zip(sides, text, strict=True)]
    if not set(groups[0]) & set(groups[1]):
        raise InputError(
            "two sweeps with cells in common",
            f"{base.name} and {head.name}, which share none of their "
            f"{len(groups[0])} and {len(groups[1])} cells",
            "Run the same KEY=VALUE settings on both.",
        )
    names = _names(pd.DataFrame([*groups[0], *groups[1]], columns=by).drop_duplicates(), sides)
    none = [side.rows.iloc[:0] for side in sides]
    cells = [Cell(name, groups[0].get(i, none[0]), groups[1].get(i, none[1]), sides)
             for i, name in names.items()]  # fmt: skip
    return cells, notes


def _groups(rows: pd.DataFrame, identity: pd.Series) -> dict[tuple[str, ...], pd.DataFrame]:
    # Of a cell that was measured again in the same place the later record counts.
    rows = rows.assign(_id=identity).drop_duplicates(["_id", "repeat"], keep="last")
    return dict(iter(rows.groupby("_id", sort=False)))


def _names(cells: pd.DataFrame, sides: tuple[Side, Side]) -> dict[tuple[str, ...], str]:
    """Identity -> the cell in words: its main settings, others only where nothing else tells."""
    main = [*SETTINGS, "seed"]
    options = [c for c in cells if c not in main]
    counts = cells.groupby(main)[options].nunique()
    options = [c for c in options if counts[c].gt(1).any()]
    shown = [c for c in main if c in _ALWAYS or cells[c].nunique() > 1] + options
    leaves = option_names(options)
    texts = {c: labels(v for side in sides for v in side.rows[c].dropna().unique().tolist())
             for c in shown}  # fmt: skip
    return {
        tuple(cell): " ".join(
            texts[c][cell[c]] if c in _WORDS
            else f"{leaves.get(c) or SYMBOLS.get(c, c)}={texts[c].get(cell[c], '–')}"
            for c in shown
        )
        for _, cell in cells.iterrows()
    }  # fmt: skip
