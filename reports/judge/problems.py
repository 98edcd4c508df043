"""What to know before believing a number: cells that failed, training that is not healthy, times
that were disturbed, files that could not be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.judge.facts import Facts
from reports.judge.rows import words
from reports.records import Record, Sweeps

STATUS = {"oom": "out of memory", "timeout": "out of time", "crashed": "crashed",
          "invalid": "invalid", "skipped": "skipped"}  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """One kind of problem.

    Args:
        title: what it is, with its count.
        rows: (which, what, keys) of each group of cells that share it.
        grave: whether it counts among the problems, rather than being by design.
    """

    title: str
    rows: Sequence[tuple[str, str, tuple[str, ...]]]
    grave: bool = True


def problems(table: pd.DataFrame, sweeps: Sweeps, facts: Facts) -> list[Problem]:
    """All there are, the gravest first."""
    ok = table["status"].eq("ok")
    found = []
    for status, said in STATUS.items():
        rows = table[table["status"].eq(status)]
        if len(rows):
            title = f"{_cells(len(rows))} {said}"
            found.append(Problem(title, _grouped(rows, rows["reason"], facts), status != "skipped"))
    sick = table[ok & table["health"].ne("")]
    if len(sick):
        title = f"{_cells(len(sick))} whose training is not healthy"
        found.append(Problem(title, _grouped(sick, sick["health"], facts)))
    busy = table[ok & table["contended"] & table["step_time_ms"].gt(0)]
    if len(busy):
        title = (
            f"{len(busy)} of {facts.timed} times were measured while more was running than the "
            "machine has cores (marked *)"
        )
        found.append(Problem(title, _grouped(busy, pd.Series("", index=busy.index), facts)))
    odd = [(f"{w.name}{f' at {s.name}' if s.name else ''}",
            f"{w.time.odd} of {w.time.odd + w.time.n} processes", ())
           for s in facts.settings for w in s.ways if w.time and w.time.odd]  # fmt: skip
    if odd:
        found.append(
            Problem(
                "Processes that took over twice or under half the median of their cell; "
                "they are left out of times and intervals",
                odd,
            )
        )
    doubt = table["key"].map(_disagreements(sweeps.records))
    doubted = table[doubt.notna()]
    if len(doubted):
        title = f"{_cells(len(doubted))} whose sources of memory disagree"
        found.append(Problem(title, _grouped(doubted, doubt[doubted.index], facts)))
    unsteady = table[ok & table["steady"].eq(0)] if "steady" in table else table.iloc[:0]
    if len(unsteady):
        title = f"{_cells(len(unsteady))} timed before the steps had become steady"
        found.append(Problem(title, _grouped(unsteady, pd.Series("", index=unsteady.index), facts)))
    if sweeps.missing:
        rows = [(_planned(c), "", (str(c["key"]),)) for c in sweeps.missing[:50]]
        title = f"{_cells(len(sweeps.missing))} planned but not run yet; the same command resumes"
        found.append(Problem(title, rows))
    if sweeps.corrupt:
        count = len({file for file, _ in sweeps.corrupt})
        title = f"{count} {'file' if count == 1 else 'files'} left out, whole or in part"
        found.append(Problem(title, [(str(file), why, ()) for file, why in sweeps.corrupt]))
    return found


def _cells(n: int) -> str:
    return f"{n} {'cell' if n == 1 else 'cells'}"


def _grouped(rows: pd.DataFrame, said: pd.Series, facts: Facts
             ) -> list[tuple[str, str, tuple[str, ...]]]:  # fmt: skip
    """One line for all cells of a way and setting of which the same is said."""
    out = []
    for (_, way, text), some in rows.groupby(["setting", "way", said.rename("said").fillna("")],
                                             sort=False, dropna=False):  # fmt: skip
        where = words(some.iloc[0], facts.varied)
        count = f" ({len(some)} runs)" if len(some) > 1 else ""
        out.append(
            (f"{way}{f' at {where}' if where else ''}{count}", str(text), tuple(some["key"]))
        )
    return sorted(out)


def _disagreements(records: Sequence[Record]) -> dict[str, str]:
    found = {r["key"]: str((r.get("memory") or {}).get("disagreement") or "") for r in records}
    return {key: words for key, words in found.items() if words}


def _planned(cell: Mapping[str, Any]) -> str:
    names = ("algo", "batching", "model", "task", "n_hidden", "n_steps", "batch_size")
    return ", ".join(f"{n}={cell[n]}" for n in names if n in cell)
