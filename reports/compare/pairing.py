"""Reading the two sides of a comparison and pairing their cells by configuration."""

from __future__ import annotations

import functools
from collections.abc import Sequence
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
from reports.records.table import frame, read_parquet

_WORDS = ("algo", "batching", "model", "task", "backend", "device")
LACKING = "not finite or not recorded in"
_ALWAYS = ("algo", "batching", "batch_size", "n_hidden", "n_steps")


@dataclass(frozen=True)
class Side:
    """One sweep: its rows, and files that were left out."""

    name: str
    rows: pd.DataFrame
    left_out: Sequence[str] = ()
    _columns: dict[str, np.ndarray] = field(default_factory=dict)

    def column(self, name: str) -> np.ndarray:
        """One value a row: words, or numbers that are NaN where one is absent or not finite."""
        if name not in self._columns:
            column = self.rows[name] if name in self.rows else pd.Series(np.nan, self.rows.index)
            if not pd.api.types.is_numeric_dtype(column):
                return self._columns.setdefault(name, column.to_numpy(dtype=object))
            numbers = column.to_numpy(dtype=float, na_value=np.nan)
            self._columns[name] = np.where(np.isfinite(numbers), numbers, np.nan)
        return self._columns[name]

    @functools.cached_property
    def timed(self) -> np.ndarray:
        """Which rows were to take times."""
        return self.rows.filter(regex=r"^cfg\.metric\.timing").notna().any(axis=1).to_numpy()

    def environment(self, fact: str, at: Any = slice(None)) -> list[str]:
        """The distinct values of one fact about where rows were measured."""
        return sorted({v for v in self.column(f"env.{fact}")[at] if isinstance(v, str) and v})


@dataclass(frozen=True)
class Cell:
    """One cell on both sides.

    Args:
        name: the configuration in words.
        rows: where its processes are in the rows of base and of head; empty on a side without it.
        sides: base and head.
    """

    name: str
    rows: tuple[np.ndarray, np.ndarray]
    sides: tuple[Side, Side]

    def column(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """`Side.column` of the cell's processes of base and of head."""
        base, head = (side.column(name)[at] for side, at in zip(self.sides, self.rows, strict=True))
        return base, head

    @property
    def keys(self) -> tuple[str, ...]:
        base, head = self.column("key")
        return (*base, *head)

    def only_ok(self) -> Cell | None:
        """The same without processes that failed; None where a side has none left."""
        statuses = self.column("status")
        base, head = (at[found == "ok"] for at, found in zip(self.rows, statuses, strict=True))
        return Cell(self.name, (base, head), self.sides) if len(base) and len(head) else None

    @property
    def timed(self) -> bool:
        """Whether all processes were to take times."""
        return all(side.timed[at].all() for side, at in zip(self.sides, self.rows, strict=True))

    def gone(self, metric: str, better: str | None) -> tuple[Verdict, str] | None:
        """The verdict where a side lacks the number in some of its processes, and why.

        None where neither does, or head no more often than base: NaN and infinities are recorded as
        null, and a number that is gone is no "cannot tell".
        """
        base, head = (np.isnan(side) for side in self.column(metric))
        if head.mean() > base.mean():
            ill = "; ".join(sorted({words for words in self.column("health")[1] if words}))
            if head.all() and not ill:
                return "lost", "base has it and head lacks it; measure the same metric= groups"
            why = f"{LACKING} {head.sum()} of {len(head)} processes of head"
            return ("changed" if better is None else "worse"), why + (f" ({ill})" if ill else "")
        if not base.all():
            return None
        if head.all():
            return "cannot tell", f"{LACKING} any process of either side"
        if better is None and any("finite" in words for words in self.column("health")[0]):
            return "changed", "not finite in base"
        return "cannot tell", "base does not record it"

    def lacking(self, metric: str) -> str:
        """In words, how many processes lack a number; "" where all have it."""
        told = [f"{np.isnan(side).sum()} of {len(side)} processes of {name}"
                for name, side in zip(("base", "head"), self.column(metric), strict=True)
                if np.isnan(side).any()]  # fmt: skip
        return f"{LACKING} {' and '.join(told)}" if told else ""

    def difference(self, *facts: str) -> str:
        """In words, how the environments of both sides differ in these; "" for not at all."""
        for fact in facts:
            base, head = (side.environment(fact, at)
                          for side, at in zip(self.sides, self.rows, strict=True))  # fmt: skip
            if not (base and head):
                return f"{fact} not recorded on {'one side' if base or head else 'both sides'}"
            if base != head:
                parts = [found[0].split(", ") for found in (base, head)]
                own = [", ".join([p for p in some if p not in other][:4])
                       for some, other in (parts, parts[::-1])]  # fmt: skip
                return f"different {fact}" + (f": {own[0]} and {own[1]}" if all(own) else "")
        return ""


def read_side(path: Path) -> Side:
    """A folder with records, or a results.parquet.

    Raises:
        InputError: neither of the two, no record, or another schema.
    """
    if path.is_file():
        rows = read_parquet(path)
        if rows.empty:
            raise InputError(
                "a results table with rows", f"{path}, which has none", "Run a sweep first."
            )
        return Side(str(path), rows)
    sweeps = read_sweeps([path])
    left_out = [f"Left out {file}: {why}" for file, why in sweeps.corrupt]
    return Side(str(path), frame(sweeps.records), left_out)


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
    groups = [_groups(side.rows, by) for side in sides]
    if not set(groups[0]) & set(groups[1]):
        raise InputError(
            "two sweeps with cells in common",
            f"{base.name} and {head.name}, which share none of their "
            f"{len(groups[0])} and {len(groups[1])} cells",
            "Run the same KEY=VALUE settings on both.",
        )
    names = _names(pd.DataFrame([*groups[0], *groups[1]], columns=by).drop_duplicates(), sides)
    none = np.empty(0, dtype=int)
    return [Cell(name, (groups[0].get(i, none), groups[1].get(i, none)), sides)
            for i, name in names.items()], notes  # fmt: skip


def _groups(rows: pd.DataFrame, by: Sequence[str]) -> dict[tuple[str, ...], np.ndarray]:
    """Identity -> where its processes are; of one that was measured again, the later record."""
    found: dict[tuple[str, ...], dict[Any, int]] = {}
    for at, (identity, repeat) in enumerate(zip(identities(rows, by), rows["repeat"], strict=True)):
        found.setdefault(identity, {})[repeat] = at
    return {identity: np.array([*places.values()]) for identity, places in found.items()}


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
