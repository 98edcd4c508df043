"""Cells over many commits: one series per machine, cell and metric, and where its level changed.

Change points by PELT (Killick, Fearnhead and Eckley, 2012) on ranks (Lung-Yut-Fong, Levy-Leduc and
Cappe, 2015) through `ruptures`: spikes, heavy tails and nights of two speeds have ranks as tame as
any others. Nights that depend on each other, as a slow drift makes them, still look like changes: a
change point is where to look, and a duel of the two commits tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from reports.errors import InputError
from reports.records import Sweeps, read_sweeps
from reports.records.columns import SETTINGS
from reports.records.settings import variants, varying_within
from reports.records.table import frame

METRICS = ("step_time_ms", "memory_xla_mib", "etrace_mib")
LEVEL = 5  # commits that make a level
LEAST_COMMITS = 2 * LEVEL
LEAST_CHANGE = 0.03  # smaller steps are not reported, however still the series
PENALTY = 3.0  # of a change, in units of the logarithm of the number of commits


@dataclass(frozen=True)
class Change:
    """A level that moved: from the commit before to the first commit with the new level."""

    before: str
    after: str
    ratio: float


@dataclass(frozen=True)
class Series:
    """One metric of one cell on one machine.

    Args:
        points: one row a commit in order of time: commit, created, value, n (processes), keys.
    """

    machine: str
    cell: str
    metric: str
    points: pd.DataFrame
    changes: list[Change]


def sweeps_below(folders: Iterable[Path]) -> list[Path]:
    """The given sweeps and all sweeps in folders below: a history is a folder of sweeps.

    Raises:
        InputError: there are none.
    """
    found = [
        folder
        for top in folders
        for folder in sorted({top, *(c.parent for c in top.rglob("cells") if c.is_dir())})
        if (folder / "cells").is_dir()
    ]
    if not found:
        raise InputError(
            "a sweep, or a folder with sweeps below it",
            ", ".join(map(str, folders)) or "nothing",
            "Keep one folder per commit, such as history/<commit>/cells/*.json.",
        )
    return list(dict.fromkeys(found))


def read_history(folders: Iterable[Path]) -> Sweeps:
    return read_sweeps(sweeps_below(folders))


def history(sweeps: Sweeps, metrics: Iterable[str] = METRICS) -> list[Series]:
    """Every series with at least two commits, those with changes first."""
    rows = frame(sweeps.records)
    provenance = [r["provenance"] for r in sweeps.records]
    rows = rows.assign(
        commit=[
            str(p.get("commit") or "")[:10] + ("+" if p.get("dirty") else "") for p in provenance
        ],
        # Of its machine alone: with other libraries it is the same machine.
        machine=[str(p.get("machine") or p.get("fingerprint") or "") for p in provenance],
        created=[r["created"] for r in sweeps.records],
    )
    rows = rows[rows["status"].eq("ok")]
    rows = rows.assign(variant=variants(rows, _options(rows)))
    found = []
    for (machine, *values), group in rows.groupby(["machine", *SETTINGS, "variant"], dropna=False):
        cell = dict(zip([*SETTINGS, "variant"], values, strict=True))
        name = (
            f"{cell['variant']} {cell['batching']} {cell['model']} {cell['task']} "
            f"B={cell['batch_size']} H={cell['n_hidden']} T={cell['n_steps']}"
        )
        for metric in metrics:
            points = _points(group, metric)
            if len(points) >= 2:
                found.append(Series(str(machine), name, metric, points, _changes(points)))
    return sorted(found, key=lambda s: (not s.changes, s.machine, s.cell, s.metric))


def _options(rows: pd.DataFrame) -> list[str]:
    """What tells cells apart beside the main settings, at commits that know of it.

    An option that came with some commit, or went, is null at the others, and was the default there.
    """
    extras = varying_within(rows, SETTINGS)
    counts = rows.groupby(list(SETTINGS), dropna=False)[extras].nunique()
    return [c for c in extras if counts[c].gt(1).any()]


def change_points(values: np.ndarray) -> list[int]:
    """Indices at which a new level starts.

    Args:
        values: [N] numbers in order of time.
    """
    n = len(values)
    if n < LEAST_COMMITS or np.ptp(values) == 0:
        return []
    import ruptures

    search = ruptures.Pelt("rank", min_size=LEVEL, jump=1).fit(np.asarray(values, float)[:, None])
    return [int(end) for end in search.predict(pen=PENALTY * np.log(n))[:-1]]


def _points(group: pd.DataFrame, metric: str) -> pd.DataFrame:
    usable = group[group[metric].gt(0)]
    by = usable.groupby("commit", sort=False)
    points = pd.DataFrame(
        {
            "created": by["created"].min(),
            "value": by[metric].median(),
            "n": by.size(),
            "keys": by["key"].agg(list),
        }
    )
    return points.sort_values("created").reset_index()


def _changes(points: pd.DataFrame) -> list[Change]:
    values = points["value"].to_numpy(dtype=float)
    starts = change_points(values)
    edges = [0, *starts, len(values)]
    changes = []
    for i, start in enumerate(starts):
        ratio = float(np.median(values[start : edges[i + 2]]) / np.median(values[edges[i] : start]))
        if abs(np.log(ratio)) >= np.log1p(LEAST_CHANGE):
            changes.append(
                Change(str(points["commit"][start - 1]), str(points["commit"][start]), ratio)
            )
    return changes
