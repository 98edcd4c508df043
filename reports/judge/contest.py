"""Who won a contest: ways that were tuned with the same effort, compared on fresh seeds.

A trial decides only at which point its own way is compared. What is compared is the fresh seeds:
the accuracy on test data that was looked at once, by the test that any training is judged by
(`reports.judge.learning`), and the time to a target that was named before, by the same test. Two
equal ways are told apart in one contest of 200.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from reports.judge.cost import Z95
from reports.judge.facts import Facts, Setting
from reports.judge.learning import SAME
from reports.judge.way import Way
from reports.records import Record
from reports.stats import LEAST, Interval, behind

ALPHA = 0.005 / 2  # of each of the two scores
SOONER = 1.1  # times to a target within this ratio decide nothing

Standing = Literal["first", "behind", "untold", "nothing"]


@dataclass(frozen=True, eq=False)
class Entry:
    """One way in one setting.

    Args:
        steps: training steps to the target, by seed; infinite where it was not reached.
        budget: training steps of a seed, and `stride` those between two evaluations.
        ms: of one training step, nan where it was not timed; `error` the standard error of its
            logarithm; whether it was measured under `contention`.
        chosen: what was tuned, by name; `edge` those at the first or last value that was tried.
        tried: trials that ran; `failed`, runs of all kinds that did not get through.
        best: how its score stands; `soonest`: its time to the target.
    """

    way: Way
    steps: Mapping[int, float]
    budget: float
    stride: float
    ms: float
    error: float
    contention: bool
    chosen: Mapping[str, float]
    edge: Mapping[str, str]
    tried: int
    failed: int
    best: Standing = "untold"
    soonest: Standing = "untold"

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
    """All ways of one setting.

    Args:
        target: validation score that time counts to; nan for none.
        in_steps: whether steps stand for the time to the target, no two times being comparable.
        by_turns: whether all times are ratios to BPTT's, which do not count what slows both, times
            BPTT's in the quietest process.
    """

    setting: Setting
    target: float
    entries: Sequence[Entry]
    in_steps: bool
    by_turns: bool

    @property
    def where(self) -> pd.Series:
        """Model, task and sizes, by column."""
        return self.setting.row

    @property
    def metric(self) -> str:
        """The column of the scores that are compared."""
        return self.setting.metric

    @property
    def chance(self) -> float:
        """Score of guessing; nan where the records do not tell."""
        return next((e.way.learned.chance for e in self.entries if e.way.learned), math.nan)

    def standing(self, score: str, place: Standing) -> list[Entry]:
        """The entries that stand there by ``best`` or ``soonest``, the best first."""
        found = [e for e in self.entries if getattr(e, score) == place]
        if score == "best":
            return sorted(found, key=lambda e: (-e.mean, e.name))
        return sorted(found, key=lambda e: (e.seconds, e.median_steps, e.name))


def matches(table: pd.DataFrame, facts: Facts, records: Mapping[str, Record]) -> list[Match]:
    """The contests among these rows; none where nothing was tuned.

    Args:
        table: `reports.judge.rows`, trials and all.
        facts: of the rows that are no trials.
        records: by key, as `tuned_alike` made them.
    """
    ran = table[table["choose"].ne("")]
    found = []
    for setting in facts.settings:
        entries = []
        for way in setting.ways:
            rows = ran[ran["setting"].eq(setting.id) & ran["way"].eq(way.name)]
            if len(rows):
                entries.append(_entry(way, rows, records))
        if entries:
            known = [_target(records[key])
                     for key in ran.loc[ran["setting"].eq(setting.id), "key"]]  # fmt: skip
            target = next((t for t in known if t is not None), math.nan)
            found.append(_match(setting, entries, target))
    return found


def tuned_alike(records: Sequence[Record]) -> list[Record]:
    """Records whose tuned hyperparameters no longer tell them from their own way's others.

    What one contest tuned is tuned in all of them: a second into the same folder, of other ranges,
    uses cells of the first. The values stay below ``tuned``.
    """
    names = {name for record in records for name in _names(record["config"])}
    return [_alike(record, _tuned(record["config"], names)) for record in records]


def at_other_points(table: pd.DataFrame, records: Mapping[str, Record]) -> pd.Series:
    """Which rows are fresh seeds at another point than the one that is judged.

    A contest that is run again with more trials may choose anew, and the fresh seeds of both
    choices are there. As among trials the lowest validation loss decides, never the test data.
    """
    other = pd.Series(False, index=table.index)
    for _, rows in table[table["choose"].ne("")].groupby(["setting", "method"], sort=False):
        finals = rows[rows["choose"].eq("final")]
        at = {i: tuple(_point(records[key]).items()) for i, key in finals["key"].items()}
        if len(set(at.values())) < 2:
            continue
        losses = dict.fromkeys(at.values(), math.inf)
        trials = rows[rows["choose"].eq("trial") & rows["status"].eq("ok")]
        for record in (records[key] for key in trials["key"]):
            point, loss = tuple(_point(record).items()), record["metrics"].get("validation_loss")
            if point in losses and loss is not None:
                losses[point] = min(losses[point], float(loss))
        chosen = min(reversed(losses), key=lambda point: losses[point])
        other |= pd.Series({i: point != chosen for i, point in at.items()}).reindex(
            table.index, fill_value=False
        )
    return other


def _match(setting: Setting, entries: Sequence[Entry], target: float) -> Match:
    ratios = [e.way.against.centre if e.way.against else 0.0 for e in entries]
    by_turns = all(r * e.ms > 0 for r, e in zip(ratios, entries, strict=True))
    if by_turns:
        bptt = min(e.ms / r for r, e in zip(ratios, entries, strict=True))
        entries = [replace(e, ms=bptt * r, error=_error(e.way.against), contention=False)
                   for r, e in zip(ratios, entries, strict=True)]  # fmt: skip
    soonest, in_steps = _soonest(entries)
    made = [replace(e, best=_best(e.way), soonest=soonest[e.name]) for e in entries]
    return Match(setting, target, made, in_steps, by_turns)


def _best(way: Way) -> Standing:
    """By test score; what the size of the test data leaves open tells no two apart."""
    found = way.learned
    if found is None or found.verdict == "at chance":
        return "nothing" if found else "untold"
    if len(found.seeds) < LEAST:
        return "untold"
    share = found.metric == "test_accuracy"
    sampling = 2 * found.best * (1 - found.best) / found.n_test if share else 0.0
    apart = found.best - found.figure.centre > max(SAME, Z95 * math.sqrt(max(sampling, 0.0)))
    return "behind" if apart and found.p < ALPHA else "first"


def _soonest(entries: Sequence[Entry]) -> tuple[dict[str, Standing], bool]:
    """By time to the target; a miss counts as twice the budget, which says too little of it.

    Returns:
        How each way stands, and whether by steps alone: where fewer than two were timed in quiet.
    """
    out: dict[str, Standing] = {e.name: "untold" for e in entries}
    for entry in entries:
        if entry.steps and not any(map(math.isfinite, entry.steps.values())):
            out[entry.name] = "nothing"
    able = [e for e in entries if len(e.steps) >= LEAST and out[e.name] == "untold"]
    costs = {e.name: (e.ms, e.error) for e in able if e.ms == e.ms and not e.contention}
    in_steps = len(costs) < 2 <= len(able)
    if in_steps:
        costs = {e.name: (1.0, 0.0) for e in able}
    able = [e for e in able if e.name in costs]
    if not able:
        return out, in_steps
    # More is better.
    logs: dict[str, dict[Hashable, float]] = {
        e.name: {seed: -math.log(min(steps, 2 * e.budget) * costs[e.name][0])
                 for seed, steps in e.steps.items()}
        for e in able
    }  # fmt: skip
    means = {name: float(np.mean(list(found.values()))) for name, found in logs.items()}
    best = max(means, key=lambda name: (means[name], name))
    # An evaluation every `stride` steps leaves open when between two of them it was reached.
    open_ = [(e.stride / min(e.median_steps, 2 * e.budget)) ** 2 / 12 for e in able]
    p = behind(logs, best, False, math.sqrt(np.mean(open_)),
               {name: error**2 for name, (_, error) in costs.items()})  # fmt: skip
    for name in logs:
        later = means[best] - means[name] > math.log(SOONER)
        out[name] = "behind" if later and p.get(name, 1.0) < ALPHA else "first"
    # Where most seeds missed the target there is no time to it that could be the shortest.
    for e in able:
        if out[e.name] == "first" and e.missed:
            out[e.name] = "untold"
    return out, in_steps


def _target(record: Record) -> float | None:
    """The validation score that time counts to."""
    found = (record["metrics"].get(f"target_{score}") for score in ("accuracy", "r2"))
    return next((t for t in found if t is not None), None)


def _entry(way: Way, rows: pd.DataFrame, records: Mapping[str, Record]) -> Entry:
    """A way with its trials and fresh seeds."""
    ok = rows[rows["status"].eq("ok")]
    finals = [records[key] for key in ok.loc[ok["choose"].eq("final"), "key"]]
    trials = rows[rows["choose"].eq("trial")]
    curves = [r["curves"]["train_steps"] for r in finals if r["curves"].get("train_steps")]
    chosen = _point(finals[0]) if finals else {}
    tried = [_point(records[key]) for key in trials["key"]]
    failed = ~trials["status"].isin(["ok", "skipped"])
    return Entry(
        way=way,
        steps={r["row"]["seed"]: float(r["metrics"].get("steps_to_target") or math.inf)
               for r in finals if _target(r) is not None},
        budget=curves[0][-1] if curves else math.nan,
        stride=curves[0][0] if curves else math.nan,
        ms=way.ms,
        error=_error(way.time.ms if way.time else None),
        contention=way.contended,
        chosen=chosen,
        edge={k: end for k, v in chosen.items() if (end := _edge(v, [t[k] for t in tried]))},
        tried=int(trials["status"].eq("ok").sum()),
        failed=way.lost + int(failed.sum()),
    )  # fmt: skip


def _error(figure: Interval | None) -> float:
    """The standard error of a time's logarithm, from its 95 % interval."""
    return math.log(figure.high / figure.low) / (2 * Z95) if figure and figure.low > 0 else 0.0


