"""Cells that differ in one thing only, and the ratios of their times and memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from reports.choice import judged
from reports.records.columns import SETTINGS, SIZES
from reports.records.settings import varying_within
from reports.resampling import mean_interval
from reports.study import Study


@dataclass(frozen=True)
class Ratio:
    """The geometric mean of several ratios.

    Args:
        centre: the mean.
        low, high: Student's 95 % interval of it from three pairs on, else the least and greatest.
        pairs: how many pairs of cells it is of.
    """

    centre: float
    low: float
    high: float
    pairs: int


@lru_cache(maxsize=2)
def timed(study: Study) -> pd.DataFrame:
    """The cells with a time, each with whatever else was set for some (see `further`)."""
    cells = judged(study)
    cells = cells[cells["step_time_ms"].gt(0)]
    first = study.table.set_index("key").loc[[keys[0] for keys in cells["keys"]]]
    # As text, in which what is not set equals what is not set.
    return cells.assign(
        **{c: first[c].astype("string").fillna("").to_numpy() for c in further(study)}
    )


def comparable(study: Study) -> pd.DataFrame:
    """Those without a flaw: the time of a way that does not train is no way's gain."""
    cells = timed(study)
    return cells[cells["flaw"].eq("")]


def further(study: Study) -> list[str]:
    """What takes several values beside the settings that every table has."""
    machines = ["machine"] if study.table["machine"].nunique() > 1 else []
    return [*varying_within(study.table, SETTINGS), *machines]


def pairs(study: Study, cells: pd.DataFrame, what: str, one: str, base: str) -> pd.DataFrame:
    """Cells with `one` for the setting `what`, each beside the one with `base` there (`_base`).

    All else is equal but the options that only `what` has. Adds `time` and `cosine_gap`.
    """
    options = f"cfg.{what}."
    held = [s for s in (*SETTINGS, *further(study)) if s != what and not s.startswith(options)]
    found = cells[cells[what].eq(one)].merge(
        cells[cells[what].eq(base)], on=held, suffixes=("", "_base")
    )
    return found.assign(
        time=found["step_time_ms"] / found["step_time_ms_base"],
        cosine_gap=(found["grad_cosine"] - found["grad_cosine_base"]).abs(),
    )


def mean_ratio(ratios: pd.Series) -> Ratio:
    """The geometric mean of at least one ratio."""
    logs = np.log(ratios.to_numpy(dtype=float))
    mean, n = mean_interval(logs), len(logs)
    low, high = (mean.low, mean.high) if n >= 3 else (logs.min(), logs.max())
    return Ratio(float(np.exp(mean.centre)), float(np.exp(low)), float(np.exp(high)), n)


def growth(found: pd.DataFrame, alike: float) -> tuple[str, pd.Series] | None:
    """(size, mean ratio at each of its values) where the ratio of times rises or falls with it.

    Only series with a pair at every value count, so that nothing else changes along the way, and
    only a change beyond `alike`: the mean over such sizes would be of no size in particular.
    """
    for axis in SIZES:
        rest = [s for s in (*SETTINGS, "variant") if s not in (axis, "batching")]
        table = found.pivot_table(index=rest, columns=axis, values="time").dropna()
        if len(table) and table.shape[1] > 1:
            means = np.exp(np.log(table).mean())
            steps = np.diff(np.log(means.to_numpy()))
            if abs(steps.sum()) > np.log1p(alike) and abs(np.sign(steps).sum()) == len(steps):
                return axis, means
    return None
