"""The two sides of a comparison as one table, and its cells, paired by configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from reports.compare.result import Verdict
from reports.errors import InputError
from reports.records import read_sweeps
from reports.records.columns import SETTINGS, SYMBOLS
from reports.records.settings import identities, labels, option_names, settings, varying_within
from reports.records.table import frame, read_parquet

SIDES = ("base", "head")
LACKING = "not finite or not recorded in"
_WORDS = ("algo", "batching", "model", "task", "backend", "device")
_ALWAYS = ("algo", "batching", "batch_size", "n_hidden", "n_steps")


@dataclass(frozen=True)
class Both:
    """The rows of base and of head."""

    rows: pd.DataFrame
    _columns: dict[str, np.ndarray] = field(default_factory=dict)

    def column(self, name: str) -> np.ndarray:
        """One value a row: words, or numbers that are NaN where one is absent or not finite."""
        if name not in self._columns:
            column = self.rows[name] if name in self.rows else pd.Series(np.nan, self.rows.index)
            if pd.api.types.is_numeric_dtype(column):
                numbers = column.to_numpy(dtype=float, na_value=np.nan)
                self._columns[name] = np.where(np.isfinite(numbers), numbers, np.nan)
            else:
                self._columns[name] = column.to_numpy(dtype=object)
        return self._columns[name]


@dataclass(frozen=True)
class Cell:
    """One cell on both sides.

    Args:
        name: the configuration in words.
        at: where its processes of base and of head are in `both`; empty on a side without it.
    """

    name: str
    at: tuple[np.ndarray, np.ndarray]
    both: Both

    def column(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """`Both.column` of the cell's processes of base and of head."""
        values = self.both.column(name)
        return values[self.at[0]], values[self.at[1]]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(np.concatenate(self.column("key")))

    @property
    def timed(self) -> bool:
        """Whether all processes were to take times."""
        rows = self.both.rows.iloc[np.concatenate(self.at)]
        return bool(rows.filter(regex=r"^cfg\.metric\.timing").notna().any(axis=1).all())

    def only_ok(self) -> Cell | None:
        """The same without processes that failed; None where a side has none left."""
        base, head = (
            at[found == "ok"] for at, found in zip(self.at, self.column("status"), strict=True)
        )
        return Cell(self.name, (base, head), self.both) if len(base) and len(head) else None

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
                for name, side in zip(SIDES, self.column(metric), strict=True)
                if np.isnan(side).any()]  # fmt: skip
        return f"{LACKING} {' and '.join(told)}" if told else ""

    def difference(self, *facts: str) -> str:
        """In words, how the environments of both sides differ in these; "" for not at all."""
        for fact in facts:
            base, head = (told(values) for values in self.column(f"env.{fact}"))
            if not (base and head):
                return f"{fact} not recorded on {'one side' if base or head else 'both sides'}"
            if base != head:
                parts = [found[0].split(", ") for found in (base, head)]
                own = [", ".join([p for p in some if p not in other][:4])
                       for some, other in (parts, parts[::-1])]  # fmt: skip
                return f"different {fact}" + (f": {own[0]} and {own[1]}" if all(own) else "")
        return ""


def told(values: np.ndarray) -> list[str]:
    """The distinct words among these."""
    return sorted({value for value in values if isinstance(value, str) and value})


def read_side(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """The rows of a folder with records or of a results.parquet, and what was left out.

    Raises:
        InputError: neither of the two, no record, or another schema.
    """
    if not path.is_file():
        sweeps = read_sweeps([path])
        return frame(sweeps.records), [f"Left out {file}: {why}" for file, why in sweeps.corrupt]
    rows = read_parquet(path)
    if rows.empty:
        raise InputError("a results table with rows", f"{path}, which has none",
                         "Run a sweep first.")  # fmt: skip
    return rows, []


def pair(base: pd.DataFrame, head: pd.DataFrame) -> tuple[list[Cell], list[str]]:
    """Cells by every setting that both sides know, and notes; seeds are part of a cell.

    A setting that only one side has (a new option with its default) cannot tell cells apart and is
    named in the notes.

    Raises:
        InputError: the sides have no cell in common.
    """
    known = [dict.fromkeys(settings(side)) for side in (base, head)]
    by = [*(c for c in known[0] if c in known[1]), "seed"]
    notes = [f"Only {side} has the settings {', '.join(own[:6])}; cells were paired without them."
             for side, mine, theirs in zip(SIDES, known, known[::-1], strict=True)
             if (own := [c for c in mine if c not in theirs])]  # fmt: skip
    both = Both(pd.concat([base.assign(side=0), head.assign(side=1)], ignore_index=True))
    # Of a process that was measured again the later record.
    places: dict[tuple[str, ...], tuple[dict, dict]] = {}
    for row, (identity, side, repeat) in enumerate(
        zip(identities(both.rows, by), both.rows["side"], both.rows["repeat"], strict=True)
    ):
        places.setdefault(identity, ({}, {}))[side][repeat] = row
    if not any(all(sides) for sides in places.values()):
        counts = [sum(bool(sides[i]) for sides in places.values()) for i in (0, 1)]
        raise InputError(
            "two sweeps with cells in common",
            f"sweeps that share none of their {counts[0]} and {counts[1]} cells",
            "Run the same KEY=VALUE settings on both.",
        )
    at = [(np.array([*b.values()], int), np.array([*h.values()], int)) for b, h in places.values()]
    names = _names([*places], by, both)
    return [Cell(*cell, both) for cell in zip(names, at, strict=True)], notes


def _names(identities: Sequence[tuple[str, ...]], by: Sequence[str], both: Both) -> list[str]:
    """Each cell in words: its main settings, others only where nothing else tells."""
    cells = pd.DataFrame(identities, columns=list(by))
    main = [*SETTINGS, "seed"]
    options = varying_within(cells, main)
    shown = [c for c in main if c in _ALWAYS or cells[c].nunique() > 1] + options
    leaves = option_names(options)
    words = []
    for c in shown:
        texts = labels(both.rows[c].dropna().unique().tolist())
        name = "" if c in _WORDS else f"{leaves.get(c) or SYMBOLS.get(c, c)}="
        words.append([name + texts.get(value, "–") for value in cells[c]])
    return [" ".join(parts) for parts in zip(*words, strict=True)]
