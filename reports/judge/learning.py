"""What training came to under each method, and which methods learned as well as the best."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd

from reports.records.columns import BOUNDS
from reports.stats import Interval, behind, interval, wilson

# What training came to, the most telling first; the first that was recorded is judged.
LEARNED = ("test_accuracy", "accuracy", "test_r2", "r2", "loss_final")
_ALPHA = 0.05
Z = 1.96  # standard errors of a sample of test data that chance may be worth
_UNKNOWN_TEST = 100  # test sequences, where the records do not tell
SAME = 0.02  # accuracies no further apart decide nothing; of losses, as a share
_STUCK = 0.99  # of the loss of guessing: no lower than this is guessing; nor is 1 % explained more
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
        n_test: sequences of test data, the least that is likely where the records do not tell.
        verdict: as the best, or not.
        p: of no difference to the best; nan where that was not tested.
        best: the figure of the best.
        lags: worse than that by what matters, however well it is told.
    """

    metric: str
    figure: Interval
    seeds: Mapping[Hashable, float]
    chance: float
    lr: float
    n_lr: int
    rounding: float
    n_test: float
    verdict: Verdict = "learned"
    p: float = math.nan
    best: float = math.nan
    lags: bool = False

    @property
    def better(self) -> float:
        """The figure, as a number of which more is better."""
        return -self.figure.centre if self.metric == "loss_final" else self.figure.centre


def metric_of(cells: pd.DataFrame) -> str:
    """What is judged in a setting; "" where nothing was trained."""
    found = [m for m in LEARNED if cells[m].notna().any()]
    return [*found, *(m for m in LEARNED if cells["diverged"].eq(m).any()), ""][0]


def learned(cells: pd.DataFrame, metric: str) -> Learned | None:
    """What one method's rows of a setting came to, at the best of its learning rates.

    A run that diverged, so that its score is no number, counts as one that guesses, or as the worst
    of its method that is a number: left out, it would leave a mean of those that happened not to.
    """
    chance, values = _chance(cells, metric), cells[metric]
    diverged = values.isna() & cells["diverged"].ne("")
    values = values.mask(diverged, np.fmin(chance, values.min()))
    # As plain rows: there are few, and grouping a table of them takes a hundred times as long.
    rows = [
        row
        for row in zip(
            *(cells[c].tolist() for c in ("lr", "seed", "batching", "health")),
            values.tolist(),
            strict=True,
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
    sick = {lr: sum(bool(row[3]) for row in some) for lr, some in by_rate.items()}

    def merit(rate: float | None) -> tuple[float, int, float]:
        return sign * float(np.mean(list(whole[rate].values()))), -sick[rate], rate or 0.0

    lr = max(whole, key=merit)
    scores = np.array([whole[lr][seed] for seed in sorted(whole[lr], key=str)])
    n_test = _one_number(cells, "n_test")
    figure = interval(scores, bounds=BOUNDS.get(metric))
    if metric == "test_accuracy" and len(scores) == 1 and n_test > 0 and 0 <= scores[0] <= 1:
        figure = wilson(float(scores[0]), int(n_test))
    n = n_test if n_test > 0 else _UNKNOWN_TEST
    return Learned(
        metric=metric,
        figure=figure,
        seeds=whole[lr],
        chance=chance,
        lr=math.nan if lr is None else float(lr),
        n_lr=max(len(rates), cells["lr"].nunique()),
        rounding=_rounding(by_rate[lr]),
        n_test=n,
        verdict="at chance" if _guessing(figure.centre, metric, chance, n) else "learned",
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
    top = max(pool, key=lambda m: (pool[m].better, m))
    best = pool[top]
    sign = -1.0 if best.metric == "loss_final" else 1.0
    p = behind({m: {s: sign * v for s, v in f.seeds.items()} for m, f in above.items()}, top)
    out = dict(found)
    for name, chances in p.items():
        verdict: Verdict = "far behind" if _far_behind(above[name], best) else "learned"
        lags = _matters(above[name], best)
        if chances < _ALPHA and lags:
            verdict = "significantly worse"
        out[name] = replace(above[name], verdict=verdict, p=chances, best=best.figure.centre,
                            lags=lags)  # fmt: skip
    return out


def _per_seed(rows: Sequence[tuple]) -> dict[Hashable, float]:
    """One value a seed: repeats and batchings give the same number again, but for rounding."""
    found: dict[Hashable, list[tuple[str, float]]] = {}
    for _, seed, _, health, value in rows:
        found.setdefault(None if seed is pd.NA else seed, []).append((health, value))
    # A sick run counts where its seed has no other: what diverged is not left out of a mean.
    return {seed: float(np.mean([v for health, v in some if not health] or [v for _, v in some]))
            for seed, some in found.items()}  # fmt: skip


def _rounding(rows: Sequence[tuple]) -> float:
    """The largest difference between batchings on one seed; nan for one batching."""
    ways = [_per_seed([r for r in rows if r[2] == b]) for b in sorted({r[2] for r in rows})]
    gaps = [abs(a[s] - b[s]) for a, b in combinations(ways, 2) for s in a.keys() & b.keys()]
    return max(gaps, default=math.nan)


def _one_number(cells: pd.DataFrame, column: str) -> float:
    values = cells[column].dropna().tolist()
    return float(values[0]) if values else math.nan


def _chance(cells: pd.DataFrame, metric: str) -> float:
    classes = _one_number(cells, "n_classes")
    if metric == "loss_final":
        guess = math.log(classes) if classes > 1 else _one_number(cells, "guess_loss")
        return guess if guess == guess else _one_number(cells, "loss_first")
    if metric in ("test_r2", "r2"):
        return 0.0  # of the best constant
    return 1 / classes if classes > 1 else math.nan


def _guessing(value: float, metric: str, chance: float, n_test: float) -> bool:
    """Whether a mean over seeds is no better than guessing; no where that is not known."""
    if metric == "loss_final":
        return value >= _STUCK * chance
    if metric in ("test_r2", "r2"):
        return value <= 1 - _STUCK
    return value <= chance + Z * math.sqrt(chance * (1 - chance) / n_test)


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
