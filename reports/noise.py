"""How far two measurements of the same thing lie apart on this machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.columns import SETTINGS
from reports.study import Study

LEAST_BAR = 0.05  # below 5 % a difference in time is not called one, however quiet the machine was


@dataclass(frozen=True)
class Noise:
    """The A/A noise of one metric.

    Args:
        ratio: 95 % of pairs of processes of one cell differ by less than this share (0.04 = 4 %).
        pairs: how many pairs that is from.
        probe: whether the pairs come from the noise experiment itself, rather than from repeats.
    """

    ratio: float
    pairs: int
    probe: bool


def noise(study: Study, metric: str = "step_time_ms") -> Noise | None:
    """The floor from the noise experiment where there is one, else from any repeats; None without pairs."""
    rows = study.ok[study.ok[metric].gt(0)]
    probe = rows[rows["experiment"].eq("noise")]
    for chosen, is_probe in ((probe, True), (rows, False)):
        gaps = pair_gaps(chosen, metric)
        if len(gaps):
            return Noise(float(np.expm1(np.quantile(gaps, 0.95))), len(gaps), is_probe)
    return None


def pair_gaps(rows: pd.DataFrame, metric: str) -> np.ndarray:
    """|log ratio| of every pair of processes that ran the same cell with the same seed."""
    gaps = []
    for _, group in rows.groupby([*SETTINGS, "variant", "seed"], dropna=False):
        values = np.log(group[metric].to_numpy(dtype=float))
        first, second = np.triu_indices(len(values), k=1)
        gaps.append(np.abs(values[first] - values[second]))
    return np.concatenate(gaps) if gaps else np.empty(0)


def bar(found: Noise | None) -> float:
    """The share below which two times are called alike: the noise, but at least 5 %."""
    return max(LEAST_BAR, found.ratio if found else 0.0)
