"""Results in the formats of other tools: github-action-benchmark, Bencher, pytest-benchmark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from reports.errors import InputError
from reports.records.columns import describe
from reports.study import Study

# Smaller is better in all of them, as github-action-benchmark's customSmallerIsBetter wants.
METRICS = ("step_time_ms", "memory_xla_mib", "etrace_mib")
# Bencher's measures have slugs of its own making; these are ours.
_SLUGS = {
    "step_time_ms": "step-time-ms",
    "memory_xla_mib": "memory-xla-mib",
    "etrace_mib": "eligibility-trace-mib",
}


def cell_name(study: Study, cell: pd.Series) -> str:
    """A stable name: every main setting, whether it varies here or not, so that names last."""
    return (
        f"{cell['model']}/{cell['task']}/{cell['variant']}/{cell['batching']}/{cell['backend']}"
        f"/{cell['device']}/B{cell['batch_size']}/H{cell['n_hidden']}/T{cell['n_steps']}"
    )


def github(study: Study) -> str:
    """github-action-benchmark, ``tool: customSmallerIsBetter``: [{name, unit, value, range,
    extra}].
    """
    entries = []
    for cell, name, metric, value, low, high in _values(study):
        entry: dict[str, Any] = {
            "name": f"{name} {metric}",
            "unit": describe(metric).unit,
            "value": value,
            "extra": f"{cell['n']} process(es)",
        }
        if high > low:
            entry["range"] = f"± {(high - low) / 2:.3g}"
        entries.append(entry)
    return json.dumps(_filled(entries), indent=1) + "\n"


def bencher(study: Study) -> str:
    """Bencher Metric Format: {name: {measure: {value, lower_value, upper_value}}}."""
    out: dict[str, dict[str, dict[str, float]]] = {}
    for _, name, metric, value, low, high in _values(study):
        measure = {"value": value}
        if high > low:
            measure |= {"lower_value": low, "upper_value": high}
        out.setdefault(name, {})[_SLUGS[metric]] = measure
    return json.dumps(_filled(out), indent=1) + "\n"


def pytest_benchmark(study: Study) -> str:
    """The JSON of pytest-benchmark; lay it under STORAGE/<platform>/0001_name.json to compare."""
    first = study.sweeps.records[-1]
    provenance = first.get("provenance") or {}
    benchmarks = [
        _benchmark(study, cell)
        for _, cell in study.cells.iterrows()
        if cell["step_time_ms"] == cell["step_time_ms"]
    ]
    return (
        json.dumps(
            {
                "machine_info": {
                    "node": str(provenance.get("fingerprint", "")),
                    "processor": str(provenance.get("processor", "")),
                    "machine": "",
                    "system": "",
                    "release": "",
                    "python_version": str(provenance.get("python", "")),
                    "python_implementation": "CPython",
                    "python_compiler": "",
                    "python_build": [],
                    "python_implementation_version": str(provenance.get("python", "")),
                    "cpu": {
                        "brand_raw": str(provenance.get("processor", "")),
                        "count": provenance.get("cores"),
                    },
                },
                "commit_info": {
                    "id": str(provenance.get("commit", "")),
                    "time": first.get("created"),
                    "author_time": first.get("created"),
                    "project": "etrace-bench",
                    "branch": "",
                    "dirty": bool(provenance.get("dirty")),
                },
                "benchmarks": _filled(benchmarks),
                "datetime": first.get("created"),
                "version": "5.1.0",
            },
            indent=1,
        )
        + "\n"
    )


FORMATS = {"github": github, "bencher": bencher, "pytest-benchmark": pytest_benchmark}


def _values(study: Study) -> Iterator[tuple[pd.Series, str, str, float, float, float]]:
    """(cell, name, metric, value, low, high) of everything that is exported."""
    for _, cell in study.cells.iterrows():
        for metric in METRICS:
            if cell[metric] == cell[metric]:
                low, high = cell[f"{metric}_lo"], cell[f"{metric}_hi"]
                known = low == low and high == high
                value = float(cell[metric])
                yield (
                    cell,
                    cell_name(study, cell),
                    metric,
                    value,
                    float(low) if known else value,
                    float(high) if known else value,
                )


def _benchmark(study: Study, cell: pd.Series) -> dict[str, Any]:
    """One entry, its statistics from the raw samples in seconds, or from the medians without
    any.
    """
    samples = [
        s
        for key in cell["keys"]
        for s in (study.by_key[key].get("samples") or {}).get("step_time_ms") or []
    ]
    seconds = np.asarray(samples or [cell["step_time_ms"]], dtype=float) / 1e3
    q1, middle, q3 = np.quantile(seconds, [0.25, 0.5, 0.75])
    spread = float(seconds.std(ddof=1)) if len(seconds) > 1 else 0.0
    inside = np.abs(seconds - seconds.mean()) <= spread
    far = (seconds < q1 - 1.5 * (q3 - q1)) | (seconds > q3 + 1.5 * (q3 - q1))
    kept = seconds[~far]
    name = cell_name(study, cell)
    return {
        "group": None,
        "name": name,
        "fullname": f"cells::{name}",
        "params": None,
        "param": None,
        "extra_info": {"keys": [str(key) for key in cell["keys"]]},
        "options": {
            "disable_gc": False,
            "timer": "perf_counter",
            "min_rounds": 1,
            "max_time": 1.0,
            "min_time": 0.0,
            "warmup": True,
        },
        "stats": {
            "min": seconds.min(),
            "max": seconds.max(),
            "mean": seconds.mean(),
            "stddev": spread,
            "rounds": len(seconds),
            "median": middle,
            "iqr": q3 - q1,
            "q1": q1,
            "q3": q3,
            "iqr_outliers": int(far.sum()),
            "stddev_outliers": int((~inside).sum()),
            "outliers": f"{int((~inside).sum())};{int(far.sum())}",
            "ld15iqr": kept.min(),
            "hd15iqr": kept.max(),
            "ops": 1 / seconds.mean(),
            "total": seconds.sum(),
            "data": seconds.tolist(),
            "iterations": 1,
        },
    }


def _filled(entries: Any) -> Any:
    if not entries:
        raise InputError(
            "at least one ok cell with a time or a memory figure",
            "none",
            "An export without values would erase a series; fix the sweep first.",
        )
    return entries
