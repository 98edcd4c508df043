"""Which columns are settings, and what tells cells apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from reports.records.columns import SETTINGS
from reports.text import short

# Where a sweep lives, how it was launched and how long its parts were measured are not settings.
_NOT_SETTINGS = frozenset(
    {
        "seed",
        "repeat",
        "repeats",
        "out",
        "resume",
        "plan",
        "plot",
        "report",
        "experiment",
        "question",
        "cases",
        "hydra",
        "limits",
        "metric",
    }
)


def is_setting(column: str) -> bool:
    """Whether a column is a configuration leaf that may change what a cell measures."""
    parts = column.split(".")
    return parts[0] == "cfg" and parts[1] not in _NOT_SETTINGS


def varying_within(table: pd.DataFrame, by: Sequence[str]) -> list[str]:
    """Settings and configuration leaves that take several values inside one group of `by`."""
    if table.empty:
        return []
    candidates = [
        c
        for c in table.columns
        if (c in SETTINGS or is_setting(c)) and c not in by and table[c].nunique(dropna=False) > 1
    ]
    if not candidates:
        return []
    counts = table.groupby(list(by), dropna=False)[candidates].nunique(dropna=False)
    return [c for c in candidates if (counts[c] > 1).any()]


def variants(table: pd.DataFrame, extras: Iterable[str]) -> list[str]:
    """The algorithm of each row with every further setting that tells cells apart."""
    names = table["algo"].astype(str).tolist()
    for column in extras:
        leaf = column.rsplit(".", 1)[-1]
        # A leaf that only other algorithms have says nothing about this one.
        names = [
            name
            if value is None or value is pd.NA or value != value
            else f"{name} {leaf}={short(value)}"
            for name, value in zip(names, table[column], strict=True)
        ]
    return names