def _edge(value: float, tried: Sequence[float]) -> str:
    if len(set(tried)) < 2:
        return ""
    return "lowest" if value == min(tried) else "highest" if value == max(tried) else ""


def _alike(record: Record, keys: Sequence[str]) -> Record:
    if not keys:
        return record
    config = record["config"]
    return {
        **record,
        "config": {
            **config,
            "algo": config["algo"] | dict.fromkeys(keys, "tuned"),
            "tuned": {key: config["algo"][key] for key in keys},
        },
    }


def _names(config: Mapping[str, Mapping]) -> list[str]:
    """What the contest of a record tuned beside the learning rate."""
    tune = config.get("tune") or {}
    return [k for k, v in tune.items() if isinstance(v, list) and k != "lr" and tune["trials"]]


def _tuned(config: Mapping[str, Mapping], names: Collection[str]) -> list[str]:
    """The algorithm's hyperparameters of these names, where the record is of a contest."""
    if not (config.get("tune") or {}).get("trials"):
        return []
    return [key for key, value in config.get("algo", {}).items() for n in names
            if isinstance(value, float) and (key == n or key.startswith(f"{n}_or_"))]  # fmt: skip


def _point(record: Record) -> dict[str, float]:
    """Of a record that `tuned_alike` made."""
    config = record["config"]
    return {"lr": config["lr"]} | {
        k.partition("_or_")[0]: v for k, v in sorted(config.get("tuned", {}).items())
    }
