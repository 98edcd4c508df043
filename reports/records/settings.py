"""What tells cells apart: which columns are settings, and their values with all their digits.

Two cells are one when every setting has the same whole value. Shortened ones are for display only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from reports.records.columns import SETTINGS
from reports.text import short

# Where a sweep lives, how it was launched, how long its parts were measured, and how much a contest
# tries are not settings; seeds and repeats are replications of one cell.
_NO_SETTING = {"seed", "repeat", "repeats", "out", "resume", "plan", "plot", "report", "experiment",
               "question", "cases", "hydra", "limits", "metric", "tune", "tuned"}  # fmt: skip


def settings(table: pd.DataFrame) -> list[str]:
    """The columns that make two rows different cells."""
    options = [c for c in table if c.startswith("cfg.") and c.split(".")[1] not in _NO_SETTING]
    return [*SETTINGS, *(c for c in options if c[4:] not in SETTINGS)]


def varying_within(table: pd.DataFrame, by: Sequence[str]) -> list[str]:
    """Settings and configuration leaves that take several values inside one group of `by`, null
    being one.
    """
    candidates = [c for c in settings(table)
                  if c not in by and table[c].nunique(dropna=False) > 1]  # fmt: skip
    if not candidates:
        return []
    counts = table.groupby(list(by), dropna=False)[candidates].nunique(dropna=False)
    return [c for c in candidates if (counts[c] > 1).any()]


def whole(value: Any) -> str:
    """A value as text that no other value has: all its digits; 1 and 1.0 are one, null is empty."""
    if value is None or value is pd.NA or value != value:
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**63 else repr(float(value))
    return str(value)


def identities(table: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """A tuple of whole values for each row; rows of one cell have the same, on any machine."""
    columns = [[whole(value) for value in table[name].tolist()] for name in by]
    return pd.Series(list(zip(*columns, strict=True)), index=table.index, dtype=object)


def labels(values: Iterable[Any]) -> dict[str, str]:
    """Whole value -> three significant figures, or as many as keep these values apart."""
    found = {whole(value): value for value in values}
    for digits in range(3, 18):
        texts = {name: short(value, digits) for name, value in found.items()}
        if len(set(texts.values())) == len(texts):
            return texts
    return {name: name for name in found}


def option_names(columns: Sequence[str]) -> Mapping[str, str]:
    """Column -> as much of the end of its path as no other of the columns shares."""
    parts = [f".{column}".split(".") for column in columns]
    ends = [[".".join(some[-n:]) for n in range(1, len(some) + 1)] for some in parts]
    return {column: next(end for end in own if sum(end in other for other in ends) == 1).strip(".")
            for column, own in zip(columns, ends, strict=True)}  # fmt: skip


def variants(table: pd.DataFrame, extras: Iterable[str]) -> list[str]:
    """The algorithm of each row with every further setting that tells cells apart, for display."""
    names = table["algo"].astype(str).tolist()
    extras = list(extras)
    for column, leaf in option_names(extras).items():
        values = [whole(value) for value in table[column].tolist()]
        shown = labels(table[column].dropna().unique().tolist())
        # A leaf that only other algorithms have says nothing about this one.
        names = [f"{name} {leaf}={shown[value]}" if value else name
                 for name, value in zip(names, values, strict=True)]  # fmt: skip
    return names
