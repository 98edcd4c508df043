"""The two sides of a comparison and their cells, paired by configuration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from reports.compare.result import Line, Verdict
from reports.errors import InputError
from reports.records import read_sweeps
from reports.records.columns import SETTINGS, SYMBOLS
from reports.records.settings import identities, settings, variants, varying_within, whole
from reports.records.table import frame, one_thread, read_parquet

TIME, RATIO = "step_time_ms", "time_vs_bptt"
_LACKING = "not finite or not recorded in"
_WORDS = ("batching", "model", "task", "backend", "device")
_ALWAYS = ("batching", "batch_size", "n_hidden", "n_steps")  # in a name; others where they vary


@dataclass(frozen=True)
class Cell:
    """One cell: its name in words, and its processes of base and of head, as `prepared` rows."""

    name: str
    base: pd.DataFrame
    head: pd.DataFrame

    def column(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """One value a process of base and of head; NaN for a column that is not there."""
        base, head = (side[name].to_numpy() if name in side else np.full(len(side), np.nan)
                      for side in (self.base, self.head))  # fmt: skip
        return base, head

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(np.concatenate(self.column("key")))

    @property
    def complete(self) -> tuple[np.ndarray, np.ndarray]:
        """Which processes of base and of head measured all that was measured of their cell."""
        base, head = (side["complete"].to_numpy() == 1 for side in (self.base, self.head))
        return base, head

    def numbers(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Those of base and of head that are there."""
        base, head = (side[~np.isnan(side)] for side in self.column(metric))
        return base, head

    def line(
        self, metric: str, gate: Literal["exact", "measured"], better: str | None
    ) -> tuple[Line, bool]:
        """A line with the medians, and whether there is something to judge.

        Which numbers are lacking is said: NaN and infinities are recorded as null, and a number
        that is gone is no "cannot tell". Where `better` is None any change is an alarm.
        """
        before, after = (float(np.median(s)) if len(s) else None for s in self.numbers(metric))
        change = (after - before) / abs(before) if before and after is not None else None
        verdict, note = self._lacking(metric, better)
        return Line(self.name, metric, gate, verdict or "cannot tell", before, after, change,
                    note=note, keys=self.keys), verdict is None  # fmt: skip

    def _lacking(self, metric: str, better: str | None) -> tuple[Verdict | None, str]:
        """What is said of numbers that are not there; a verdict where that decides.

        A process that measured less than others of its cell, as repeats do, may lack them.
        """
        base, head = (
            np.isnan(values[full | ~np.isnan(values)])
            for values, full in zip(self.column(metric), self.complete, strict=True)
        )
        if not (len(base) and len(head)):
            return "cannot tell", "left to a process that failed"
        was_ill, is_ill = ("; ".join(told(side)) for side in self.column("health"))
        alarm: Verdict = "changed" if better is None else "worse"
        if head.mean() > base.mean():
            if head.all() and not is_ill:
                return "lost", "base has it and head lacks it; measure the same metric= groups"
            why = f"{_LACKING} {head.sum()} of {len(head)} processes of head"
            return alarm, why + (f" ({is_ill})" if is_ill else "")
        if not base.all():
            some = [f"{no.sum()} of {len(no)} processes of {name}"
                    for name, no in (("base", base), ("head", head)) if no.any()]  # fmt: skip
            return None, f"{_LACKING} {' and '.join(some)}" if some else ""
        if head.all():
            return "cannot tell", f"{_LACKING} any process of either side"
        if better is None and "finite" in was_ill:
            return alarm, "not finite in base"
        return "cannot tell", "base does not record it"

    def only_ok(self) -> Cell | None:
        """The same without processes that failed; None where a side has none left."""
        base, head = (side[side["status"] == "ok"] for side in (self.base, self.head))
        return Cell(self.name, base, head) if len(base) and len(head) else None

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


def told(values: Iterable[Any]) -> list[str]:
    """The distinct words among these."""
    return sorted({value for value in values if isinstance(value, str) and value})


def prepared(rows: pd.DataFrame) -> pd.DataFrame:
    """Words, and numbers that are NaN where one is absent or not finite.

    In place of the configuration, whether a process was to take times (``timed``), and whether it
    measured as much as any of its cell (``complete``, by ``cell`` and ``side``); and logarithms
    ``calm.<metric>`` of times and ratios of times, where other programs cannot have moved them:
    they slow both parts of a ratio alike where its process has one thread.
    """
    timed = rows.filter(regex=r"^cfg\.metric\.timing").notna().any(axis=1)
    alone = one_thread(rows)
    asked = rows.filter(regex=r"^cfg\.metric\.\w+\._target_$").notna().sum(axis=1)
    most = asked.groupby([rows["cell"], rows["side"]]).transform("max")
    rows = rows.filter(regex=r"^(?!cfg\.)").assign(timed=timed, complete=asked.eq(most))
    numbers = rows.select_dtypes(["number", "bool", "boolean"])
    words = rows.drop(columns=numbers.columns).astype(object)
    numbers = numbers.astype("float64").replace([np.inf, -np.inf], np.nan)
    busy = numbers.get("contended", 0 * numbers["timed"]).gt(0)
    moved = {TIME: busy, RATIO: busy & ~alone}
    calm = {f"calm.{m}": np.log(numbers[m].where(numbers[m].gt(0) & ~moved[m]))
            for m in moved if m in numbers}  # fmt: skip
    return words.join(numbers.assign(**calm))


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
             for side, mine, theirs in zip(("base", "head"), known, known[::-1], strict=True)
             if (own := [c for c in mine if c not in theirs])]  # fmt: skip
    rows = pd.concat([base.assign(side=0), head.assign(side=1)], ignore_index=True)
    rows["cell"] = identities(rows, by)
    # Of a process that was measured again the later record.
    again = rows.duplicated(["cell", "side", "repeat"], keep="last")
    rows = rows[~again]
    firsts = rows.drop_duplicates("cell")
    sides = dict(list(prepared(rows).groupby(["cell", "side"])))
    nowhere = rows.iloc[:0]
    cells = [Cell(name, sides.get((cell, 0), nowhere), sides.get((cell, 1), nowhere))
             for name, cell in zip(_names(firsts[by]), firsts["cell"], strict=True)]  # fmt: skip
    if not any(len(cell.base) and len(cell.head) for cell in cells):
        apart = [c.removeprefix("cfg.") for c in by
                 if {*map(whole, base[c])}.isdisjoint(map(whole, head[c]))]  # fmt: skip
        counts = [sum(len(sides) > 0 for sides in some)
                  for some in zip(*((c.base, c.head) for c in cells), strict=True)]  # fmt: skip
        why = f", for they differ in {', '.join(apart)}" if apart else ""
        raise InputError("two sweeps with cells in common",
                         f"sweeps that share none of their {counts[0]} and {counts[1]} cells{why}",
                         "Run the same KEY=VALUE settings on both.")  # fmt: skip
    return cells, notes


def _names(cells: pd.DataFrame) -> list[str]:
    """Each cell in words: its main settings, others only where nothing else tells."""
    names = variants(cells, varying_within(cells, [*SETTINGS, "seed"]))
    told = [c for c in (*SETTINGS, "seed") if c in _ALWAYS or cells[c].nunique() > 1]
    for column in (c for c in told if c != "algo"):
        symbol = SYMBOLS.get(column, "" if column in _WORDS else column)
        for i, value in enumerate(cells[column].astype(object).fillna("–")):
            names[i] += f" {symbol}={value}" if symbol else f" {value}"
    return names
