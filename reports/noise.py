"""How far two measurements of the same thing lie apart on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

LEAST_BAR = 0.05  # below 5 % a difference in time is not called one, however quiet the machine was
# Where nothing was repeated: on a shared machine two processes that do the same work were seen as
# far apart as this.
UNKNOWN_BAR = 0.3


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


def noise(rows: pd.DataFrame, metric: str, cell: Sequence[str]) -> Noise | None:
    """The floor from the noise experiment where there is one, else from any repeats; None without
    pairs.

    Args:
        rows: ok rows of a results table.
        cell: the columns that two processes of one cell share.
    """
    rows = rows[rows[metric].gt(0)]
    probe = rows[rows["experiment"].eq("noise")]
    for chosen, is_probe in ((probe, True), (rows, False)):
        gaps = pair_gaps(chosen, metric, cell)
        if len(gaps):
            return Noise(float(np.expm1(np.quantile(gaps, 0.95))), len(gaps), is_probe)
    return None


def pair_gaps(rows: pd.DataFrame, metric: str, cell: Sequence[str]) -> np.ndarray:
    """|log ratio| of every pair of processes of one cell."""
    gaps = []
    for _, values in np.log(rows[metric].astype("float64")).groupby(
        [rows[c] for c in cell], dropna=False
    ):
        logs = values.to_numpy()
        first, second = np.triu_indices(len(logs), k=1)
        gaps.append(np.abs(logs[first] - logs[second]))
    return np.concatenate(gaps) if gaps else np.empty(0)


def bar(found: Noise | None) -> float:
    """The share below which two times are called alike: the noise, but at least 5 %; a wide one
    where the noise is unknown.
    """
    return max(LEAST_BAR, found.ratio) if found else UNKNOWN_BAR
