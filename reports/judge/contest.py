"""Who won a contest: ways that were tuned with the same effort, compared on fresh seeds.

A trial decides only at which point its own way is compared. Of the fresh seeds are compared the
score on test data that was looked at once, and the time to a target that was named before, both by
the test that any training is judged by (`reports.judge.learning`).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Literal

import numpy as np
import pandas as pd

from reports.judge.cost import UNKNOWN_BAR, UNKNOWN_RATIO_BAR, error_of
from reports.judge.facts import Facts, Setting
from reports.judge.learning import SAME
from reports.judge.rows import varied, words
from reports.judge.way import Way
from reports.records import Record
from reports.records.settings import identities
from reports.stats import LEAST, Z95, behind

ALPHA = 0.005 / 2  # of each of the two scores
SOONER = 1.1  # times to a target within this ratio decide nothing

Standing = Literal["first", "behind", "untold", "nothing"]


@dataclass(frozen=True, eq=False)
class Entry:
    """One way in one setting."""

    way: Way
    steps: Mapping[int, float]  # training steps to the target, by seed; infinite for a miss
    budget: float  # training steps of a seed
    stride: float  # those between two evaluations
    ms: float  # of one training step, nan where it was not timed
    error: float  # the standard error of its logarithm, another process included
    contention: bool  # it was measured under it
    chosen: Mapping[str, float]  # what was tuned, by name
    edge: Mapping[str, str]  # what of it is the lowest or highest value that was tried
    tried: int  # trials that ran
    failed: int  # runs of all kinds that did not get through
    best: Standing = "untold"  # how its score stands
    soonest: Standing = "untold"  # how its time to the target stands

    @property
    def name(self) -> str:
        return self.way.name

    @property
    def scores(self) -> Mapping[int, float]:
        """On the test data, by seed."""
        return self.way.learned.seeds if self.way.learned else {}  # type: ignore[return-value]

    @property
    def mean(self) -> float:
        return self.way.learned.figure.centre if self.way.learned else math.nan

    @property
    def guessing(self) -> int:
        """How many of its seeds are no better than guessing."""
        return self.way.learned.guessing if self.way.learned else 0

    @property
    def missed(self) -> bool:
        """Whether most seeds never reached the target."""
        return math.isinf(self.median_steps)

    @property
    def median_steps(self) -> float:
        return float(np.median(list(self.steps.values()))) if self.steps else math.nan

    @property
    def seconds(self) -> float:
        """Median time to the target; infinite where most seeds missed it."""
        return self.median_steps * self.ms / 1000


@dataclass(frozen=True, eq=False)
class Match:
    """All ways of one setting."""

    setting: Setting
    name: str  # task, model, and what else tells its setting from others of both
    target: float  # validation score that time counts to; nan for none
    entries: Sequence[Entry]
    in_steps: bool  # steps stand for the time to the target, no two times being comparable
    # All times are ratios to BPTT's, which do not count what slows both, times BPTT's in the
    # quietest process.
    by_turns: bool

    def standing(self, score: str, place: Standing) -> list[Entry]:
        """The entries that stand there by ``best`` or ``soonest``, the best first."""
        found = [e for e in self.entries if getattr(e, score) == place]
        if score == "best":
            return sorted(found, key=lambda e: (-e.mean, e.name))
        took = attrgetter("median_steps" if self.in_steps else "seconds")
        return sorted(found, key=lambda e: (took(e), e.median_steps, e.name))


def matches(table: pd.DataFrame, facts: Facts) -> list[Match]:
    """The contests among these rows; none where nothing was tuned.

    Args:
        table: `reports.judge.rows`, trials and all.
        facts: of the rows that are no trials.
    """
    ran = _cells(table)
    ways = {(s.id, way.name): way for s in facts.settings for way in s.ways}
    entries: dict[int, list[Entry]] = {}
    for place, rows in ran.groupby(["setting", "way"]):
        if way := ways.get(place):
            entries.setdefault(place[0], []).append(_entry(way, rows))
    found = [s for s in facts.settings if s.id in entries]
    return [_match(s, _name(s, found, facts), entries[s.id],
                   float(ran.loc[ran["setting"].eq(s.id), "target"].max()))
            for s in found]  # fmt: skip


def _name(setting: Setting, found: Sequence[Setting], facts: Facts) -> str:
    """Task and model, and what tells the setting from others of both."""
    alike = pd.DataFrame([other.row for other in found if other.place == setting.place])
    apart = [c for c in facts.varied if c not in ("task", "model")]
    return words(setting.row, ["task", "model", *varied(alike, apart)])


def tuned_alike(records: Sequence[Record]) -> list[Record]:
    """Records whose tuned hyperparameters no longer tell them from their own way's others.

    What one contest tuned is tuned in all of them: a second into the same folder, of other ranges,
    uses cells of the first. The values stay below ``tuned``.
    """
    efforts = [record["config"].get("tune") or {} for record in records]
    names = {name for tune in efforts if tune.get("trials")
             for name, ends in tune.items() if isinstance(ends, list) and name != "lr"}  # fmt: skip
    return [_alike(record, names) if tune.get("trials") else record
            for record, tune in zip(records, efforts, strict=True)]  # fmt: skip


def _alike(record: Record, names: set[str]) -> Record:
    config = record["config"]
    # A decay may be called decay_or_rank; a rank, a whole number, is not tuned.
    tuned = {key: key.partition("_or_")[0] for key, value in config.get("algo", {}).items()
             if isinstance(value, float)}  # fmt: skip
    values = {name: config["algo"][key] for key, name in tuned.items() if name in names}
    algo = {key: "tuned" for key, name in tuned.items() if name in names}
    return {**record, "config": {**config, "algo": config.get("algo", {}) | algo, "tuned": values}}


def at_other_points(table: pd.DataFrame) -> pd.Series:
    """Which rows are fresh seeds at another point than the one that is judged.

    A contest that is run again with more trials may choose anew, and the fresh seeds of both
    choices are there. As among trials the lowest validation loss decides, never the test data.
    """
    ran = _cells(table)
    method = [ran["setting"], ran["method"]]
    point = identities(ran, [*_hyperparameters(ran)])
    tried = ran["validation_loss"].where(ran["choose"].eq("trial") & ran["status"].eq("ok"))
    loss = tried.groupby([*method, point]).transform("min").fillna(math.inf)
    finals = loss[ran["choose"].eq("final")]
    # Of equal ones the later.
    chosen = finals[::-1].groupby(method).transform("idxmin")[::-1]
    other = point[finals.index].ne(point[chosen].to_numpy())
    return other.reindex(table.index, fill_value=False)


def _cells(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of contests, with what only they measure."""
    own = ("validation_loss", "steps_to_target", "target_accuracy", "target_r2")
    ran = table[table["choose"].ne("")].reindex(columns=[*dict.fromkeys([*table, *own])])
    return ran.assign(target=ran["target_accuracy"].fillna(ran["target_r2"]))


