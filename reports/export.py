"""Results in the formats of other tools: github-action-benchmark, Bencher, pytest-benchmark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

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
    """github-action-benchmark, ``tool: customSmallerIsBetter``: [{name, unit, value, range,
    extra}].
    """
    entries = []
    for name, rows in cells(sweeps):
        for metric, found in _values(rows):
            wide = {"range": f"± {(found.high - found.low) / 2:.3g}"}
            entries.append({
                "name": f"{name} {metric}", "unit": describe(metric).unit, "value": found.centre,
                "extra": f"{len(rows)} process(es)", **(wide if found.high > found.low else {}),
            })  # fmt: skip
    return _json(_filled(entries))


def bencher(sweeps: Sweeps) -> str:
    """Bencher Metric Format: {name: {measure: {value, lower_value, upper_value}}}."""
    out: dict[str, dict[str, dict[str, float]]] = {}
    for name, rows in cells(sweeps):
        for metric, found in _values(rows):
            wide = {"lower_value": found.low, "upper_value": found.high}
            out.setdefault(name, {})[METRICS[metric]] = {
                "value": found.centre, **(wide if found.high > found.low else {})
            }  # fmt: skip
    return _json(_filled(out))


def pytest_benchmark(sweeps: Sweeps) -> str:
    """The JSON of pytest-benchmark; lay it under STORAGE/<platform>/0001_name.json to compare."""
    newest = sweeps.records[-1]
    place, created = newest["provenance"], newest["created"]
    python, processor = (str(place.get(name, "")) for name in ("python", "processor"))
    by_key = {record["key"]: record for record in sweeps.records}
    entries = [_benchmark(name, rows, by_key) for name, rows in cells(sweeps)]
    machine = {
        "node": str(place.get("fingerprint", "")), "processor": processor,
        **dict.fromkeys(("machine", "system", "release", "python_compiler"), ""),
        "python_version": python, "python_implementation": "CPython", "python_build": [],
        "python_implementation_version": python,
        "cpu": {"brand_raw": processor, "count": place.get("cores")},
    }  # fmt: skip
    commit = {
        "id": str(place.get("commit", "")), "time": created, "author_time": created,
        "project": "etrace-bench", "branch": "", "dirty": bool(place.get("dirty")),
    }  # fmt: skip
    return _json({
        "machine_info": machine, "commit_info": commit, "datetime": created, "version": "5.1.0",
        "benchmarks": _filled([entry for entry in entries if entry]),
    })  # fmt: skip


FORMATS = {"github": github, "bencher": bencher, "pytest-benchmark": pytest_benchmark}


def cells(sweeps: Sweeps) -> Iterator[tuple[str, pd.DataFrame]]:
    """(name, rows of its ok processes) of each cell, the newest measurement of each process.

    Names hold every main setting, whether it varies here or not, so that they last.
    """
    machines = [str(r["provenance"].get("machine") or r["provenance"].get("fingerprint") or "")[:8]
                for r in sweeps.records]  # fmt: skip
    table = frame(sweeps.records).assign(machine=machines)
    table = table[table["status"].eq("ok")]
    extras = varying_within(table, SETTINGS)
    extras += ["machine"] if table["machine"].nunique() > 1 else []
    table = table.drop_duplicates([*SETTINGS, *extras, "seed", "repeat"], keep="last")
    table = table.assign(variant=variants(table, extras))
    for _, rows in table.groupby([*SETTINGS, "variant"], dropna=False, sort=False):
        yield ("{model}/{task}/{variant}/{batching}/{backend}/{device}"
               "/B{batch_size}/H{n_hidden}/T{n_steps}".format(**rows.iloc[0])), rows  # fmt: skip


def _values(rows: pd.DataFrame) -> Iterator[tuple[str, Interval]]:
    for metric in METRICS:
        values = rows[metric].dropna()
        if len(values):
            found = interval(values, own_ends(rows, metric))
            yield metric, found._replace(centre=float(values.median()))


def _benchmark(name: str, rows: pd.DataFrame, by_key: dict[str, Any]) -> dict[str, Any] | None:
    """One entry, its statistics from the samples in seconds, or from the medians without any.

    None without a time: pytest-benchmark knows no empty entry.
    """
    samples = [s for key in rows["key"] for s in by_key[key]["samples"].get("step_time_ms", [])]
    seconds = np.array(samples or rows["step_time_ms"].tolist(), dtype=float) / 1e3
    seconds = seconds[np.isfinite(seconds) & (seconds > 0)]
    if not len(seconds):
        return None
    q1, middle, q3 = np.quantile(seconds, [0.25, 0.5, 0.75])
    mean, spread = seconds.mean(), float(seconds.std(ddof=1)) if len(seconds) > 1 else 0.0
    outside = int((np.abs(seconds - mean) > spread).sum())
    far = (seconds < q1 - 1.5 * (q3 - q1)) | (seconds > q3 + 1.5 * (q3 - q1))
    return {
        "group": None, "name": name, "fullname": f"cells::{name}", "params": None, "param": None,
        "extra_info": {"keys": rows["key"].tolist()},
        "options": {"disable_gc": False, "timer": "perf_counter", "min_rounds": 1,
                    "max_time": 1.0, "min_time": 0.0, "warmup": True},
        "stats": {
            "min": seconds.min(), "max": seconds.max(), "mean": mean, "stddev": spread,
            "rounds": len(seconds), "median": middle, "iqr": q3 - q1, "q1": q1, "q3": q3,
            "iqr_outliers": int(far.sum()), "stddev_outliers": outside,
            "outliers": f"{outside};{int(far.sum())}", "ld15iqr": seconds[~far].min(),
            "hd15iqr": seconds[~far].max(), "ops": 1 / mean, "total": seconds.sum(),
            "data": seconds.tolist(), "iterations": 1,
        },
    }  # fmt: skip


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def _filled(entries: Any) -> Any:
    if not entries:
        raise InputError(
            "at least one ok cell with a time or a memory figure", "none",
            "An export without values would erase a series; fix the sweep first.",
        )  # fmt: skip
    return entries
