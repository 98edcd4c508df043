"""What to know before believing a number: cells that failed, training that is not healthy, times
that were disturbed, files that could not be read.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from reports.judge.cost import ODD, UNKNOWN_BAR
from reports.judge.facts import Facts, Setting, Way
from reports.judge.rows import words
from reports.records import Sweeps
from reports.text import plural, short

STATUS = {"oom": "out of memory", "timeout": "out of time", "crashed": "crashed",
          "invalid": "invalid", "skipped": "skipped"}  # fmt: skip
Rows = list[tuple[str, str, tuple[str, ...]]]  # which, what, keys


@dataclass(frozen=True)
class Problem:
    """One kind of problem."""

    title: str  # what it is, with its count
    rows: Rows  # one for each group of cells that share it
    grave: bool = True  # it counts among the problems, rather than being by design


def problems(table: pd.DataFrame, sweeps: Sweeps, facts: Facts) -> list[Problem]:
    """All there are, the gravest first."""
    ok = table["status"].eq("ok")
    doubt = {r["key"]: str(r["memory"].get("disagreement") or "") for r in sweeps.records}
    table = table.assign(doubt=table["key"].map(doubt), nothing="")
    timed = ok & table["step_time_ms"].gt(0)
    contended = f"of {timed.sum()} timed under contention (a time with no calm process is marked *)"
    # (title, which rows, the column that says what of each)
    kinds = [
        *((said, table["status"].eq(status), "reason") for status, said in STATUS.items()),
        ("whose training is not healthy", ok & table["health"].ne(""), "health"),
        (contended, timed & table["contended"], "nothing"),
        ("whose sources of memory disagree", table["doubt"].ne(""), "doubt"),
        ("timed before the steps had become steady", ok & table["steady"].eq(0), "nothing"),
    ]
    found = [Problem(f"{plural(int(some.sum()), 'cell')} {title}",
                     _grouped(table[some], column, facts), title != STATUS["skipped"])
             for title, some, column in kinds if some.any()]  # fmt: skip
    versions = _differing(table[ok].get("env.versions", table.loc[ok, "nothing"]))
    ways = [(f"{w.name}{f' at {s.name}' if s.name else ''}", s, w)
            for s in facts.settings for w in s.ways]  # fmt: skip
    odd: Rows = [(which, f"{w.time.odd} of {w.time.odd + w.time.n} processes left out" if w.time.odd
                  else f"{short(w.time.ms.low)} and {short(w.time.ms.high)} ms", ())
                 for which, _, w in ways
                 if w.time and (w.time.odd or np.ptp(w.time.logs) > np.log(ODD))]  # fmt: skip
    apart: Rows = [(which, told, ()) for which, s, w in ways if (told := _at_odds(s, w))]
    rest: list[tuple[str, Rows]] = [
        ("Not all cells ran on the same versions of the libraries",
         [(told, plural(len(keys), "cell"), tuple(keys))
          for told, keys in table[ok]["key"].groupby(versions) if told]),
        ("Processes of one cell of which one took over twice the time of another", odd),
        ("Times that say something else than the ratio to BPTT's by turns, which counts: the "
         "machine ran at other speeds", apart),
        (f"{plural(len(sweeps.missing), 'cell')} planned but not run yet; the same command resumes",
         [(_planned(c), "", (str(c["key"]),)) for c in sweeps.missing[:50]]),
        (f"{plural(len({f for f, _ in sweeps.corrupt}), 'file')} left out, whole or in part",
         # A path may hold bytes that no text does.
         [(os.fsencode(file).decode(errors="replace"), why, ()) for file, why in sweeps.corrupt]),
    ]  # fmt: skip
    return found + [Problem(title, rows) for title, rows in rest if rows]


def _at_odds(setting: Setting, way: Way) -> str:
    """A way's ratio to BPTT's by turns, and by processes of their own, where they differ much."""
    bptt = next((w for w in setting.ways if w.against and w.time and not w.time.ratios), None)
    if not (bptt and way.against) or way.contended or bptt.contended:
        return ""
    own = way.ms / bptt.ms
    if abs(np.log(own / way.against.centre)) <= np.log1p(UNKNOWN_BAR):
        return ""
    return f"{short(way.against.centre)} by turns, {short(own)} by processes of their own"


def _differing(versions: pd.Series) -> pd.Series:
    """Of each cell's libraries, as "jax 0.10.2, numpy 2.4.6", those of which others had another."""
    told = versions.astype(object).str.split(", ")
    kinds = Counter(part.split(" ")[0] for part in set(told.explode()))
    return told.map(lambda parts: ", ".join(p for p in parts if kinds[p.split(" ")[0]] > 1))


def _grouped(rows: pd.DataFrame, column: str, facts: Facts) -> Rows:
    """One line for all cells of a way and setting of which the same is said."""
    out = []
    for (_, way, text), some in rows.fillna({column: ""}).groupby(["setting", "way", column]):
        where = words(some.iloc[0], facts.varied)
        count = f" ({len(some)} runs)" if len(some) > 1 else ""
        which = f"{way}{f' at {where}' if where else ''}{count}"
        out.append((which, str(text), tuple(some["key"])))
    return sorted(out)


def _planned(cell: Mapping[str, Any]) -> str:
    names = ("algo", "batching", "model", "task", "n_hidden", "n_steps", "batch_size")
    return ", ".join(f"{n}={cell[n]}" for n in names if n in cell)
