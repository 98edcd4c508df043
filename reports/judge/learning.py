"""What training came to under each method, and which methods learned as well as the best."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import ndtr

from reports.records.columns import BOUNDS
from reports.stats import ALPHA, LEAST, Z95, Interval, behind, holm, interval, wilson

# What training came to, the most telling first; the first that was recorded is judged.
LEARNED = ("test_accuracy", "accuracy", "test_r2", "r2", "loss_final")
UNBOUNDED = ("test_r2", "r2")  # 0 is guessing
SAME = 0.02  # accuracies no further apart decide nothing; of losses, as a share
_METHOD = ["setting", "method"]
_UNKNOWN_TEST = 100  # test sequences, where the records do not tell
_STUCK = 0.99  # of the loss of guessing: no lower than this is guessing; nor is 1 % explained more
# A method that gained less over guessing than this share of what the best did, and this much less,
# has not learned the task, however few its seeds.
_MOST_OF_IT, _MUCH = 0.6, 0.15
# Accuracy that another seed may be worth, which fewer than three do not tell: where seeds spread by
# 2 points (standard deviation), the best and the worst of nine equal ways seldom lie further apart.
OF_A_SEED = 0.08

Verdict = Literal["learned", "at chance", "far behind", "behind on the test data",
                  "significantly worse", "fails on some seeds"]  # fmt: skip


@dataclass(frozen=True)
class Learned:
    """What training came to under one method of one setting, at the best of its learning rates."""

    metric: str  # the column that is judged
    figure: Interval  # mean over seeds
    seeds: Mapping[Hashable, float]  # repeats and batchings of a seed are one value
    chance: float  # the value of guessing; nan where the records do not tell
    lr: float  # the best of `n_lr` by this metric; nan where none was recorded
    n_lr: int
    rounding: float  # largest difference between batchings on one seed
    n_test: float  # sequences of test data, the least that is likely where the records do not tell
    sound: bool  # some of its seeds are healthy
    guessing: int  # seeds that are no better than guessing, as those that diverged
    verdict: Verdict = "learned"
    p: float = math.nan  # of no difference to the best, where that was tested
    best: float = math.nan  # the figure of the best
    lags: bool = False  # worse than that by what matters, however well it is told

    @property
    def better(self) -> float:
        """The figure, as a number of which more is better."""
        return _sign(self.metric) * self.figure.centre

    @property
    def gained(self) -> float:
        """Over guessing; where that is not known over nothing, and nan of a loss."""
        unknown = 0.0 if math.isnan(self.chance) and self.metric != "loss_final" else self.chance
        return self.better - _sign(self.metric) * unknown


def metrics(ok: pd.DataFrame) -> dict[int, str]:
    """What training is judged by in each setting; "" where nothing was trained."""
    told = {m: ok[m].notna() for m in LEARNED}
    told |= {f"{m} diverged": ok["diverged"].eq(m) for m in UNBOUNDED}
    known = pd.DataFrame({**told, "": True}).groupby(ok["setting"]).any()
    return known.idxmax(axis=1).str.removesuffix(" diverged").to_dict()


def learned(ok: pd.DataFrame, metric_of: Mapping[int, str]) -> dict[tuple[int, str], Learned]:
    """(setting, method) -> what training came to, with its verdict.

    Args:
        ok: the rows that ran.
        metric_of: setting -> what is judged.
    """
    by = ok.groupby(_METHOD)
    known = by[["n_classes", "guess_accuracy", "guess_loss", "loss_first", "n_test"]].first()
    of_task = known.assign(n_lr=by["lr"].nunique()).to_dict("index")
    guess = {of: _chance(metric_of[of[0]], task) for of, task in of_task.items()}
    rates: dict[tuple[int, str], dict[float, list[Any]]] = {}
    for row in _seeds(ok, ok["setting"].map(metric_of), guess).itertuples():
        rates.setdefault((row.setting, row.method), {}).setdefault(row.lr, []).append(row)
    found: dict[int, dict[str, Learned]] = {}
    for (setting, method), some in rates.items():
        came_to = _came_to(metric_of[setting], some, of_task[setting, method])
        found.setdefault(setting, {})[method] = came_to
    return {(s, m): f for s, some in found.items() for m, f in _judged(some).items()}


def _seeds(
    ok: pd.DataFrame, metric: pd.Series, guess: Mapping[tuple[int, str], float]
) -> pd.DataFrame:
    """A row for each seed at each learning rate of a method: ``score``, the mean over batchings
    (its repeats give the same number again); ``rounding``, how far these lie apart; ``sick``.

    Args:
        metric: [rows] what each is judged by.
        guess: (setting, method) -> what guessing comes to.
    """
    runs = ok[[*_METHOD, "seed", "batching"]].assign(
        lr=ok["lr"].fillna(0),
        sick=ok["health"].ne(""),
        score=np.select([metric.eq(m) for m in LEARNED], [ok[m] for m in LEARNED], np.nan),
    )
    # A run that diverged counts as one that guesses, or as the worst of its method that is a
    # number: left out, it would leave a mean of those that happened not to.
    sign = metric.map(_sign)
    floor = sign * [guess[of] for of in zip(runs["setting"], runs["method"], strict=True)]
    least = (sign * runs["score"]).groupby([runs[c] for c in _METHOD]).transform("min")
    worst = sign * least.fillna(floor).clip(upper=floor)
    diverged = runs["score"].isna() & ok["diverged"].eq(metric) & metric.ne("")
    runs = runs.assign(score=runs["score"].mask(diverged, worst)).dropna(subset="score")
    by = [*_METHOD, "lr", "seed"]
    # A sick run counts where its seed has no other: what diverged is not left out of a mean.
    none_sound = runs.groupby(by, dropna=False)["sick"].transform("all")
    batchings = runs[~runs["sick"] | none_sound].groupby([*by, "batching"], dropna=False)
    each = batchings[["score", "sick"]].mean().groupby(by, dropna=False)
    apart = each["score"].max() - each["score"].min()
    return each.mean().assign(rounding=apart).reset_index()


def _came_to(
    metric: str, rates: Mapping[float, Sequence[Any]], known: Mapping[str, float]
) -> Learned:
    """What a method came to, without a verdict but for that of guessing.

    Args:
        rates: learning rate -> rows of `_seeds`.
        known: what its records tell of the task.
    """
    most = max(map(len, rates.values()))

    def merit(lr: float) -> tuple[float, float, float]:
        mean = float(np.mean([seed.score for seed in rates[lr]]))
        return _sign(metric) * mean, -sum(seed.sick for seed in rates[lr]), lr

    lr = max((lr for lr in rates if len(rates[lr]) == most), key=merit)
    scores, n_test = [seed.score for seed in rates[lr]], known["n_test"]
    chance, likely = _chance(metric, known), n_test if n_test > 0 else _UNKNOWN_TEST
    guessing = sum(_guessing(score, metric, chance, likely) for score in scores)
    # The geometric mean of losses would hide one that is as if nothing had been learned.
    limits = (0.0, math.inf) if metric == "loss_final" and guessing and min(scores) > 0 else None
    figure = interval(scores, bounds=BOUNDS.get(metric, limits))
    if metric == "test_accuracy" and len(scores) == 1 and n_test > 0 and 0 <= scores[0] <= 1:
        figure = wilson(scores[0], int(n_test))
    return Learned(
        metric=metric, figure=figure, seeds={seed.seed: seed.score for seed in rates[lr]},
        chance=chance, lr=lr or math.nan, n_lr=int(known["n_lr"]),
        rounding=max(seed.rounding for seed in rates[lr]), n_test=likely,
        sound=any(seed.sick < 1 for seed in rates[lr]), guessing=guessing,
        verdict="at chance" if _guessing(figure.centre, metric, chance, likely) else "learned",
    )  # fmt: skip


def _judged(found: Mapping[str, Learned]) -> dict[str, Learned]:
    """The methods of a setting with their verdicts; the best is one that is healthy, if any is."""
    above = {m: f for m, f in found.items() if f.verdict == "learned"}
    pool = {m: f for m, f in above.items() if f.sound} or above
    if not pool:
        return dict(found)
    ranked = sorted(pool, key=lambda m: (pool[m].better, m))
    top, best = ranked[-1], pool[ranked[-1]]
    # Where that is of too few seeds, the others are tested against the best that is not.
    rival = next((m for m in ranked[::-1] if len(pool[m].seeds) >= LEAST), top)
    loss = best.metric == "loss_final"
    same, much = (
        (SAME * abs(best.figure.centre), _MUCH * abs(best.chance)) if loss else (SAME, _MUCH)
    )
    # Losses are compared by factors, as their means are, unless some are negative.
    logs = loss and min(v for f in above.values() for v in f.seeds.values()) > 0
    values = {m: {s: -math.log(v) if logs else _sign(f.metric) * v for s, v in f.seeds.items()}
              for m, f in above.items()}  # fmt: skip
    p = dict.fromkeys(sorted(above.keys() - {top}), math.nan)
    p |= {m: chance for m, chance in behind(values, rival).items() if m in p}
    below = _below_by_test_data({m: above[m] for m in p if math.isnan(p[m])}, best)
    out = dict(found)
    for name in p:
        one = above[name]
        verdict: Verdict = "learned"
        lags = best.better - one.better > same
        if p[name] < ALPHA and pool[rival].better - one.better > same:
            verdict = "significantly worse"
        elif one.gained < min(_MOST_OF_IT * best.gained, best.gained - much):
            verdict = "far behind"
        elif name in below:
            verdict = "behind on the test data"
        elif lags and one.guessing > best.guessing and len(one.seeds) >= LEAST:
            # These seeds spread it so far that no test tells it from the best.
            verdict = "fails on some seeds"
        out[name] = replace(one, verdict=verdict, p=p[name], best=best.figure.centre, lags=lags)
    return out


def _below_by_test_data(few: Mapping[str, Learned], best: Learned) -> set[str]:
    """Which methods of fewer than three seeds are below the best by more than another seed may be
    worth, by the test of two proportions of Agresti and Caffo (2000), one correction over all.
    """
    if best.metric != "test_accuracy" or not few:
        return set()

    def share(one: Learned) -> tuple[float, float]:
        right = min(max(one.figure.centre, 0.0), 1.0) * one.n_test
        adjusted = (right + 1) / (one.n_test + 2)
        return adjusted, adjusted * (1 - adjusted) / (one.n_test + 2)

    top, spread = share(best)
    p = [float(ndtr((OF_A_SEED - (top - mine)) / math.sqrt(spread + own)))
         for mine, own in map(share, few.values())]  # fmt: skip
    return {name for name, chances in zip(few, holm(p), strict=True) if chances < ALPHA}


def _sign(metric: str) -> float:
    return -1.0 if metric == "loss_final" else 1.0


def _chance(metric: str, known: Mapping[str, float]) -> float:
    classes = known["n_classes"]
    if metric == "loss_final":
        guess = math.log(classes) if classes > 1 else known["guess_loss"]
        return guess if guess == guess else known["loss_first"]
    if metric in UNBOUNDED:
        return 0.0  # of the best constant
    # Of classes that are not as frequent as each other the most frequent.
    most = known["guess_accuracy"] if metric == "test_accuracy" else math.nan
    return max(1 / classes, np.nan_to_num(most)) if classes > 1 else math.nan


def _guessing(value: float, metric: str, chance: float, n_test: float) -> bool:
    """Whether a mean over seeds is no better than guessing; no where that is not known."""
    if metric == "loss_final":
        return value >= chance - (1 - _STUCK) * abs(chance)
    if metric in UNBOUNDED:
        return value <= 1 - _STUCK
    return value <= chance + Z95 * math.sqrt(chance * (1 - chance) / n_test)