def _hyperparameters(table: pd.DataFrame) -> dict[str, str]:
    """Column -> name of what contests tune."""
    rest = {c: c.removeprefix("cfg.tuned.") for c in table if c.startswith("cfg.tuned.")}
    return {"lr": "lr", **rest}


def _match(setting: Setting, name: str, entries: Sequence[Entry], target: float) -> Match:
    ratios = [e.way.against.centre if e.way.against else 0.0 for e in entries]
    by_turns = all(r * e.ms > 0 for r, e in zip(ratios, entries, strict=True))
    if by_turns:
        bptt = min(e.ms / r for r, e in zip(ratios, entries, strict=True))
        entries = [replace(e, ms=bptt * r, error=error_of(e.way.against, UNKNOWN_RATIO_BAR),
                           contention=False)
                   for r, e in zip(ratios, entries, strict=True) if e.way.against]  # fmt: skip
    soonest, in_steps = _soonest(entries)
    lost = max(entries, key=lambda e: np.nan_to_num(e.mean, nan=-math.inf)).guessing
    made = [replace(e, best=_best(e.way, lost), soonest=soonest[e.name]) for e in entries]
    return Match(setting, name, target, made, in_steps, by_turns)


def _best(way: Way, lost: int) -> Standing:
    """By test score; what the size of the test data leaves open tells no two apart.

    Where more seeds guess, as those that diverged do, than the best way lost so, they spread a way
    so far that no test tells it from the best: all the same it is behind.
    """
    found = way.learned
    if found is None or found.verdict == "at chance":
        return "nothing" if found else "untold"
    if len(found.seeds) < LEAST:
        return "untold"
    share = found.metric == "test_accuracy"
    sampling = 2 * found.best * (1 - found.best) / found.n_test if share else 0.0
    apart = found.best - found.figure.centre > max(SAME, Z95 * math.sqrt(max(sampling, 0.0)))
    return "behind" if apart and (found.p < ALPHA or found.guessing > lost) else "first"


