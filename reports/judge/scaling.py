"""How memory and time grow with a size, beside theory, and where two methods change places."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import nnls
from scipy.special import stdtrit

from reports.judge.cost import LEAST_BAR, SLACK_MIB, UNKNOWN_BAR
from reports.judge.facts import Facts, Setting, Way
from reports.judge.rows import number, words
from reports.records.columns import SIZES
from reports.stats import Interval

# What grows how, for large sizes: size -> algorithm -> exponent. BPTT keeps the states of every
# step; D-RTRL's trace is B I H with I ~ H for a recurrent layer; ES-D-RTRL's is B (I + H).
_KEPT = {
    "batch_size": {"bptt": 1.0, "d_rtrl": 1.0, "es_d_rtrl": 1.0},
    "n_hidden": {"bptt": 1.0, "d_rtrl": 2.0, "es_d_rtrl": 1.0},
    "n_steps": {"bptt": 1.0, "bptt_checkpointed": 0.5, "bptt_truncated": 0.0, "d_rtrl": 0.0,
                "es_d_rtrl": 0.0},
}  # fmt: skip
# Work is one product a step for all, D-RTRL's with a trace of the weights' size beside it.
_WORK = {"batch_size": 1.0, "n_hidden": 2.0, "n_steps": 1.0}
TRACED = ("d_rtrl", "es_d_rtrl")
_WITH_DATA = ("memory_xla_mib", "memory_peak_mib")  # what a step is given and keeps
TIME, TRACE, COSINE = "step_time_ms", "etrace_mib", "grad_cosine"
CLOSE = 0.15  # as near as an exponent over finite sizes can be asked to come
LEAST_SIZES = 3  # an exponent needs; two make a line
POWERS = np.linspace(-1, 5, 601)
FLAT = 0.05  # a quantity that changes by less over all sizes does not grow
DOMINATED = 0.5  # of the quantity at the largest size: a larger fixed cost hides how the rest grows

Reading = Literal["as theory", "a fixed cost dominates", "fits one window", "not as theory",
                  "measured under contention", ""]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Series:
    """One metric of one method against one size, everything else held."""

    metric: str
    size: str
    where: str  # what is held, of what varies in the report
    way: Way  # of the largest size
    # A row a size, in order: x, y with its interval lo to hi, n processes, window and steps of a
    # sequence, contended, keys of the records.
    points: pd.DataFrame
    apart: bool = False  # from the same method's other batchings

    @property
    def name(self) -> str:
        return self.way.name if self.apart else self.way.method

    @property
    def theory(self) -> float | None:
        """Exponent for large sizes; None where none is known."""
        if self.metric == COSINE:
            return None
        if self.metric == TIME:
            return _WORK[self.size] if self.way.algo in _KEPT["n_hidden"] else None
        if self.size == "batch_size" and self.way.batching == "single":
            return 0.0 if self.metric == "memory_xla_mib" else None  # a call sees one sample
        known = {"n_steps": "bptt", "n_hidden": "d_rtrl"}.get(self.size, self.way.algo)
        if self.metric in _WITH_DATA and self.way.algo != known:
            # Data grow with the sequence under every algorithm, weights with the width's square.
            return None
        return None if self.carried.empty else _KEPT[self.size].get(self.way.algo)

    @property
    def carried(self) -> pd.DataFrame:
        """The points that theory is about: of memory, those at which a trace was carried from one
        window to the next. A sequence that fits one window needs memory for each of its steps.
        """
        if self.metric == TIME or self.way.algo not in TRACED:
            return self.points
        return self.points[~(self.points["window"] >= self.points["steps"])]

    @cached_property
    def law(self) -> Law | None:
        """What fits it; None where fewer than three sizes are there for theory to be about."""
        points = self.carried
        return fit(points["x"], points["y"]) if len(points) >= LEAST_SIZES else None

    @property
    def reading(self) -> Reading:
        """What its exponent says to theory's."""
        law = self.law
        if law is None:
            return "fits one window"
        if self.points["contended"].any():
            return "measured under contention"
        if law.dominated:
            return "a fixed cost dominates"
        if self.theory is None:
            return ""
        # An exponent near theory's agrees; one far from it disagrees where its interval says so
        # too, or where it has none because three sizes without noise leave no doubt.
        if abs(law.exponent - self.theory) <= CLOSE:
            return "as theory"
        sure = law.low != law.low and self.metric not in (TIME, "memory_peak_mib")
        told = sure or self.theory < law.low or self.theory > law.high
        return "not as theory" if told else ""

    def crossing(self, other: Series) -> tuple[float, float] | None:
        """The sizes between which the order of two was seen to turn, beyond noise on both sides;
        under contention no order is one.
        """
        both = self.points.merge(other.points, on="x", suffixes=("", "_b"))
        gap = np.log(both["y"] / both["y_b"])
        bar = UNKNOWN_BAR if self.metric == TIME else LEAST_BAR
        slack = SLACK_MIB if self.metric == "memory_peak_mib" else 0.0
        seen = (both["y"] - both["y_b"]).abs() > slack
        told = np.flatnonzero(seen & (gap.abs() > math.log1p(bar)))
        turns = [(i, j) for i, j in itertools.pairwise(told) if gap[i] * gap[j] < 0]
        # More than one turn is noise, or no crossing that a sentence could tell.
        if len(turns) != 1 or both[["contended", "contended_b"]].any(axis=None):
            return None
        (i, j) = turns[0]
        return both["x"][i], both["x"][j]


