"""Cells over many commits: one series per machine, cell and metric, and where its level changed.

Change points by PELT (Killick, Fearnhead and Eckley, 2012) on ranks (Lung-Yut-Fong, Levy-Leduc and
Cappe, 2015) through `ruptures`: spikes, heavy tails and nights of two speeds have ranks as tame as
any others. Nights that depend on each other, as a slow drift makes them, still look like changes: a
change point is where to look, and a duel of the two commits tells.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from reports.errors import InputError
from reports.records import Sweeps, frame
from reports.records.columns import SETTINGS
from reports.records.settings import variants, varying_within

METRICS = ("step_time_ms", "memory_xla_mib", "etrace_mib")
LEVEL = 5  # commits that make a level
LEAST_COMMITS = 2 * LEVEL
LEAST_CHANGE = 0.03  # smaller steps are not reported, however still the series
PENALTY = 3.0  # of a change, in units of the logarithm of the number of commits


class Change(NamedTuple):
    """A level that moved: from the commit before to the first commit with the new level."""

    before: str
    after: str
    ratio: float


@dataclass(frozen=True)
class History:
    """One metric of one cell on one machine.

    Args:
        points: one row a commit in order of time: commit, created, value, n (processes).
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
    tops = list(folders)
    cells = [c for top in tops for c in sorted({top / "cells", *top.rglob("cells")}) if c.is_dir()]
    if not cells:
        raise InputError(
            "a sweep, or a folder with sweeps below it", ", ".join(map(str, tops)) or "nothing",
            "Keep one folder per commit, such as history/<commit>/cells/*.json.",
        )  # fmt: skip
    return list(dict.fromkeys(found.parent for found in cells))


def history(sweeps: Sweeps, metrics: Iterable[str] = METRICS) -> list[History]:
    """Every series with at least two commits, those with changes first."""
    places = [r["provenance"] for r in sweeps.records]
    rows = frame(sweeps.records).assign(
        commit=[str(p.get("commit") or "")[:10] + ("+" if p.get("dirty") else "") for p in places],
        # Of its machine alone: with other libraries it is the same machine.
        machine=[str(p.get("machine") or p.get("fingerprint") or "") for p in places],
        created=[r["created"] for r in sweeps.records],
    )
    rows = rows[rows["status"].eq("ok")]
    # An option that came with some commit, or went, is null at the others: it was its default.
    rows = rows.assign(variant=variants(rows, varying_within(rows, SETTINGS, null_counts=False)))
    found = []
    for (machine, *_), group in rows.groupby(["machine", *SETTINGS, "variant"], dropna=False):
        name = ("{variant} {batching} {model} {task} B={batch_size} H={n_hidden} T={n_steps}"
                .format(**group.iloc[0]))  # fmt: skip
        for metric in metrics:
            points = _points(group, metric)
            if len(points) >= 2:
                found.append(History(machine, name, metric, points, _changes(points)))
    return sorted(found, key=lambda s: (not s.changes, s.machine, s.cell, s.metric))


def _points(group: pd.DataFrame, metric: str) -> pd.DataFrame:
    points = group[group[metric].gt(0)].groupby("commit", sort=False).agg(
        created=("created", "min"), value=(metric, "median"), n=("key", "size")
    )  # fmt: skip
    return points.sort_values("created").reset_index()


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


def _changes(points: pd.DataFrame) -> list[Change]:
    values, commits = points["value"].to_numpy(dtype=float), points["commit"].tolist()
    edges = [0, *change_points(values), len(values)]
    levels = [np.median(values[start:end]) for start, end in itertools.pairwise(edges)]
    ratios = [float(after / before) for before, after in itertools.pairwise(levels)]
    return [Change(commits[start - 1], commits[start], ratio)
            for start, ratio in zip(edges[1:-1], ratios, strict=True)
            if abs(np.log(ratio)) >= np.log1p(LEAST_CHANGE)]  # fmt: skip
