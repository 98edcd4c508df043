"""What training came to under each method, and which methods learned as well as the best."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from reports.records.columns import BOUNDS
from reports.stats import Interval, behind_best, interval, wilson

# What training came to, the most telling first; the first that was recorded is judged.
LEARNED = ("test_accuracy", "accuracy", "loss_final")
LEAST_SEEDS = 3  # below which no difference is called one
_ALPHA = 0.05
_Z = 1.96  # standard errors of a sample of test data that guessing may be right by chance
_UNKNOWN_TEST = 100  # test sequences, where the records do not tell
SAME = 0.02  # accuracies no further apart decide nothing; of losses, as a share
_STUCK = 0.99  # of the loss of guessing: no lower than this is guessing
# A method that gained less over guessing than this share of what the best did, and this much less,
# has not learned the task, however few its seeds.
_MOST_OF_IT, _MUCH = 0.6, 0.15

Verdict = Literal["learned", "at chance", "far behind", "significantly worse"]


@dataclass(frozen=True)
class Learned:
    """What training came to.

    Args:
        metric: the column that is judged.
        figure: mean over seeds, with its interval.
        seeds: seed -> value; repeats and batchings of a seed are one value.
        chance: the value of guessing; nan where the records do not tell.
        lr: the learning rate, the best of `n_lr` by this metric; nan where none was recorded.
        rounding: largest difference between batchings on one seed; nan where there was but one.
        verdict: as the best, or not.
        p: of no difference to the best; nan where that was not tested.
        best: the figure of the best.
    """

    metric: str
    figure: Interval
    seeds: Mapping[Hashable, float]
    chance: float
    lr: float
    n_lr: int
    rounding: float
    verdict: Verdict = "learned"
    p: float = math.nan
    best: float = math.nan

    @property
    def better(self) -> float:
        """The figure, as a number of which more is better."""
        return -self.figure.centre if self.metric == "loss_final" else self.figure.centre


def metric_of(cells: pd.DataFrame) -> str:
    """What is judged in a setting; "" where nothing was trained."""
    return next((m for m in LEARNED if m in cells and cells[m].notna().any()), "")


def learned(cells: pd.DataFrame, metric: str) -> Learned | None:
    """What one method's rows of a setting came to, at the best of its learning rates.

    Rows with a health warning count only where there are no others.
    """
    # As plain rows: there are few, and grouping a table of them takes a hundred times as long.
    rows = [
        row
        for row in zip(
            *(cells[c].tolist() for c in ("lr", "seed", "batching", "health", metric)), strict=True
        )
        if row[-1] == row[-1]
    ]
    if not rows:
        return None
    by_rate: dict[float | None, list[tuple]] = {}
    for row in rows:
        by_rate.setdefault(row[0] if row[0] == row[0] else None, []).append(row)
    rates = {lr: _per_seed(some) for lr, some in by_rate.items()}
    most = max(map(len, rates.values()))
    whole = {lr: found for lr, found in rates.items() if len(found) == most}
    sign = -1.0 if metric == "loss_final" else 1.0
    lr = max(whole, key=lambda rate: (sign * float(np.mean(list(whole[rate].values()))), rate or 0))
    values = np.array([whole[lr][seed] for seed in sorted(whole[lr], key=str)])
    n_test = _one_number(cells, "cfg.task.n_test")
    figure = interval(values, bounds=BOUNDS.get(metric))
    if metric == "test_accuracy" and len(values) == 1 and n_test > 0 and 0 <= values[0] <= 1:
        figure = wilson(float(values[0]), int(n_test))
    chance = _chance(cells, metric)
    guessing = _guessing(figure.centre, metric, chance, n_test)
    return Learned(
        metric=metric,
        figure=figure,
        seeds=whole[lr],
        chance=chance,
        lr=math.nan if lr is None else float(lr),
        n_lr=max(len(rates), cells["lr"].nunique()),
        rounding=_rounding(by_rate[lr]),
        verdict="at chance" if guessing else "learned",
    )


def judged(found: Mapping[str, Learned], sound: Mapping[str, bool]) -> dict[str, Learned]:
    """The methods of a setting with their verdicts.

    Args:
        found: method -> what it came to.
        sound: method -> whether its training was healthy: only such a one can be the best.
    """
    above = {m: f for m, f in found.items() if f.verdict == "learned"}
    pool = {m: f for m, f in above.items() if sound[m]} or above
    if not pool:
        return dict(found)
    best = max(pool, key=lambda m: (pool[m].better, m))
    sign = -1.0 if pool[best].metric == "loss_final" else 1.0
    p = behind_best(_sharing(pool, best) * sign)
    out = dict(found)
    for name, one in pool.items():
        if name == best:
            continue
        chances = float(p.get(name, math.nan))
        if chances != chances:
            chances = _unpaired(one, pool[best], len(pool))
        verdict: Verdict = "learned"
        if _far_behind(one, pool[best]):
            verdict = "far behind"
        if chances < _ALPHA and _matters(one, pool[best]):
            verdict = "significantly worse"
        out[name] = replace(one, verdict=verdict, p=chances, best=pool[best].figure.centre)
    return out


def _sharing(found: Mapping[str, Learned], best: str) -> pd.DataFrame:
    """[seed, method] of the methods that share enough seeds with the best, and with each other."""
    seeds = set(found[best].seeds)
    kept = {best: found[best].seeds}
    for name in sorted(found, key=lambda m: (-len(seeds & set(found[m].seeds)), m)):
        shared = seeds & set(found[name].seeds)
        if name != best and len(shared) >= LEAST_SEEDS:
            seeds, kept[name] = shared, found[name].seeds
    return pd.DataFrame({name: pd.Series(dict(values)) for name, values in kept.items()})


def _unpaired(one: Learned, best: Learned, methods: int) -> float:
    """p of no difference where too few seeds are shared: Welch's, times the number of pairs."""
    values = [list(found.seeds.values()) for found in (one, best)]
    if min(map(len, values)) < LEAST_SEEDS or all(np.ptp(v) == 0 for v in values):
        return math.nan
    p = float(stats.ttest_ind(*values, equal_var=False).pvalue)
    return min(1.0, p * methods * (methods - 1) / 2)


