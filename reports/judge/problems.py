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
from reports.records import Sweeps

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
    doubt = {r["key"]: (r.get("memory") or {}).get("disagreement") for r in sweeps.records}
    doubted = table["key"].map(doubt).astype(object).fillna("").astype(str)
    busy = ok & table["contended"] & table["step_time_ms"].gt(0)
    nothing = pd.Series("", index=table.index)
    # (title, which rows, what is said of each, whether it is grave)
    kinds = [(said, table["status"].eq(status), table["reason"], status != "skipped")
             for status, said in STATUS.items()]  # fmt: skip
    kinds += [
        ("whose training is not healthy", ok & table["health"].ne(""), table["health"], True),
        (f"of {facts.timed} timed under contention (a time with no calm process is marked *)",
         busy, nothing, True),
        ("whose sources of memory disagree", doubted.ne(""), doubted, True),
    ]
    if "steady" in table:
        unsteady = ok & table["steady"].eq(0)
        kinds.append(("timed before the steps had become steady", unsteady, nothing, True))
    found = [
        Problem(f"{_cells(int(some.sum()))} {title}", _grouped(table[some], said, facts), grave)
        for title, some, said, grave in kinds
        if some.any()
    ]
    jax = _versions(sweeps, table[ok])
    if len(jax) > 1:
        title = "Not all cells ran on the same version of jax"
        rows = [(f"jax {v}", _cells(len(keys)), tuple(keys)) for v, keys in sorted(jax.items())]
        found.append(Problem(title, rows))
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


def _grouped(
    rows: pd.DataFrame, said: pd.Series, facts: Facts
) -> list[tuple[str, str, tuple[str, ...]]]:
    """One line for all cells of a way and setting of which the same is said."""
    out = []
    by = ["setting", "way", said[rows.index].rename("said").fillna("")]
    for (_, way, text), some in rows.groupby(by, sort=False, dropna=False):
        where = words(some.iloc[0], facts.varied)
        count = f" ({len(some)} runs)" if len(some) > 1 else ""
        which = f"{way}{f' at {where}' if where else ''}{count}"
        out.append((which, str(text), tuple(some["key"])))
    return sorted(out)


def _versions(sweeps: Sweeps, ran: pd.DataFrame) -> dict[str, list[str]]:
    """Version of jax -> keys of the cells that ran on it; where none is told it is no version."""
    found: dict[str, list[str]] = {}
    keys = set(ran["key"])
    for record in sweeps.records:
        version = ((record.get("provenance") or {}).get("versions") or {}).get("jax")
        if version and record["key"] in keys:
            found.setdefault(str(version), []).append(record["key"])
    return found


def _planned(cell: Mapping[str, Any]) -> str:
    names = ("algo", "batching", "model", "task", "n_hidden", "n_steps", "batch_size")
    return ", ".join(f"{n}={cell[n]}" for n in names if n in cell)
