"""Who won a contest: ways that were tuned with the same effort, compared on fresh seeds.

A trial decides only at which learning rate its own way is compared. What is compared is the fresh
seeds: the accuracy on test data that was looked at once, and the time to a target that was named
before. Two ways are told apart by Tukey's studentised range over all pairs of a setting, at one
chance in 200 that any two equal ways are; a spread counts as at least what the size of the test
data, or the steps between two evaluations, leave open.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

import numpy as np
from scipy import stats

from reports.judge.cost import AGAINST
from reports.judge.learning import SAME
from reports.judge.rows import contended
from reports.records import Record

LEAST_SEEDS = 3
ALPHA = 0.005 / 2  # of each of the two scores
SOONER = 1.1  # times to a target within this ratio decide nothing
_UNKNOWN_TEST = 100  # test sequences, where the records do not tell
_APART = ("metric", "tune", "out", "lr", "seed", "repeats", "experiment", "question", "plan",
          "report", "resume", "plot")  # fmt: skip

Standing = Literal["first", "behind", "untold", "nothing"]


@dataclass(frozen=True)
class Entry:
    """One way in one setting.

    Args:
        name: algorithm with what tells it from the others of the setting.
        accuracy: on the test data, by seed.
        steps: training steps to the target, by seed; infinite where it was not reached.
        budget: training steps of a seed, and `stride` those between two evaluations.
        ms: of one training step, nan where it was not timed; `ms_error` the standard error of its
            logarithm; whether it was measured under `contention`.
        ratio: of that time to BPTT's where the two took turns, which no neighbour moves, and the
            standard error of its logarithm; nan where they did not.
        chosen: what was tuned, by name; `edge` those at the first or last value that was tried.
        tried: trials that ran; `failed`, runs of all kinds that did not get through.
        best: how its accuracy stands; `soonest`: its time to the target.
    """

    name: str
    algo: str
    accuracy: Mapping[int, float]
    steps: Mapping[int, float]
    budget: float
    stride: float
    ms: float
    ms_error: float
    contention: bool
    ratio: tuple[float, float]
    chosen: Mapping[str, float]
    edge: Mapping[str, str]
    tried: int
    failed: int
    best: Standing = "untold"
    soonest: Standing = "untold"

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.accuracy.values()))) if self.accuracy else math.nan

    @property
    def median_steps(self) -> float:
        return float(np.median(list(self.steps.values()))) if self.steps else math.nan

    @property
    def seconds(self) -> float:
        """Median time to the target; infinite where most seeds missed it."""
        return self.median_steps * self.ms / 1000


@dataclass(frozen=True)
class Match:
    """All ways of one setting.

    Args:
        where: model, task and sizes, by column.
        target: validation accuracy that time counts to; nan for none.
        chance: accuracy of guessing.
        in_steps: whether steps stand for the time to the target, no two times being comparable.
        by_turns: whether all times are ratios to BPTT's, which no neighbour moves, times BPTT's in
            the quietest process.
    """

    where: Mapping[str, Any]
    target: float
    chance: float
    n_test: float
    entries: Sequence[Entry] = field(default_factory=list)
    in_steps: bool = False
    by_turns: bool = False

    def standing(self, score: str, place: Standing) -> list[Entry]:
        """The entries that stand there by ``best`` or ``soonest``, the best first."""
        found = [e for e in self.entries if getattr(e, score) == place]
        if score == "best":
            return sorted(found, key=lambda e: (-e.mean, e.name))
        return sorted(found, key=lambda e: (e.seconds, e.median_steps, e.name))


def matches(records: Sequence[Record]) -> list[Match]:
    """The contests among these records; none where nothing was tuned."""
    ways: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        if (record.get("config") or {}).get("tune", {}).get("trials"):
            ways[_signature(record)].append(record)
    settings: defaultdict[str, list[list[Record]]] = defaultdict(list)
    for some in ways.values():
        if any(_choose(r) for r in some):
            settings[json.dumps(_where(some[0]), sort_keys=True)].append(some)
    return [_match(some) for some in settings.values()]


def judged(records: Sequence[Record]) -> list[Record]:
    """What the rest of a report judges: no trials, and what was tuned tells no ways apart."""
    return [_tuned_alike(r) for r in records if _choose(r) != "trial"]


def _tuned_alike(record: Record) -> Record:
    """A record whose tuned hyperparameters no longer tell it from its own way's others."""
    keys = _tuned(record)
    if not keys:
        return record
    config = record["config"]
    algo = config["algo"] | dict.fromkeys(keys, "tuned")
    return {**record, "config": {**config, "algo": algo}}


