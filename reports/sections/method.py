"""How it was measured, and on what."""

from __future__ import annotations

from collections import Counter
from typing import Any

from reports import document as d
from reports.records.columns import EXTRA_METRICS, METRICS
from reports.study import LEAST_PEAK_MIB, Study
from reports.text import short


def method(study: Study) -> d.Section:
    used = [
        c
        for c in (*METRICS, *EXTRA_METRICS)
        if c.name in study.table and study.table[c.name].notna().any()
    ]
    first = study.sweeps.records[0]
    sources = sorted(
        {str((r.get("memory") or {}).get("source") or "") for r in study.sweeps.records} - {""}
    )
    texts = [
        "Every cell ran in a fresh process. Times are medians of steady-state training steps after "
        "warm-up; tracing, lowering and compilation are measured apart. Intervals are 95 %.",
        "Seeds and repeats of one cell are merged: the median of the processes, with Student's "
        "interval between them from two on (wide from two; repeats=5 narrows it). The interval of "
        "a single process is that of its own samples, which knows nothing of the differences "
        "between processes. Losses, accuracies and gradients repeat exactly with their seed, so "
        "their intervals are between seeds; a test accuracy's is no narrower than its sample of "
        "test data allows (Wilson).",
    ]
    if study.memory == "memory_xla_mib":
        peaks = study.ok["memory_peak_mib"].dropna()
        small = f"{int(peaks.lt(LEAST_PEAK_MIB).sum())} of {len(peaks)} cells"
        texts.append(
            f"In {small} the process's peak was below {LEAST_PEAK_MIB:g} MiB, where pages and "
            "slack count for more than arrays; memory is therefore XLA's sum for the compiled step."
            if len(peaks)
            else "No peak was measured; memory is XLA's sum for the compiled step."
        )
    unsteady = int(study.ok["steady"].eq(0).sum()) if "steady" in study.ok else 0
    if unsteady:
        texts.append(
            f"In {unsteady} of {len(study.ok)} cells the steps had not become steady when the "
            "time for warming up was spent (steady = 0)."
        )
    if sources:
        texts.append(f"Peak memory was read from: {', '.join(sources)}.")
    if study.disagreements:
        texts.append(
            f"In {len(study.disagreements)} of {len(study.table)} cells the sources of memory "
            "disagree; Problems lists them."
        )
    ideal = int(study.ok["limit_ratio"].lt(1).sum())
    if ideal:
        texts.append(
            f"In {ideal} of {len(study.ok)} cells limit_ratio is below 1, which no step can reach: "
            "the floor was measured while the machine was busier than during the cell. Read "
            "limit_ratio here as a relative figure only."
        )
    if first.get("config"):
        texts.append("The whole configuration of every cell is in results.csv as cfg.<path>.")
    return d.Section(
        "method",
        "How it was measured",
        [
            d.Items(texts),
            d.Table(
                ["column", "unit", "what it is"],
                [[c.name, c.unit or "–", c.words] for c in used],
                folded="The columns",
            ),
        ],
    )


def environment(study: Study) -> d.Section:
    """What the machines were, each distinct value once."""
    rows: dict[str, Counter[str]] = {}
    for record in study.sweeps.records:
        for name, value in (record.get("provenance") or {}).items():
            if name == "versions" and isinstance(value, dict):
                for library, version in value.items():
                    rows.setdefault(str(library), Counter())[str(version)] += 1
            elif not isinstance(value, dict):  # phases of one cell say nothing about the machine
                rows.setdefault(name, Counter())[_flat(value)] += 1
    return d.Section(
        "environment",
        "Environment",
        [d.Table(["what", "value"], [[name, _values(counts)] for name, counts in rows.items()])]
        if rows
        else [],
    )


def _flat(value: Any) -> str:
    if isinstance(value, float):
        return short(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _values(counts: Counter[str]) -> str:
    if len(counts) <= 3:
        return "; ".join(
            f"{value or '–'} ({n} cells)" if len(counts) > 1 else value or "–"
            for value, n in counts.most_common()
        )
    try:
        numbers = sorted(float(v) for v in counts)
    except ValueError:
        return f"{len(counts)} different values"
    return f"{short(numbers[0])} to {short(numbers[-1])}"
