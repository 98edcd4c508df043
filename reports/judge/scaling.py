"""How memory and time grow with a size, beside theory, and where two ways change places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd

from reports.judge.rows import BATCHINGS, order, words
from reports.records.columns import SIZES
from reports.scaling import Law, crossing, fit

# What grows how, for large sizes: metric -> size -> algorithm -> exponent. BPTT keeps the states of
# every step; D-RTRL's trace is B I H with I ~ H for a recurrent layer; ES-D-RTRL's is B (I + H).
# Work is one product a step for all three, D-RTRL's with a trace of the weights' size beside it.
_KEPT = {
    "batch_size": {"bptt": 1.0, "d_rtrl": 1.0, "es_d_rtrl": 1.0},
    "n_hidden": {"bptt": 1.0, "d_rtrl": 2.0, "es_d_rtrl": 1.0},
    "n_steps": {"bptt": 1.0, "bptt_checkpointed": 0.5, "bptt_truncated": 0.0, "d_rtrl": 0.0,
                "es_d_rtrl": 0.0},
}  # fmt: skip
_WORK = {size: dict.fromkeys(("bptt", "d_rtrl", "es_d_rtrl"), power)
         for size, power in (("batch_size", 1.0), ("n_hidden", 2.0), ("n_steps", 1.0))}  # fmt: skip
_TRACES = {"n_steps": {"d_rtrl": 0.0, "es_d_rtrl": 0.0},
           "batch_size": {"d_rtrl": 1.0, "es_d_rtrl": 1.0},
           "n_hidden": {"d_rtrl": 2.0, "es_d_rtrl": 1.0}}  # fmt: skip
THEORY = {"memory_peak_mib": _KEPT, "memory_xla_mib": _KEPT, "memory_temp_mib": _KEPT,
          "etrace_mib": _TRACES, "step_time_ms": _WORK}  # fmt: skip
CLOSE = 0.15  # as near as an exponent over finite sizes can be asked to come
LEAST_SIZES = 3  # an exponent needs; two make a line
SAME = 0.05  # quantities no further apart have not changed places

Reading = Literal["as theory", "a fixed cost dominates", "fits one window", "not as theory", ""]


@dataclass(frozen=True, eq=False)
class Series:
    """One metric of one method against one size, everything else held.

    Args:
        points: a row for each size, in order: ``x``, ``y``, ``lo``, ``hi``, ``window``.
        where: what is held, of what varies in the report.
        theory: exponent for large sizes; None where none is known.
    """

    metric: str
    size: str
    name: str
    algo: str
    batching: str
    look: tuple[str, str, str]
    where: str
    points: pd.DataFrame
    theory: float | None

    @property
    def carried(self) -> pd.DataFrame:
        """The points at which a trace was carried from one window to the next, in time: a sequence
        that fits one window needs memory for each of its steps, by design.
        """
        if self.size != "n_steps" or not self.metric.startswith("memory"):
            return self.points
        return self.points[~(self.points["window"] >= self.points["x"])]


def series(
    cells: pd.DataFrame, held: Sequence[str], metric: str, size: str, batching: str,
    least: int = 2, most: int | None = None,
) -> list[Series]:  # fmt: skip
    """Every series with `least` sizes or more, of one batching for each method: the given one where
    there is one.

    Args:
        cells: rows of `Study.cells`.
        held: the columns that make a setting.
        most: settings of the rest to look at, those with most cells first.
    """
    if metric not in cells:
        return []
    used = [*held, "method", "variant", "algo", "batching", "n_steps", size, "n", "window_steps",
            metric, f"{metric}_lo", f"{metric}_hi"]  # fmt: skip
    cells = cells.loc[cells[metric].gt(0), [c for c in dict.fromkeys(used) if c in cells]]
    rest = [c for c in held if c != size]
    differs = [c for c in rest if cells[c].nunique(dropna=False) > 1]
    where = cells.groupby(rest, dropna=False, sort=True).ngroup()
    counts = where.value_counts()
    rich = sorted(counts.index, key=lambda i: (-counts[i], -i))[:most]
    cells = cells[where.isin(rich)]
    found = []
    for _, some in cells.groupby([*rest, "method"], dropna=False, sort=True):
        ranked = sorted(some["batching"].unique(), key=lambda b: (b != batching, _place(b)))
        chosen = some[some["batching"].eq(ranked[0])].sort_values(size)
        if chosen[size].nunique() < least:
            continue
        first = chosen.iloc[0]
        points = pd.DataFrame({
            "x": chosen[size].astype(float), "y": chosen[metric].astype(float),
            "lo": chosen[f"{metric}_lo"], "hi": chosen[f"{metric}_hi"], "n": chosen["n"],
            "window": chosen.get("window_steps", np.nan),
            "steps": chosen["n_steps"].astype("float64"),
        }).reset_index(drop=True)  # fmt: skip
        algo, variant = str(first["algo"]), str(first["variant"])
        look = (algo, variant[len(algo) :], str(first["method"])[len(variant) :])
        theory = THEORY.get(metric, {}).get(size, {}).get(algo)
        if (
            metric.startswith("memory")
            and size != "n_steps"
            and (points["window"] >= points["steps"]).all()
        ):
            theory = None  # of traces, of which none was made
        if size == "batch_size" and ranked[0] == "single" and metric == "memory_xla_mib":
            theory = 0.0  # a call sees one sample whatever the batch is
        found.append(Series(metric, size, str(first["method"]), algo, str(first["batching"]), look,
                            words(first, differs), points, theory))  # fmt: skip
    return sorted(found, key=lambda s: (s.where, order(s.algo, s.batching, s.name)))


def _place(batching: str) -> int:
    return BATCHINGS.index(batching) if batching in BATCHINGS else len(BATCHINGS)


@dataclass(frozen=True, eq=False)
class Growth:
    """The exponent of one series, and what it says to theory's."""

    series: Series
    law: Law | None
    reading: Reading


