"""What can be chosen from: the cells with what is wrong with them, and the winners of a setting."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from reports.records.columns import HELD, SIZES
from reports.study import Study, no_gradient

# A gradient this close to BPTT's is called faithful. The angle is 18 degrees.
FAITHFUL = 0.95
# What training came to, the most telling first; the first that was recorded is judged.
LEARNED = ("test_accuracy", "accuracy", "loss_final")
# Cosines to BPTT's no further apart than this may be of the same gradient.
SAME_COSINE = 0.02
EQUAL_MEMORY = 0.02  # as a share: memories no further apart count as equal
SLACK_MIB = 0.5  # pages and the allocator's slack move a measured peak by as much
_Z = 1.96  # standard errors to either side of a 95 % interval
_STUCK = 0.99  # of ln(classes): a loss no lower than this is that of guessing
_NO_GRADIENT = "no gradient reaches "


@dataclass(frozen=True)
class Choice:
    """The cells of one setting and the winners among them.

    Args:
        cells: rows of `judged`, with `able`: whether a way qualifies for `start`.
        memory: the metric that stands for memory here.
        start: the fastest of the faithful ways without a flaw that learn as well as the best.
        fast: the fastest.
        lean: of those that need the least memory, or as good as that, the fastest.
    """

    cells: pd.DataFrame
    memory: str
    start: pd.Series
    fast: pd.Series
    lean: pd.Series


@lru_cache(maxsize=2)
def judged(study: Study) -> pd.DataFrame:
    """The cells of a study with `flaw`: why one cannot be recommended, "" for nothing.

    A test accuracy's interval is widened to that of its sample of test data, which its seeds
    share and so cannot show. XLA's account of one sample at a time is of one call, not of a step,
    and is taken out.
    """
    cells = study.cells
    calls = cells["batching"].eq("single") & cells["batch_size"].gt(1)
    low, high = _accuracy_interval(study, cells)
    return cells.assign(
        flaw=[_flaw(study, cell) for _, cell in cells.iterrows()],
        memory_xla_mib=cells["memory_xla_mib"].mask(calls),
        memory_temp_mib=cells["memory_temp_mib"].mask(calls),
        test_accuracy_lo=np.fmin(cells["test_accuracy_lo"].astype("float64"), low),
        test_accuracy_hi=np.fmax(cells["test_accuracy_hi"].astype("float64"), high),
    )


def _flaw(study: Study, cell: pd.Series) -> str:
    silent, weights = without_gradient(study, cell)
    # Records that name those weights in their health would say it twice.
    words = [w for w in str(cell["health"]).split("; ") if w and not w.startswith(_NO_GRADIENT)]
    return "; ".join([f"no gradient for {silent} of {weights} weights"] * (silent > 0) + words)


def without_gradient(study: Study, cell: pd.Series) -> tuple[int, int]:
    """(weights that get no gradient in one of the cell's processes, weights that were compared)."""
    processes = [study.by_key[key].get("fidelity") or {} for key in cell["keys"]]
    silent = {weight for each in processes for weight, f in each.items() if no_gradient(f)}
    return len(silent), len(set().union(*processes))


def no_better_than_chance(study: Study, cell: pd.Series) -> str:
    """In words, that a way learned nothing that guessing does not know; "" where it did, or where
    the records do not tell the number of classes.
    """
    classes = study.by_key[cell["keys"][0]]["metrics"].get("n_classes")
    if classes is None:
        return ""
    if cell["test_accuracy"] == cell["test_accuracy"]:
        low = cell["test_accuracy_lo"]
        guessed = (low if low == low else cell["test_accuracy"]) <= 1 / classes
        return f"its test accuracy is not above chance, 1 in {classes}" if guessed else ""
    guessed = cell["loss_final"] >= _STUCK * math.log(classes)
    return f"its loss is no lower than that of guessing, ln({classes})" if guessed else ""


def _accuracy_interval(study: Study, cells: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Wilson's 95 % interval of each test accuracy; NaN where the sample's size is unknown."""
    sizes = study.table.set_index("key").get("cfg.task.n_test", pd.Series(dtype="float64"))
    first = [keys[0] for keys in cells["keys"]]
    n = pd.to_numeric(sizes.reindex(first), errors="coerce").astype("float64").to_numpy()
    p = cells["test_accuracy"].astype("float64")
    middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * np.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    return middle - half, middle + half


@lru_cache(maxsize=2)
def settings(study: Study) -> list[Choice]:
    """The settings under which algorithms can be compared, the richest and largest first."""
    return [_choose(group, study.memory) for group in by_setting(study, "step_time_ms")]


def by_setting(study: Study, metric: str) -> list[pd.DataFrame]:
    """The judged cells that have this metric, those of one setting together, in the same order."""
    if study.cells.empty:
        return []
    cells = judged(study)
    measured = cells[cells[metric].gt(0)]
    groups = [group for _, group in measured.groupby(HELD, dropna=False)]
    size = [
        (g["variant"].nunique(), len(g), np.prod([float(g[s].iloc[0]) for s in SIZES]))
        for g in groups
    ]
    order = sorted(range(len(groups)), key=lambda i: size[i], reverse=True)
    return [groups[i] for i in order]


def _choose(cells: pd.DataFrame, memory: str) -> Choice:
    # What XLA's account leaves out can only be compared by the measured peak.
    if cells[memory].isna().any() and cells["memory_peak_mib"].notna().all():
        memory = "memory_peak_mib"
    pool = where_any(cells, cells["flaw"].eq(""))
    fast = pool.loc[pool["step_time_ms"].idxmin()]
    # Of those that need the same memory, the fastest.
    small = pool[least_memory(pool, memory)]
    lean = small.loc[small["step_time_ms"].idxmin()] if len(small) else fast
    # Where no fidelity was recorded, speed decides alone, and the sentence claims none.
    faithful = where_any(pool, pool["grad_cosine"].ge(FAITHFUL))
    able = where_any(faithful, ~behind(faithful, learned(cells)))
    start = able.loc[able["step_time_ms"].idxmin()]
    return Choice(cells.assign(able=cells.index.isin(able.index)), memory, start, fast, lean)


def where_any(cells: pd.DataFrame, wanted: pd.Series) -> pd.DataFrame:
    """The wanted cells, or all where none is."""
    return cells[wanted] if wanted.any() else cells


def least_memory(cells: pd.DataFrame, memory: str) -> pd.Series:
    """Which cells need no more memory than the leanest, but for what cannot be told apart."""
    least = cells[memory].min()
    slack = SLACK_MIB if memory == "memory_peak_mib" else 0.0
    return cells[memory].le(max((1 + EQUAL_MEMORY) * least, least + slack))


def learned(cells: pd.DataFrame) -> str:
    """The most telling metric of what training came to; "" where none was recorded."""
    return next((m for m in LEARNED if cells[m].notna().any()), "")


def behind(cells: pd.DataFrame, metric: str) -> pd.Series:
    """Which cells learned less than the best, beyond what both intervals allow for.

    Nothing is behind that has no interval.
    """
    if not metric or cells[metric].isna().all():
        return pd.Series(False, index=cells.index)
    low, high = cells[metric] - cells[f"{metric}_lo"], cells[f"{metric}_hi"] - cells[metric]
    values = cells[metric]
    if metric == "loss_final":
        values, low, high = -values, high, low
    best = values.idxmax()
    # Each interval counts by the side that faces the other: near 0 and 1 they are lopsided.
    return (values[best] - values).gt(np.hypot(high, low[best]))