def _match(ways: Sequence[Sequence[Record]]) -> Match:
    names = _names(ways)
    entries = [_entry(name, some) for name, some in zip(names, ways, strict=True)]
    by_turns = all(e.ms * e.ratio[0] > 0 for e in entries)
    if by_turns:
        entries = _quiet(entries)
    finals = [r["metrics"] for some in ways for r in some if _choose(r) == "final"]
    config = ways[0][0]["config"]
    n_test = _known([*(m.get("n_test") for m in finals), config.get("task", {}).get("n_test")])
    classes = _known([r["metrics"].get("n_classes") for some in ways for r in some])
    found = Match(_where(ways[0][0]), _known([m.get("target_accuracy") for m in finals]),
                  1 / classes if classes > 1 else math.nan,
                  n_test if n_test > 0 else _UNKNOWN_TEST)  # fmt: skip
    best, (soonest, in_steps) = _best(found, entries), _soonest(entries)
    return Match(found.where, found.target, found.chance, found.n_test, [
        replace(e, best=best[e.name], soonest=soonest[e.name]) for e in entries],
        in_steps, by_turns)  # fmt: skip


def _quiet(entries: Sequence[Entry]) -> list[Entry]:
    """With the times that BPTT's in the quietest process and their ratios to it make."""
    bptt = min(e.ms / e.ratio[0] for e in entries)
    return [replace(e, ms=bptt * e.ratio[0], ms_error=e.ratio[1], contention=False)
            for e in entries]  # fmt: skip


def _best(match: Match, entries: Sequence[Entry]) -> dict[str, Standing]:
    """By test accuracy, on a scale on which its sampling error is the same everywhere."""
    out: dict[str, Standing] = {e.name: "untold" for e in entries}
    for entry in entries:
        error = math.sqrt(match.chance * (1 - match.chance) / match.n_test)
        if entry.accuracy and entry.mean <= match.chance + 2 * error:
            out[entry.name] = "nothing"
    able = [e for e in entries if len(e.accuracy) >= LEAST_SEEDS and out[e.name] == "untold"]
    values = [np.arcsin(np.sqrt(np.clip(list(e.accuracy.values()), 0, 1))) for e in able]
    top = max((e.mean for e in able), default=0.0)
    told = _told_from_best(values, [1 / (4 * match.n_test)] * len(able), [0.0] * len(able))
    for entry, apart in zip(able, told, strict=True):
        out[entry.name] = "behind" if apart and top - entry.mean > SAME else "first"
    return out


def _soonest(entries: Sequence[Entry]) -> tuple[dict[str, Standing], bool]:
    """By time to the target; a miss counts as twice the budget, which says too little of it.

    Returns:
        How each way stands, and whether by steps alone: where fewer than two were timed in quiet.
    """
    out: dict[str, Standing] = {e.name: "untold" for e in entries}
    for entry in entries:
        if entry.steps and not any(map(math.isfinite, entry.steps.values())):
            out[entry.name] = "nothing"
    able = [e for e in entries if len(e.steps) >= LEAST_SEEDS and out[e.name] == "untold"]
    costs = {e.name: (e.ms, e.ms_error) for e in able if e.ms == e.ms and not e.contention}
    in_steps = len(costs) < 2 <= len(able)
    if in_steps:
        costs = {e.name: (1.0, 0.0) for e in able}
    able = [e for e in able if e.name in costs]
    values = [-np.log(np.minimum(list(e.steps.values()), 2 * e.budget) * costs[e.name][0])
              for e in able]  # fmt: skip
    # An evaluation every `stride` steps leaves open when between two of them it was reached.
    floors = [(e.stride / min(e.median_steps, 2 * e.budget)) ** 2 / 12 for e in able]
    extra = [costs[e.name][1] ** 2 for e in able]
    top = max((float(v.mean()) for v in values), default=0.0)
    told = _told_from_best(values, floors, extra)
    for entry, apart, value in zip(able, told, values, strict=True):
        slower = top - float(value.mean()) > math.log(SOONER)
        out[entry.name] = "behind" if apart and slower else "first"
    return out, in_steps


def _told_from_best(values: Sequence[np.ndarray], floors: Sequence[float],
                    extra: Sequence[float]) -> list[bool]:  # fmt: skip
    """Which groups are told apart from the one of the highest mean.

    Args:
        values: of each group's seeds; higher is better.
        floors: the least variance of a value.
        extra: variances that all seeds of a group share.
    """
    n = len(values)
    if n < 2:
        return [False] * n
    means = [float(v.mean()) for v in values]
    top = int(np.argmax(means))
    degrees = sum(len(v) - 1 for v in values)
    within = sum(max(float(v.var(ddof=1)), f) * (len(v) - 1)
                 for v, f in zip(values, floors, strict=True)) / degrees  # fmt: skip
    errors = [math.sqrt(within * (1 / len(v) + 1 / len(values[top])) + e + extra[top])
              for v, e in zip(values, extra, strict=True)]  # fmt: skip
    least = _least_range(n, degrees) / math.sqrt(2)
    return [means[top] - m > least * error for m, error in zip(means, errors, strict=True)]


@cache
def _least_range(ways: int, degrees: int) -> float:
    """The studentised range that equal ways exceed with a chance of ALPHA."""
    return float(stats.studentized_range.ppf(1 - ALPHA, ways, degrees))


