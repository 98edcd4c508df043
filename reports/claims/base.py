"""What a claim is, what an answer is, and the questions that several claims ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from reports.columns import SETTINGS
from reports.scaling import PowerLaw, fit
from reports.study import Study

Verdict = Literal["holds", "does not hold", "not tested here"]

# The tutorials by name; the last two of each pair say the same in another language or format.
BATCHING = ("Batching Online Learning", "在线学习的批处理操作")
STRATEGIES = ("Batching Strategies", "Batching Strategies (notebook)")
SNN = ("SNN Online Learning with BrainTrace",)


@dataclass(frozen=True)
class Finding:
    """What records say to a claim.

    Args:
        verdict: one of three.
        figure: the number with its interval, in words; for "not tested here" what would test it.
        keys: the records behind it.
    """

    verdict: Verdict
    figure: str
    keys: tuple[str, ...] = ()


WIDE = 1.0  # an interval of an exponent longer than this decides nothing

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
    return Finding("not tested here", f"Not decided: {figure}", tuple(dict.fromkeys(keys)))


def untested(needs: str) -> Finding:
    return Finding("not tested here", f"It takes {needs}.")


def keys_of(cells: pd.DataFrame) -> list[str]:
    """The record keys behind rows of `Study.cells`."""
    return [key for keys in cells["keys"] for key in keys]


@dataclass(frozen=True)
class Growth:
    """A fitted exponent over sizes from `low` to `high`, and the records behind it."""

    law: PowerLaw
    low: float
    high: float
    keys: tuple[str, ...]

    def words(self, axis: str, theory: float | None = None) -> str:
        text = f"exponent {self.law.exponent:.2f}"
        if self.law.low == self.law.low:
            text += f" [{self.law.low:.2f}, {self.law.high:.2f}]"
        text += f" in {axis} from {self.low:g} to {self.high:g}"
        return text + (
            f", {self.law.top:.2f} between the two largest" if theory is not None else ""
        )

    def is_about(self, theory: float) -> bool | None:
        """Whether theory lies in the interval, or within 0.15 of the exponent or of its top.

        None where the interval is so wide that it would hold nearly anything.
        """
        if self.law.high - self.law.low > WIDE:
            return None
        inside = self.law.low <= theory <= self.law.high
        return inside or min(abs(self.law.exponent - theory), abs(self.law.top - theory)) <= 0.15


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
    if cells.empty or cells[axis].nunique() < 3:
        return None
    held = [*(s for s in SETTINGS if s != axis), "variant"]
    slices = cells.groupby(held, dropna=False).ngroup()
    sizes = cells[axis].astype(float)
    return Growth(
        fit(sizes, cells[metric], slices), sizes.min(), sizes.max(), tuple(keys_of(cells))
    )


@dataclass(frozen=True)
class Ratio:
    """Geometric mean of a ratio over pairs of cells, with Student's 95 % interval."""

    centre: float
    low: float
    high: float
    pairs: int
    keys: tuple[str, ...]

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

    def words(self) -> str:
        interval = f" [{self.low:.3g}, {self.high:.3g}]" if self.low == self.low else ""
        pairs = "1 pair" if self.pairs == 1 else f"{self.pairs} pairs"
        return f"{self.centre:.3g}×{interval} over {pairs}"


def ratio(
    cells: pd.DataFrame, of: pd.Series, to: pd.Series, metric: str, vary: Iterable[str]
) -> Ratio | None:
    """The ratio of `metric` between cells chosen by `of` and by `to` that are equal but in
    `vary`.
    """
    from scipy.special import stdtrit

    dropped = set(vary)
    held = [s for s in (*SETTINGS, "variant") if s not in dropped]
    cells = cells.assign(_of=of, _to=to)[cells[metric].gt(0)]
    above = cells[cells["_of"]].drop_duplicates(held)
    below = cells[cells["_to"]].drop_duplicates(held)
    pairs = above.merge(below, on=held, suffixes=("", "_base"))
    if pairs.empty:
        return None
    logs = np.log(pairs[metric] / pairs[f"{metric}_base"]).to_numpy(dtype=float)
    half = (
        float(stdtrit(len(logs) - 1, 0.975)) * logs.std(ddof=1) / np.sqrt(len(logs))
        if len(logs) > 1
        else np.nan
    )
    centre, low, high = (
        float(np.exp(v)) for v in (logs.mean(), logs.mean() - half, logs.mean() + half)
    )
    keys = [k for column in ("keys", "keys_base") for ks in pairs[column] for k in ks]
    return Ratio(centre, low, high, len(logs), tuple(keys))


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
