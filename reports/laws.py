"""The scaling laws of a study: exponents of memory and time in T, B and H, beside what theory
says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd

from reports.noise import bar
from reports.records.columns import SERIES, SETTINGS, SIZES, WAYS
from reports.scaling import CrossOver, PowerLaw, cross_over, fit
from reports.study import Slice, Study
from reports.windows import not_carried, windows

# What grows how, for large sizes: (metric, axis) -> algorithm -> exponent. BPTT keeps the states of
# every step; D-RTRL's trace is B I H with I ~ H for a recurrent layer; ES-D-RTRL's is B (I + H).
# Work is
# one product per step for all three, D-RTRL's with a trace of the weights' size beside it.
_FLAT = {"d_rtrl": 0.0, "es_d_rtrl": 0.0}
_SIZES = {
    "batch_size": {"bptt": 1.0, "d_rtrl": 1.0, "es_d_rtrl": 1.0},
    "n_hidden": {"bptt": 1.0, "d_rtrl": 2.0, "es_d_rtrl": 1.0},
    "n_steps": {"bptt": 1.0, "bptt_checkpointed": 0.5, "bptt_truncated": 0.0, **_FLAT},
}
THEORY: dict[tuple[str, str], dict[str, float]] = {
    **{
        (metric, axis): growth
        for metric in ("memory_peak_mib", "memory_temp_mib")
        for axis, growth in _SIZES.items()
    },
    ("etrace_mib", "n_steps"): _FLAT,
    ("etrace_mib", "batch_size"): {"d_rtrl": 1.0, "es_d_rtrl": 1.0},
    ("etrace_mib", "n_hidden"): {"d_rtrl": 2.0, "es_d_rtrl": 1.0},
    ("step_time_ms", "n_steps"): {"bptt": 1.0, "d_rtrl": 1.0, "es_d_rtrl": 1.0},
    ("step_time_ms", "batch_size"): {"bptt": 1.0, "d_rtrl": 1.0, "es_d_rtrl": 1.0},
    ("step_time_ms", "n_hidden"): {"bptt": 2.0, "d_rtrl": 2.0, "es_d_rtrl": 2.0},
}
# Read from the compiled program or from shapes, alike in every process: a line through them has no
# sampling error, and what a fitted interval would show is how far they are from one.
COUNTED = frozenset({"memory_xla_mib", "memory_temp_mib", "etrace_mib"})

Reading = Literal[
    "as theory says", "heading there", "not decided", "less than theory", "more than theory"
]
SAME = 0.05  # as near as this is equal: exponents, and memories as a share
CLOSE = 0.15  # as near as an exponent over finite sizes can be asked to come
NARROW = 0.5  # only an interval this short can speak against theory
WIDE = 1.0  # an interval longer than this decides nothing


@dataclass(frozen=True)
class Law:
    """One fitted exponent of a study, with what theory expects and the rows behind it.

    `untested` says in words why the rows cannot be held against theory; "" where they can.
    """

    metric: str
    axis: str
    algo: str
    variant: str
    series: str
    law: PowerLaw
    theory: float | None
    keys: tuple[str, ...]
    untested: str = ""


def reading(law: PowerLaw, theory: float, *, counted: bool) -> Reading:
    """What a fitted exponent says to theory's.

    Theory lying inside an interval is not enough, since a wide one holds nearly anything: the
    exponent has to be near too. And only a short interval that is clear of theory contradicts it,
    unless the curve still bends its way, and as much as would take it there.

    Args:
        counted: whether the quantity is one of `COUNTED`, so that the exponent is exact.
    """
    low, high = (law.exponent, law.exponent) if counted else (law.low, law.high)
    if not high - low <= WIDE:  # nan included
        return "not decided"
    off, top = abs(law.exponent - theory), abs(law.top - theory)
    if off < SAME or (off < CLOSE and low <= theory <= high):
        return "as theory says"
    if top < CLOSE:
        return "heading there"
    clear = theory < low - SAME or theory > high + SAME
    bend = off - top
    if not clear or high - low > NARROW or (bend > CLOSE and top < 2 * bend):
        return "not decided"
    return "less than theory" if law.exponent < theory else "more than theory"


@dataclass(frozen=True)
class Meeting:
    """Where two series of a slice cost the same: `first` is cheaper below, `second` above."""

    metric: str
    axis: str
    slice: str
    first: str
    second: str
    cross: CrossOver
    keys: tuple[str, ...]


@lru_cache(maxsize=2)
def laws(study: Study) -> list[Law]:
    """An exponent for each metric, axis and series that has three sizes with all else equal."""
    found = []
    # Peaks of small networks are noise; XLA's temporaries are what an algorithm itself needs.
    peak = ["memory_peak_mib"] if study.memory == "memory_peak_mib" else []
    for metric in (*peak, "memory_temp_mib", "etrace_mib", "step_time_ms"):
        for axis in SIZES:
            slices = study.slices(axis, metric, points=3)
            if not slices:
                continue
            cells = pd.concat([s.cells for s in slices])
            cells = cells[cells[metric] > 0]
            for _, points in cells.groupby([*SERIES, "model", "task", "device"], sort=True):
                if points[axis].nunique() >= 3:
                    found.append(_law(study, metric, axis, points))
    return found


def _law(study: Study, metric: str, axis: str, points: pd.DataFrame) -> Law:
    untested = ""
    if axis == "n_steps" and metric.startswith("memory_"):
        carried = points[windows(study, points)["carried"]]
        if carried[axis].nunique() >= 3:
            points = carried
        else:
            untested = not_carried(study, points)
    held = [s for s in SETTINGS if s not in (axis, *WAYS)]
    slices = points.groupby(held, dropna=False).ngroup()
    first = points.iloc[0]
    varied = study.varied
    names = [
        study.name(first),
        *(str(first[s]) for s in ("model", "task", "device") if s in varied),
    ]
    return Law(
        metric=metric,
        axis=axis,
        algo=str(first["algo"]),
        variant=str(first["variant"]),
        series=" · ".join(names),
        law=fit(points[axis], points[metric], slices),
        theory=None if untested else _theory(metric, axis, first),
        keys=tuple(k for keys in points["keys"] for k in keys),
        untested=untested,
    )


def _theory(metric: str, axis: str, cell: pd.Series) -> float | None:
    if axis == "batch_size" and cell["batching"] == "single" and metric != "step_time_ms":
        return 0.0  # a call sees one sample whatever the batch is
    return THEORY.get((metric, axis), {}).get(str(cell["algo"]))


@lru_cache(maxsize=2)
def meetings(study: Study) -> list[Meeting]:
    """Cross-overs inside the measured range, for each pair of series with three sizes in one
    slice, that the points show and that noise would not explain.
    """
    found = []
    for metric in (study.memory, "step_time_ms"):
        for axis in SIZES:
            for piece in study.slices(axis, metric, points=3):
                found += _meetings(study, metric, axis, piece)
    return found


def _meetings(study: Study, metric: str, axis: str, piece: Slice) -> list[Meeting]:
    cells = piece.cells[piece.cells[metric] > 0]
    series = [
        points for _, points in cells.groupby(SERIES, sort=True) if points[axis].nunique() >= 3
    ]
    found = []
    for a, b in combinations(series, 2):
        # Two ways of batching run nearly parallel: where they cross is chance.
        if a["batching"].iloc[0] != b["batching"].iloc[0]:
            continue
        cross = cross_over(a[axis], a[metric], b[axis], b[metric])
        if cross is None or not cross.inside:
            continue
        rises = fit(a[axis], a[metric]).exponent > fit(b[axis], b[metric]).exponent
        gap = np.log(a.set_index(axis)[metric] / b.set_index(axis)[metric]).dropna().sort_index()
        if len(gap) > 1:
            seen = _seen(gap if rises else -gap)
            if seen is None:
                continue
            # Curves bend: what was measured goes before where the laws meet.
            low, high = min(cross.low, seen), max(cross.high, seen)
            cross = replace(cross, at=seen, low=low, high=high)
        bounded = cross.low > 0 or cross.high < np.inf
        # Bent curves have laws that bound nothing; then both ends have to be clear by themselves.
        if bounded or (len(gap) > 1 and _clear(study, metric, gap)):
            steeper, flatter = (a, b) if rises else (b, a)
            found.append(
                Meeting(
                    metric,
                    axis,
                    piece.title,
                    study.name(steeper.iloc[0]),
                    study.name(flatter.iloc[0]),
                    cross,
                    tuple(k for part in (a, b) for ks in part["keys"] for k in ks),
                )
            )
    return found


def _clear(study: Study, metric: str, gap: pd.Series) -> bool:
    """Whether a gap in logarithms is beyond the noise at its smallest and at its largest size."""
    same = bar(study.noise) if metric == "step_time_ms" else SAME
    return bool(np.abs(gap.iloc[[0, -1]]).gt(np.log1p(same)).all())


def _seen(gap: pd.Series) -> float | None:
    """Where a gap in logarithms rises through zero, on straight lines between its sizes.

    None where the points contradict a cross-over: they begin above zero, end below it, or change
    sides more than once.
    """
    x, y = np.log(gap.index.to_numpy(dtype=float)), gap.to_numpy(dtype=float)
    told = np.flatnonzero(y)  # at a size where both cost the same, neither side is taken
    flips = np.flatnonzero(np.diff(np.sign(y[told])))
    if len(flips) != 1 or y[told[0]] > 0:
        return None
    i = told[flips[0]]
    return float(np.exp(x[i] - y[i] * (x[i + 1] - x[i]) / (y[i + 1] - y[i])))