def _per_seed(rows: Sequence[tuple]) -> dict[Hashable, float]:
    """One value a seed: repeats and batchings give the same number again, but for rounding."""
    found: dict[Hashable, list[float]] = {}
    for _, seed, _, _, value in [r for r in rows if not r[3]] or rows:
        found.setdefault(None if seed is pd.NA else seed, []).append(value)
    return {seed: float(np.mean(values)) for seed, values in found.items()}


def _rounding(rows: Sequence[tuple]) -> float:
    """The largest difference between batchings on one seed; nan for one batching."""
    ways = [_per_seed([r for r in rows if r[2] == b]) for b in sorted({r[2] for r in rows})]
    gaps = [abs(a[s] - b[s]) for a, b in combinations(ways, 2) for s in a.keys() & b.keys()]
    return max(gaps, default=math.nan)


def _one_number(cells: pd.DataFrame, column: str) -> float:
    if column not in cells:
        return math.nan
    values = pd.to_numeric(cells[column], errors="coerce").dropna().tolist()
    return float(values[0]) if values else math.nan


def _chance(cells: pd.DataFrame, metric: str) -> float:
    classes = _one_number(cells, "n_classes")
    if metric != "loss_final":
        return 1 / classes if classes > 1 else math.nan
    return math.log(classes) if classes > 1 else _one_number(cells, "loss_first")


def _guessing(value: float, metric: str, chance: float, n_test: float) -> bool:
    """Whether a mean over seeds is no better than guessing; no where that is not known."""
    if metric == "loss_final":
        return value >= _STUCK * chance
    n = n_test if n_test > 0 else _UNKNOWN_TEST
    return value <= chance + _Z * math.sqrt(chance * (1 - chance) / n)


def _matters(one: Learned, best: Learned) -> bool:
    """Whether a difference is large enough to choose by, however well it is told."""
    scale = abs(best.figure.centre) if best.metric == "loss_final" else 1.0
    return best.better - one.better > SAME * scale


def _far_behind(one: Learned, best: Learned) -> bool:
    loss = one.metric == "loss_final"
    start = best.chance if loss or best.chance == best.chance else 0.0
    gains = [abs(f.figure.centre - start) for f in (one, best)]  # neither is at chance
    much = _MUCH * (start if loss else 1.0)
    return gains[0] < _MOST_OF_IT * gains[1] and gains[1] - gains[0] > much