def _entry(name: str, records: Sequence[Record]) -> Entry:
    runs = {kind: [r for r in records if _choose(r) == kind] for kind in ("trial", "final", "")}
    ok = {kind: [r for r in some if r["status"] == "ok"] for kind, some in runs.items()}
    finals = {r["config"]["seed"]: r for r in ok["final"]}
    curve = [r["curves"]["train_steps"] for r in finals.values() if r.get("curves")]
    budget, stride = (curve[0][-1], curve[0][0]) if curve and curve[0] else (math.nan, math.nan)
    timed = [r for r in ok[""] if r["metrics"].get("step_time_ms")]
    cost = [r["metrics"] for r in timed]
    ratio = _ratio([m for m in cost if m.get(AGAINST)])
    ms = float(np.median([m["step_time_ms"] for m in cost])) if cost else math.nan
    ends = [(m["step_time_ms_lo"], m["step_time_ms_hi"]) for m in cost if m.get("step_time_ms_lo")]
    error = max((math.log(high / low) / (2 * 1.96) for low, high in ends), default=0.0)
    chosen = _point(ok["final"][0]) if ok["final"] else {}
    tried = [_point(r) for r in runs["trial"]]
    return Entry(
        name, str(records[0]["row"]["algo"]),
        {s: float(a) for s, r in finals.items()
         if (a := r["metrics"].get("test_accuracy")) is not None},
        {s: float(r["metrics"].get("steps_to_target") or math.inf) for s, r in finals.items()
         if r["metrics"].get("target_accuracy") is not None},
        budget, stride, ms, error, any(map(contended, timed)), ratio, chosen,
        {k: end for k, v in chosen.items() if (end := _edge(v, [t[k] for t in tried]))},
        len(ok["trial"]), sum(r["status"] not in ("ok", "skipped") for r in records),
    )  # fmt: skip


def _ratio(cost: Sequence[Mapping[str, float]]) -> tuple[float, float]:
    """Step time over BPTT's, by turns in one process, and the standard error of its logarithm."""
    if not cost:
        return math.nan, math.nan
    ends = [(m.get(f"{AGAINST}_low"), m.get(f"{AGAINST}_high")) for m in cost]
    errors = [math.log(high / low) / (2 * 1.96) for low, high in ends if low and high]
    return float(np.median([m[AGAINST] for m in cost])), max(errors, default=0.0)


def _edge(value: float, tried: Sequence[float]) -> str:
    if len(set(tried)) < 2:
        return ""
    return "lowest" if value == min(tried) else "highest" if value == max(tried) else ""


def _choose(record: Record) -> str:
    """``trial``, ``final``, or nothing: a record of costs."""
    metric = (record.get("config") or {}).get("metric") or {}
    return str((metric.get("learning") or {}).get("choose") or "")


def _tuned(record: Record) -> list[str]:
    """The algorithm's hyperparameters that were tuned."""
    config = record.get("config") or {}
    names = [k for k, v in (config.get("tune") or {}).items() if isinstance(v, list) and k != "lr"]
    if not (config.get("tune") or {}).get("trials"):
        return []
    return [key for key, value in config.get("algo", {}).items() for n in names
            if isinstance(value, float) and (key == n or key.startswith(f"{n}_or_"))]  # fmt: skip


def _point(record: Record) -> dict[str, float]:
    config = record["config"]
    return {"lr": config["lr"]} | {k.partition("_or_")[0]: config["algo"][k]
                                   for k in _tuned(record)}  # fmt: skip


def _where(record: Record) -> dict[str, Any]:
    row, config = record["row"], record["config"]
    names = ("task", "model", "n_hidden", "n_layers", "n_steps", "batch_size", "device")
    return {n: row[n] for n in names if n in row} | {"epochs": config.get("epochs")}


def _signature(record: Record) -> str:
    """What all records of a way share."""
    config = {k: v for k, v in record["config"].items() if k not in _APART}
    config["algo"] = {k: v for k, v in config.get("algo", {}).items() if k not in _tuned(record)}
    row = {k: v for k, v in record["row"].items() if k not in ("seed", "repeat")}
    return json.dumps([config, row], sort_keys=True)


def _names(ways: Sequence[Sequence[Record]]) -> list[str]:
    """Each way's algorithm, with the settings in which those of one setting differ."""
    first = [some[0] for some in ways]
    plain = [{"batching": r["row"].get("batching"), "backend": r["row"].get("backend"),
              "update_every": r["config"].get("update_every")} for r in first]  # fmt: skip
    own = [{k: v for k, v in r["config"]["algo"].items() if k not in (*_tuned(r), "_target_")}
           for r in first]  # fmt: skip
    algos = [str(r["row"]["algo"]) for r in first]
    out = []
    for i, algo in enumerate(algos):
        parts, every = [], plain[i]["update_every"]
        if every not in (None, "sequence"):
            parts.append("updated every step" if every == 1 else f"updated every {every} steps")
        parts += [str(plain[i][k]) for k in ("batching", "backend")
                  if len({p[k] for p in plain}) > 1]  # fmt: skip
        parts += [f"{k} {v}" for k, v in own[i].items()
                  if len({str(o.get(k)) for o, a in zip(own, algos, strict=True) if a == algo}) > 1]
        out.append(f"{algo} ({', '.join(parts)})" if parts else algo)
    return out


def _known(values: Sequence[float | None]) -> float:
    return next((float(v) for v in values if v is not None), math.nan)
