"""The gate without a clock: quantities that two runs of one program must share digit by digit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from reports.compare.pairing import Side
from reports.compare.result import Line, Verdict
from reports.text import short


@dataclass(frozen=True)
class Exact:
    """How one metric is compared.

    Args:
        better: which way is an improvement; None: any change is an alarm.
        relative, absolute: how far apart two values may be and still be the same; one is enough.
        processor: whether another processor may rightly give another value (rounding, vector
        width).
    """

    metric: str
    better: Literal["low", "high"] | None
    relative: float = 0.0
    absolute: float = 0.0
    processor: bool = False


GATES = (
    Exact("etrace_mib", "low", relative=1e-9),
    Exact("flops_per_step", "low", relative=1e-9),
    Exact("n_compilations", "low"),
    Exact("memory_xla_mib", "low", relative=1e-9, processor=True),
    Exact("memory_temp_mib", "low", relative=1e-9, processor=True),
    Exact("loss_first", None, relative=1e-6, processor=True),
    Exact("loss_final", None, relative=1e-6, processor=True),
    Exact("grad_cosine", "high", absolute=1e-6, processor=True),
    Exact("grad_rel_error", "low", relative=1e-4, absolute=1e-6, processor=True),
)


def exact_lines(
    cell: str,
    base: pd.DataFrame,
    head: pd.DataFrame,
    sides: tuple[Side, Side],
) -> list[Line]:
    """One line for each exact metric that both sides have."""
    lines = []
    versions = difference(base, head, sides, ("python", "versions"))
    processor = difference(base, head, sides, ("processor", "cores"))
    keys = (*base["key"], *head["key"])
    for gate in GATES:
        if gate.metric not in base or gate.metric not in head:
            continue
        b, h = base[gate.metric].dropna(), head[gate.metric].dropna()
        if b.empty and h.empty:
            continue
        verdict, note = _judge(gate, b, h, versions, processor)
        before, after = (float(v.median()) if len(v) else None for v in (b, h))
        change = after / before - 1 if before and after is not None else None
        lines.append(
            Line(cell, gate.metric, "exact", verdict, before, after, change, note=note, keys=keys)
        )
    return lines


def _judge(
    gate: Exact,
    base: pd.Series,
    head: pd.Series,
    versions: str,
    processor: str,
) -> tuple[Verdict, str]:
    if head.empty:
        return "cannot tell", "head does not record it"
    if base.empty:
        return "cannot tell", "base does not record it"
    if versions:
        return "cannot tell", versions
    if processor and gate.processor:
        return "cannot tell", processor
    for name, values in (("base", base), ("head", head)):
        if not _alike(gate, float(values.min()), float(values.max())):
            return "cannot tell", (
                f"repeats of {name} differ among themselves: "
                f"{short(values.min())} to {values.max():.9g}"
            )
    before, after = float(base.median()), float(head.median())
    if _alike(gate, before, after):
        return "same", ""
    note = f"{before:.9g} became {after:.9g}"
    if gate.better is None:
        return "changed", note + "; the same seed gave the same number before"
    return ("better" if (after < before) == (gate.better == "low") else "worse"), note


def _alike(gate: Exact, a: float, b: float) -> bool:
    return abs(a - b) <= max(gate.absolute, gate.relative * max(abs(a), abs(b)))


def difference(
    base: pd.DataFrame, head: pd.DataFrame, sides: tuple[Side, Side], names: tuple[str, ...]
) -> str:
    """In words, how the environments of two cells differ in the named facts; "" where they do
    not.
    """
    known = [
        [side.environment.get(key, {}) for key in rows["key"]]
        for side, rows in zip(sides, (base, head), strict=True)
    ]
    for name in names:
        values = [
            {
                str(e[name]) if not isinstance(e[name], dict) else str(sorted(e[name].items()))
                for e in environments
                if e.get(name) is not None
            }
            for environments in known
        ]
        if not values[0] or not values[1]:
            return f"{name} not recorded on {'both sides' if not any(values) else 'one side'}"
        if values[0] != values[1]:
            return _told(name, known)
    return ""


def _told(name: str, known: list[list[dict]]) -> str:
    first, second = (environments[0][name] for environments in known)
    if isinstance(first, dict) and isinstance(second, dict):
        moved = [
            f"{library} {first.get(library, 'absent')} and {second.get(library, 'absent')}"
            for library in sorted({*first, *second})
            if first.get(library) != second.get(library)
        ]
        return f"different versions: {', '.join(moved[:4])}" if moved else "different versions"
    return f"different {name}: {first} and {second}"
