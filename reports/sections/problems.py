"""Failures, health warnings, missing and unreadable records."""

from __future__ import annotations

from typing import Any

from reports import document as d
from reports.records import asked
from reports.records.columns import SIZES
from reports.study import Study


def problems(study: Study) -> d.Section:
    table, sweeps = study.table, study.sweeps
    failed = table[~table["status"].isin(["ok"])]
    sick = table[table["health"].ne("") & table["status"].eq("ok")]
    doubted = table.assign(disagreement=table["key"].map(study.disagreements))
    doubted = doubted[doubted["disagreement"].notna()]
    disturbed = table[table["shared_with"].gt(0) & table["status"].eq("ok")]
    blocks: list[d.Block] = []
    which = [c for c in ("backend", "model", "task") if table[c].nunique() > 1]
    label = ["variant", *which, "batching", "batch_size", "n_hidden", "n_steps", "seed", "repeat"]
    head = ["variant", *which, "batching", "B", "H", "T", "seed", "repeat"]
    for title, rows, column in (
        ("Cells without a result", failed, "reason"),
        ("Health warnings", sick, "health"),
        ("Sources of memory that disagree", doubted, "disagreement"),
        ("Timed beside other cells on the same device", disturbed, "shared_with"),
    ):
        if len(rows):
            shown = rows.head(200)
            blocks += [
                d.Heading(title),
                d.Table(
                    [*head, "status", column, "key"],
                    [
                        [
                            *(_cell(row[c]) for c in label),
                            row["status"],
                            _cell(row[column]) or "–",
                            row["key"],
                        ]
                        for _, row in shown.iterrows()
                    ],
                    caption=f"The first 200 of {len(rows)}." if len(rows) > 200 else "",
                ),
            ]
    if sweeps.missing:
        blocks += [
            d.Heading("Planned cells that have no record"),
            d.Words("The sweep was interrupted, or is still running; the same command resumes it."),
            d.Table(
                ["key", *SIZES],
                [[c["key"], *(str(c.get(s, "–")) for s in SIZES)] for c in sweeps.missing[:50]],
            ),
        ]
    if sweeps.corrupt:
        blocks += [
            d.Heading("Files that are not records"),
            d.Table(["file", "problem"], [[str(file), why] for file, why in sweeps.corrupt]),
        ]
    if not blocks:
        blocks = [d.Words(f"None: every cell gave a result{_of_health(study)}")]
    return d.Section(
        "problems",
        "Problems",
        blocks,
        alert=len(failed[failed["status"].ne("skipped")])
        + len(sick)
        + len(doubted)
        + len(disturbed)
        + len(sweeps.corrupt),
    )


def _of_health(study: Study) -> str:
    measured = sum(asked(r, "health") for r in study.sweeps.records)
    if measured == 0:
        return ". Health was not measured (metric left it out)."
    some = f" (measured in {measured} of {len(study.sweeps.records)} cells)"
    return " and no health check spoke up" + some * (measured < len(study.sweeps.records)) + "."


def _cell(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "–" if value is None or value != value or str(value) == "<NA>" else str(value)
