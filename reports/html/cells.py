"""The table of all cells: its data as JSON, its filters; html/app.js brings it to life."""

from __future__ import annotations

import json

import pandas as pd

from reports.html.elements import Html, tag
from reports.records.columns import heading

FILTERS = (
    "variant",
    "batching",
    "batch_size",
    "n_hidden",
    "n_steps",
    "device",
    "backend",
    "status",
)
SHOWN = (
    "variant", "backend", "model", "batching", "batch_size", "n_hidden", "n_steps", "status",
    "step_time_ms",
    "timesteps_per_s", "memory_peak_mib", "memory_xla_mib", "etrace_mib", "grad_cosine",
    "grad_rel_error", "test_accuracy", "accuracy", "loss_final", "compile_s", "limit_ratio",
    "firing_rate", "health", "memory_doubt", "reason", "task", "n_layers", "seed", "repeat",
    "device", "key",
)  # fmt: skip
_TITLES = {"variant": "algorithm", "batch_size": "B", "n_hidden": "H", "n_steps": "T",
           "memory_doubt": "sources of memory disagree"}  # fmt: skip


def results(table: pd.DataFrame) -> Html:
    """Filters, a search field, the table's frame, and its rows as data for the script."""
    shown = [c for c in SHOWN if c in FILTERS or _says_something(table, c)]
    return tag(
        "div",
        tag(
            "form",
            (_filter(table, name) for name in FILTERS),
            tag(
                "label",
                "search",
                tag(
                    "input",
                    type="search",
                    name="search",
                    placeholder="any text",
                    autocomplete="off",
                ),
            ),
            tag("button", "Show all", type="reset"),
            class_="filters",
            autocomplete="off",
        ),
        tag("p", f"{len(table)} cells", class_="shown", role="status", aria_live="polite"),
        tag(
            "div",
            tag(
                "table",
                tag(
                    "thead",
                    tag(
                        "tr",
                        (
                            tag(
                                "th",
                                tag("button", _title(name), type="button"),
                                scope="col",
                                data_column=name,
                                aria_sort="none",
                                class_="num" if _numeric(table, name) else None,
                            )
                            for name in shown
                        ),
                    ),
                ),
                tag("tbody"),
                class_="results",
            ),
            class_="scroll tall",
            tabindex="0",
            role="region",
            aria_label="All cells",
        ),
        tag("p", tag("button", "Show more", type="button", class_="more", hidden=True)),
        tag(
            "noscript",
            tag("p", "Sorting and filtering need JavaScript; results.csv has every row."),
        ),
        tag("script", _json(table, shown), type="application/json", class_="data"),
        class_="cells",
    )


def _filter(table: pd.DataFrame, name: str) -> Html:
    values = sorted(table[name].dropna().unique().tolist(), key=lambda v: (isinstance(v, str), v))
    return tag(
        "label",
        _title(name),
        tag(
            "select",
            tag("option", "all", value=""),
            (tag("option", str(v) or "(none)", value=str(v)) for v in values),
            name=name,
            disabled=len(values) < 2,
        ),
    )


def _title(name: str) -> str:
    return _TITLES.get(name) or heading(name)


def _numeric(table: pd.DataFrame, name: str) -> bool:
    return pd.api.types.is_numeric_dtype(table[name])


def _says_something(table: pd.DataFrame, name: str) -> bool:
    return (
        name in table
        and bool(table[name].notna().any())
        and not table[name].astype(str).eq("").all()
    )


def _json(table: pd.DataFrame, shown: list[str]) -> Html:
    columns = [
        [
            None if v is pd.NA or v != v else float(f"{v:.5g}") if isinstance(v, float) else v
            for v in table[name].tolist()
        ]
        for name in shown
    ]
    text = json.dumps(
        {
            "columns": shown,
            "numeric": [_numeric(table, c) for c in shown],
            "rows": list(zip(*columns, strict=True)),
        },
        separators=(",", ":"),
    )
    # Inside a script element only "<" can end the data early; JSON may spell it otherwise.
    return Html(text.replace("<", "\\u003c"))
