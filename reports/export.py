"""Results as JSON for the tools that plot them over commits: github-action-benchmark, Bencher."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from reports.errors import InputError
from reports.records import Sweeps, frame
from reports.records.columns import SETTINGS, describe
from reports.records.settings import variants, varying_within
from reports.stats import Interval, interval, own_ends

# Smaller is better in all of them, as github-action-benchmark's customSmallerIsBetter wants.
# Bencher's measures have slugs of its own making; these are ours.
METRICS = {
    "step_time_ms": "step-time-ms",
    "memory_xla_mib": "memory-xla-mib",
    "etrace_mib": "eligibility-trace-mib",
}


def github(sweeps: Sweeps) -> str:
    """``tool: customSmallerIsBetter``: [{name, unit, value, range, extra}]."""
    entries: list[dict[str, Any]] = []
    for name, metric, found, processes in _values(sweeps):
        entry = {"name": f"{name} {metric}", "unit": describe(metric).unit,
                 "value": found.centre, "extra": f"{processes} process(es)"}  # fmt: skip
        if found.high > found.low:
            entry["range"] = f"± {(found.high - found.low) / 2:.3g}"
        entries.append(entry)
    return json.dumps(entries, indent=1, allow_nan=False) + "\n"


def bencher(sweeps: Sweeps) -> str:
    """Bencher Metric Format: {name: {measure: {value, lower_value, upper_value}}}."""
    out: dict[str, dict[str, dict[str, float]]] = {}
    for name, metric, found, _ in _values(sweeps):
        measure = out.setdefault(name, {})[METRICS[metric]] = {"value": found.centre}
        if found.high > found.low:
            measure |= {"lower_value": found.low, "upper_value": found.high}
    return json.dumps(out, indent=1, allow_nan=False) + "\n"


FORMATS = {"github": github, "bencher": bencher}


def _values(sweeps: Sweeps) -> Iterator[tuple[str, str, Interval, int]]:
    """(cell, metric, its median and interval, processes) over the ok processes of each cell.

    Names hold every main setting, whether it varies here or not, so that they last. Of a process
    that was measured again the newest counts.
    """
    machines = [str(r["provenance"].get("machine") or r["provenance"].get("fingerprint") or "")[:8]
                for r in sweeps.records]  # fmt: skip
    table = frame(sweeps.records).assign(machine=machines)
    table = table[table["status"].eq("ok")]
    if table[list(METRICS)].isna().all(axis=None):
        raise InputError(
            "at least one ok cell with a time or a memory figure", "none",
            "An export without values would erase a series; fix the sweep first.",
        )  # fmt: skip
    extras = varying_within(table, SETTINGS)
    extras += ["machine"] if table["machine"].nunique() > 1 else []
    table = table.drop_duplicates([*SETTINGS, *extras, "seed", "repeat"], keep="last")
    table = table.assign(variant=variants(table, extras))
    for _, rows in table.groupby([*SETTINGS, "variant"], dropna=False, sort=False):
        name = ("{model}/{task}/{variant}/{batching}/{backend}/{device}"
                "/B{batch_size}/H{n_hidden}/T{n_steps}").format(**rows.iloc[0])  # fmt: skip
        for metric in METRICS:
            if len(values := rows[metric].dropna()):
                found = interval(values, own_ends(rows, metric))
                yield name, metric, found._replace(centre=float(values.median())), len(rows)