def growths(found: Sequence[Series]) -> list[Growth]:
    """An exponent for each series with three sizes."""
    out = []
    for one in found:
        points = one.carried
        if len(one.points) < LEAST_SIZES:
            continue
        if len(points) < LEAST_SIZES:
            out.append(Growth(one, None, "fits one window"))
            continue
        law = fit(points["x"].to_numpy(), points["y"].to_numpy())
        out.append(Growth(one, law, _reading(law, one.theory)))
    return out


def _reading(law: Law, theory: float | None) -> Reading:
    if law.dominated:
        return "a fixed cost dominates"
    if theory is None:
        return ""
    # An exponent near theory's agrees; one far from it disagrees only if its interval says so too.
    if abs(law.exponent - theory) <= CLOSE:
        return "as theory"
    return "not as theory" if theory < law.low or theory > law.high else ""


@dataclass(frozen=True)
class Crossing:
    """Two methods that were seen to change places between two neighbouring sizes."""

    metric: str
    size: str
    where: str
    below: str
    above: str
    between: tuple[float, float]


def crossings(found: Sequence[Series], bar: float) -> list[Crossing]:
    """Where the order of two series turned, beyond the bar (a share) on both sides."""
    out = []
    for a, b in combinations(found, 2):
        if a.where != b.where:
            continue
        both = a.points.merge(b.points, on="x", suffixes=("", "_b"))
        if len(both) < 2:
            continue
        at = crossing(both["x"].to_numpy(), both["y"].to_numpy(), both["y_b"].to_numpy(), bar)
        if at:
            first, second = (a, b) if both["y"].iloc[0] < both["y_b"].iloc[0] else (b, a)
            out.append(Crossing(a.metric, a.size, a.where, first.name, second.name, at))
    return out


def sizes_swept(cells: pd.DataFrame) -> list[str]:
    return [s for s in SIZES if s in cells and cells[s].nunique() > 1]
