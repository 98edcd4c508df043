"""The table of all cells as data; app.js sorts and searches it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from reports.records.columns import heading

SHOWN = (
    "variant", "backend", "model", "batching", "batch_size", "n_hidden", "n_steps", "status",
    "time_vs_bptt", "step_time_ms", "latency_p50_us", "memory_peak_mib", "memory_xla_mib",
    "etrace_mib", "grad_cosine", "grad_rel_error", "test_accuracy", "accuracy", "test_r2", "r2",
    "loss_final", "lr", "compile_s", "limit_ratio", "firing_rate", "health", "reason", "task",
    "n_layers", "seed", "repeat", "device", "machine", "contended", "key",
)  # fmt: skip
ALWAYS = SHOWN[:8]
IF_VARIED = ("machine", "contended", "lr")
_TITLES = {"variant": "algorithm", "batch_size": "B", "n_hidden": "H", "n_steps": "T",
           "lr": "learning rate"}  # fmt: skip


@dataclass(frozen=True)
class Results:
    """All rows.

    Args:
        columns: (name, title, whether it is a number) of what is shown.
        json: the rows, as they may stand in a script element.
    """

    count: int
    columns: Sequence[tuple[str, str, bool]]
    json: Markup


def results(table: pd.DataFrame) -> Results:
    """The table of all cells, with the columns that say something."""
    shown = [c for c in SHOWN if c in ALWAYS or (c in table and _says_something(table[c]))]
    numeric = [pd.api.types.is_numeric_dtype(table[c]) for c in shown]
    rows = table[shown].to_json(orient="split", index=False, double_precision=15)
    return Results(
        count=len(table),
        columns=[(c, _TITLES.get(c) or heading(c), n) for c, n in zip(shown, numeric, strict=True)],
        # Inside a script element only "<" can end the data early; JSON may spell it otherwise.
        json=Markup(rows.replace("<", "\\u003c")),
    )


def _says_something(column: pd.Series) -> bool:
    if column.name in IF_VARIED:
        return bool(column.nunique(dropna=False) > 1)
    return bool((column.notna() & column.astype(str).ne("")).any())