def _soonest(entries: Sequence[Entry]) -> tuple[dict[str, Standing], bool]:
    """By time to the target; a miss counts as twice the budget, which says too little of it.

    Returns:
        How each way stands, and whether by steps alone: where fewer than two were timed in quiet.
    """
    out: dict[str, Standing] = {
        e.name: "nothing" if e.steps and min(e.steps.values()) == math.inf else "untold"
        for e in entries
    }
    able = [e for e in entries if len(e.steps) >= LEAST and out[e.name] == "untold"]
    timed = [e for e in able if not math.isnan(e.ms) and not e.contention]
    in_steps = len(timed) < 2 <= len(able)
    able = [replace(e, ms=1.0, error=0.0) for e in able] if in_steps else timed
    if not able:
        return out, in_steps
    # More is better.
    logs: dict[str, dict[Hashable, float]] = {
        e.name: {seed: -math.log(min(n, 2 * e.budget) * e.ms) for seed, n in e.steps.items()}
        for e in able
    }
    means = {name: float(np.mean(list(found.values()))) for name, found in logs.items()}
    best = max(means, key=lambda name: (means[name], name))
    # An evaluation every `stride` steps leaves open when between two of them it was reached.
    open_ = [(e.stride / min(e.median_steps, 2 * e.budget)) ** 2 / 12 for e in able]
    p = behind(logs, best, False, math.sqrt(np.mean(open_)), {e.name: e.error**2 for e in able})
    for e in able:
        later = means[best] - means[e.name] > math.log(SOONER)
        if later and p.get(e.name, 1.0) < ALPHA:
            out[e.name] = "behind"
        elif not e.missed:  # where most seeds missed it there is no time that could be the shortest
            out[e.name] = "first"
    return out, in_steps


def _entry(way: Way, rows: pd.DataFrame) -> Entry:
    """A way with its trials and fresh seeds."""
    ok, trials = rows[rows["status"].eq("ok")], rows[rows["choose"].eq("trial")]
    finals = ok[ok["choose"].eq("final")]
    timed = finals[finals["target"].notna()]
    steps = timed["steps_to_target"].fillna(math.inf).clip(lower=1)  # the least that take a time
    chosen, edge = {}, {}
    for column, name in _hyperparameters(rows).items():
        values, tried = finals[column].dropna(), trials[column].dropna()
        if len(values):
            chosen[name] = float(values.iloc[0])
            if tried.nunique() > 1 and chosen[name] in (tried.min(), tried.max()):
                edge[name] = "lowest" if chosen[name] == tried.min() else "highest"
    return Entry(
        way, dict(zip(timed["seed"], steps, strict=True)),
        budget=finals["budget"].max(), stride=finals["stride"].max(), ms=way.ms,
        error=error_of(way.time.ms, UNKNOWN_BAR) if way.time else 0.0, contention=way.contended,
        chosen=chosen, edge=edge, tried=int(trials["status"].eq("ok").sum()),
        failed=way.lost + int((~trials["status"].isin(["ok", "skipped"])).sum()),
    )  # fmt: skip