def series(
    facts: Facts, settings: Sequence[Setting], metric: str, size: str, *,
    least: int = 2, most: int | None = None, batching: str = "", apart: bool = False,
) -> list[Series]:  # fmt: skip
    """Every series with `least` sizes or more, of one batching for each method: the given one or
    the recommended one where it ran, else another.

    Args:
        apart: of every batching instead.
        most: settings of the rest to look at, those with most points first.
    """
    held = [c for c in facts.varied if c != size]
    rows = [
        {"where": words(setting.row, held), "method": way.name if apart else way.method, "way": way,
         "x": number(setting.row[size]), "y": y, "lo": low, "hi": high,
         "n": way.time.n if metric == TIME and way.time else way.ok,
         "window": way.median("window_steps"), "steps": number(setting.row["n_steps"]),
         "contended": metric == TIME and way.contended, "keys": way.keys}
        for setting in settings
        for way in setting.ways
        for y, low, high, _ in [_figure(setting, way, metric)]
        if number(setting.row[size]) > 0 and (y > 0 or (metric == COSINE and y == y))
        and batching in ("", way.batching)
    ]  # fmt: skip
    found: list[Series] = []
    if not rows:
        return found
    table = pd.DataFrame(rows).sort_values(["where", "x"], kind="stable")
    rich = table["where"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    table = table[table["where"].isin(rich.index[:most])]
    for (where, _), points in table.groupby(["where", "method"], sort=False):
        ran = [way.batching for way in points["way"]]
        chosen = facts.batching if facts.batching in ran else ran[0]
        mine = points[[batched == chosen for batched in ran]]
        if len(mine) >= least:
            points = mine.drop(columns=["where", "method", "way"])
            found.append(Series(metric, size, where, mine["way"].iloc[-1], points, apart))
    return found


def _figure(setting: Setting, way: Way, metric: str) -> Interval:
    known = way.time and way.time.ms if metric == TIME else way.memory
    return known if metric in (TIME, setting.memory) and known else Interval(way.median(metric))


class Law(NamedTuple):
    """y = a + b x^exponent, with a fixed cost a ≥ 0."""

    exponent: float
    # Of its 95 % interval; nan where three sizes or fewer leave nothing to tell it from.
    low: float
    high: float
    # a is so large a share of y at the largest size that the exponent says little.
    dominated: bool


def fit(x: ArrayLike, y: ArrayLike) -> Law:
    """Least squares of relative errors, over all exponents.

    The interval holds the exponents whose best fit is not significantly worse (profile likelihood).

    Args:
        x, y: [N] sizes that vary and what was measured there, N >= 2, positive and finite.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if y.max() < (1 + FLAT) * y.min():
        slope = float(np.polyfit(np.log(x), np.log(y), 1)[0])
        return Law(slope, slope, slope, False)
    # For each power the fixed cost and the factor, neither negative.
    fits = [nnls(np.column_stack([1 / y, (x / x.max()) ** power / y]), np.ones(len(y)))
            for power in POWERS]  # fmt: skip
    errors = np.array([error**2 for _, error in fits])
    best = int(errors.argmin())
    fixed, factor = fits[best][0]
    low = high = math.nan
    if len(x) > 3:
        reach = float(stdtrit(len(x) - 3, 0.975)) ** 2 / (len(x) - 3)
        near = POWERS[errors <= errors[best] * (1 + reach) + 1e-12]
        low, high = float(near.min()), float(near.max())
    dominated = bool(fixed > DOMINATED * (fixed + factor))
    return Law(float(POWERS[best]), low, high, dominated)


def sizes_swept(facts: Facts) -> list[str]:
    return [size for size in SIZES if size in facts.varied]
