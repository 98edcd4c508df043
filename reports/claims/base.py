"""What a claim is, what an answer is, and the questions that several claims ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from reports.laws import CLOSE, COUNTED, reading
from reports.noise import LEAST_BAR, bar
from reports.records.columns import SETTINGS
from reports.records.settings import varying_within
from reports.resampling import mean_interval
from reports.scaling import PowerLaw, fit
from reports.study import Study
from reports.text import times
from reports.windows import windows

Verdict = Literal["holds", "does not hold", "not decided", "not tested here"]

# The tutorials by name; the last two of each pair say the same in another language or format.
BATCHING = ("Batching Online Learning", "在线学习的批处理操作")
STRATEGIES = ("Batching Strategies", "Batching Strategies (notebook)")
SNN = ("SNN Online Learning with BrainTrace",)


@dataclass(frozen=True)
class Finding:
    """What records say to a claim.

    Args:
        verdict: one of four; "not decided" is for records that test a claim and leave it open.
        figure: the number with its interval, in words; for "not tested here" what would test it.
        keys: the records behind it.
    """

    verdict: Verdict
    figure: str
    keys: tuple[str, ...] = ()


ABOUT = 1.5  # a ratio up to this, or down to one over it, still counts as about the same

Check = Callable[[Study], Finding]


@dataclass(frozen=True)
class Claim:
    """One checkable statement of a tutorial, in our own words."""

    id: str
    tutorials: tuple[str, ...]
    words: str
    check: Check = field(repr=False)


@dataclass(frozen=True)
class Answered:
    claim: Claim
    finding: Finding


def judged(holds: bool, figure: str, keys: Iterable[str]) -> Finding:
    return Finding("holds" if holds else "does not hold", figure, tuple(dict.fromkeys(keys)))


def judged_if(holds: bool | None, figure: str, keys: Iterable[str]) -> Finding:
    """`judged`, or `undecided` for None."""
    return undecided(figure, keys) if holds is None else judged(holds, figure, keys)


def undecided(figure: str, keys: Iterable[str]) -> Finding:
    """For records that test a claim but whose interval reaches to both sides."""
    return Finding("not decided", figure, tuple(dict.fromkeys(keys)))


def all_of(parts: Iterable[bool | None]) -> bool | None:
    """Whether every part holds: one that does not decides, else one that is open leaves it open."""
    known = list(parts)
    return False if False in known else None if None in known else True


def untested(needs: str) -> Finding:
    return Finding("not tested here", f"It takes {needs}.")


def keys_of(cells: pd.DataFrame) -> list[str]:
    """The record keys behind rows of `Study.cells`."""
    return [key for keys in cells["keys"] for key in keys]


@dataclass(frozen=True)
class Growth:
    """A fitted exponent over sizes from `low` to `high`, and the records behind it.

    `counted` says that the quantity is exact, so that the exponent has no interval.
    """

    law: PowerLaw
    low: float
    high: float
    keys: tuple[str, ...]
    counted: bool = False

    def words(self, axis: str, theory: float | None = None) -> str:
        text = f"exponent {self.law.exponent:.2f}"
        if self.law.low == self.law.low and not self.counted:
            text += f" [{self.law.low:.2f}, {self.law.high:.2f}]"
        text += f" in {axis} from {self.low:g} to {self.high:g}"
        return text + (
            f", {self.law.top:.2f} between the two largest" if theory is not None else ""
        )

    def is_about(self, theory: float) -> bool | None:
        """Whether the exponent, or the one it is heading for, is theory's or near it; None where
        that is not decided.
        """
        told = reading(self.law, theory, counted=self.counted)
        if told == "not decided":
            return None
        near = abs(self.law.exponent - theory) <= CLOSE
        return near or told in ("as theory says", "heading there")


def growth(
    study: Study, algos: Iterable[str], metric: str, axis: str, **fixed: object
) -> Growth | None:
    """The common exponent of some algorithms over all slices with three sizes; None without
    such.
    """
    wanted = set(algos)
    pieces = [s.cells for s in study.slices(axis, metric, points=3)]
    if not pieces:
        return None
    cells = pd.concat(pieces)
    cells = cells[cells["algo"].isin(wanted) & cells[metric].gt(0)]
    for name, value in fixed.items():
        cells = cells[cells[name].eq(value)]
    if axis == "batch_size" and "batching" not in fixed:
        # One at a time, a call sees a single sample whatever the batch is.
        cells = cells[cells["batching"].ne("single")]
    if axis == "n_steps" and metric.startswith("memory_"):
        cells = cells[windows(study, cells)["carried"]]
    if cells.empty or cells[axis].nunique() < 3:
        return None
    held = [*(s for s in SETTINGS if s != axis), "variant"]
    slices = cells.groupby(held, dropna=False).ngroup()
    sizes = cells[axis].astype(float)
    law = fit(sizes, cells[metric], slices)
    return Growth(law, sizes.min(), sizes.max(), tuple(keys_of(cells)), metric in COUNTED)


@dataclass(frozen=True)
class Ratio:
    """Geometric mean of a ratio over pairs of cells, with Student's 95 % interval.

    Args:
        centre, low, high: the mean and its interval, which is nan for a single pair. A counted
            quantity has no sampling error: its interval is that of the pairs themselves.
        least, most: the smallest and the largest of the pairs.
    """

    centre: float
    low: float
    high: float
    least: float
    most: float
    pairs: int
    keys: tuple[str, ...]
    counted: bool = False

    def above(self, bar: float) -> bool | None:
        """Whether the ratio is beyond the bar; None where the interval leaves it open.

        Beyond: the centre above the bar and the interval above one. Not beyond: all of it below.
        A single pair has no interval, and its centre decides.
        """
        if self.low != self.low:
            return self.centre > bar
        if self.centre > bar and self.low > 1:
            return True
        return False if self.high <= bar else None

    def below(self, bar: float) -> bool | None:
        """`above` upside down: beyond one over the bar."""
        return Ratio(
            centre=1 / self.centre,
            low=1 / self.high,
            high=1 / self.low,
            least=1 / self.most,
            most=1 / self.least,
            pairs=self.pairs,
            keys=self.keys,
            counted=self.counted,
        ).above(bar)

    def is_about_one(self) -> bool | None:
        """Whether it is within a factor of `ABOUT`; None where the interval reaches across."""
        ends = (self.low, self.high) if self.low == self.low else (self.centre, self.centre)
        if ends[0] >= 1 / ABOUT and ends[1] <= ABOUT:
            return True
        return False if ends[1] < 1 / ABOUT or ends[0] > ABOUT else None

    def words(self) -> str:
        if self.pairs == 1:
            return f"{times(self.centre)} over 1 pair"
        interval = "" if self.counted else f" [{self.low:.3g}, {self.high:.3g}]"
        spread = f"over {self.pairs} pairs ({self.least:.3g} to {self.most:.3g})"
        return f"{times(self.centre)}{interval} {spread}"


def ratio(
    cells: pd.DataFrame, of: pd.Series, to: pd.Series, metric: str, vary: Iterable[str]
) -> Ratio | None:
    """The ratio of `metric` between cells chosen by `of` and by `to` that are equal but in
    `vary`; where that leaves several on a side, their geometric mean stands for them.
    """
    dropped = set(vary)
    held = [s for s in (*SETTINGS, "variant") if s not in dropped]
    measured = cells[metric].gt(0)
    above, below = (_one_each(cells[side & measured], held, metric) for side in (of, to))
    pairs = above.merge(below, on=held, suffixes=("", "_base"))
    if pairs.empty:
        return None
    logs = (pairs["_log"] - pairs["_log_base"]).to_numpy(dtype=float)
    counted = metric in COUNTED
    mean = mean_interval(logs)
    low, high = (logs.min(), logs.max()) if counted else (mean.low, mean.high)
    return Ratio(
        centre=float(np.exp(mean.centre)),
        low=float(np.exp(low)),
        high=float(np.exp(high)),
        least=float(np.exp(logs.min())),
        most=float(np.exp(logs.max())),
        pairs=len(logs),
        keys=tuple(k for column in ("keys", "keys_base") for ks in pairs[column] for k in ks),
        counted=counted,
    )


def _one_each(cells: pd.DataFrame, held: list[str], metric: str) -> pd.DataFrame:
    """A row for each setting of `held`, with the mean logarithm of `metric` and all its keys."""
    rows = [
        (*values, float(np.log(group[metric].to_numpy(dtype=float)).mean()), keys_of(group))
        for values, group in cells.groupby(held, dropna=False, sort=False)
    ]
    return pd.DataFrame(rows, columns=[*held, "_log", "keys"])


def of_largest_batch(cells: pd.DataFrame) -> pd.Series:
    """Which cells have the largest batch of their setting."""
    held = [s for s in (*SETTINGS, "variant") if s != "batch_size"]
    largest = cells.groupby(held, dropna=False)["batch_size"].transform("max")
    return cells["batch_size"].eq(largest)


def largest_batch(cells: pd.DataFrame, found: Ratio) -> str:
    """The largest batch among the cells behind a ratio, in words; several where they differ."""
    known = set(found.keys)
    behind = cells["keys"].map(lambda keys: not known.isdisjoint(keys))
    used = cells[of_largest_batch(cells) & behind]
    low, high = used["batch_size"].min(), used["batch_size"].max()
    return f"{low}" if low == high else f"{low} to {high}"


def apart_from_algorithm(study: Study, cells: pd.DataFrame) -> pd.DataFrame:
    """The cells with variants that leave out the algorithm and its options, which another one
    does not have: what is left of them has to be equal for a fair comparison.
    """
    swept = varying_within(study.everything, SETTINGS)
    names = {"machine", *(c.rsplit(".", 1)[-1] for c in swept if not c.startswith("cfg.algo."))}
    return cells.assign(
        variant=[
            " ".join(part for part in variant.split() if part.split("=")[0] in names)
            for variant in cells["variant"]
        ]
    )


def alike(study: Study, found: Ratio) -> float:
    """The ratio of times up to which they count as the same.

    The interval of several pairs holds their noise already, so it has to be told from 5 % alone: a
    bar as wide as unknown noise would take ignorance for equality. A single pair has only the bar.
    """
    return 1 + (LEAST_BAR if found.pairs > 1 else bar(study.noise))


def by_rank(study: Study) -> pd.DataFrame:
    """ES-D-RTRL cells in rank form, with their rank as `rank`."""
    column = "cfg.algo.decay_or_rank"
    if column not in study.table:
        return pd.DataFrame()
    rank = {row["key"]: row[column] for _, row in study.ok.iterrows() if row["algo"] == "es_d_rtrl"}
    cells = study.cells[study.cells["algo"].eq("es_d_rtrl")]
    values = pd.to_numeric(
        pd.Series([rank.get(keys[0]) for keys in cells["keys"]], index=cells.index, dtype=object),
        errors="coerce",
    )
    return cells.assign(rank=values)[values.ge(1)]
