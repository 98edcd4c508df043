"""The table of all cells as data; app.js sorts and filters it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from reports.records.columns import heading

FILTERS = ("variant", "batching", "batch_size", "n_hidden", "n_steps", "device", "backend",
           "status")  # fmt: skip
SHOWN = (
    "variant", "backend", "model", "batching", "batch_size", "n_hidden", "n_steps", "status",
    "time_vs_bptt", "step_time_ms", "memory_peak_mib", "memory_xla_mib", "etrace_mib",
    "grad_cosine", "grad_rel_error", "test_accuracy", "accuracy", "loss_final", "lr", "compile_s",
    "limit_ratio", "firing_rate", "health", "reason", "task", "n_layers", "seed", "repeat",
    "device", "machine", "contended", "key",
)  # fmt: skip
_TITLES = {"variant": "algorithm", "batch_size": "B", "n_hidden": "H", "n_steps": "T",
           "lr": "learning rate"}  # fmt: skip


@dataclass(frozen=True)
class Results:
    """All rows.

    Args:
        columns: (name, title, whether it is a number) of what is shown.
        filters: (name, title, its values).
        json: the rows, as it may stand in a script element.
    """

    count: int
    columns: Sequence[tuple[str, str, bool]]
    filters: Sequence[tuple[str, str, Sequence[str]]]
    json: Markup


def results(table: pd.DataFrame) -> Results:
    """The table of all cells: columns that say something, and a filter for each setting."""
    shown = [c for c in SHOWN if c in FILTERS or _says_something(table, c)]
    numeric = [pd.api.types.is_numeric_dtype(table[c]) for c in shown]
    rows = table[shown].to_json(orient="split", index=False, double_precision=15)
    titles = {c: _TITLES.get(c) or heading(c) for c in shown}
    return Results(
        count=len(table),
        columns=[(c, titles[c], n) for c, n in zip(shown, numeric, strict=True)],
        filters=[(c, titles[c], _values(table[c])) for c in FILTERS],
        # Inside a script element only "<" can end the data early; JSON may spell it otherwise.
        json=Markup(rows.replace("<", "\\u003c")),
    )


def _values(column: pd.Series) -> list[str]:
    values = column.dropna().unique().tolist()
    return [str(v) for v in sorted(values, key=lambda v: (isinstance(v, str), v))]


def _says_something(table: pd.DataFrame, name: str) -> bool:
    if name not in table or not table[name].notna().any():
        return False
    if name in ("machine", "contended", "lr"):
        return table[name].nunique(dropna=False) > 1
    return not table[name].astype(str).eq("").all()
