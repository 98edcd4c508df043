"""The tables of a contest: one over all settings, and one for each; a row a way, the best first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.judge.contest import Entry, Match
from reports.page.figures import between
from reports.page.tables import Cell, Table, tabulate
from reports.records.columns import heading
from reports.stats import Interval, interval
from reports.text import short

_STANDING = {"first": "among the best", "behind": "behind", "untold": "cannot tell",
             "nothing": "no better than guessing"}  # fmt: skip
_SOONEST = {"first": "among the soonest", "behind": "later", "untold": "cannot tell",
            "nothing": "not reached"}  # fmt: skip


@dataclass(frozen=True)
class Told:
    """A match with its table and its name in words."""

    match: Match
    name: str
    table: Table


def told(found: Sequence[Match]) -> list[Told]:
    """All matches, each with its table."""
    return [Told(m, name, _table(m, name, i)) for i, m in enumerate(found, 1)
            for name in [f"{m.where.get('task')} · {m.where.get('model')}"]]  # fmt: skip


def overview(found: Sequence[Told]) -> Table | None:
    """Every way's test score in every setting, where there are several; those most often
    among the best first."""
    if len(found) < 2:
        return None
    entries = {t.name: {e.name: e for e in t.match.entries} for t in found}
    names = {name for some in entries.values() for name in some}
    best = {name: sum(some[name].best == "first" for some in entries.values() if name in some)
            for name in names}  # fmt: skip
    mean = {name: sum(some[name].mean for some in entries.values() if name in some)
            for name in names}  # fmt: skip
    rows: list[dict[str, Cell | str]] = [{
        "way": name,
        **{where: _score(some[name], brief=True) if name in some else "–"
           for where, some in entries.items()},
        "among the best": f"{best[name]} of {sum(name in some for some in entries.values())}",
    } for name in sorted(names, key=lambda name: (-best[name], -mean[name], name))]  # fmt: skip
    return tabulate("contest", "Test score of all ways in all settings", rows,
                    ["Means of the fresh seeds, accuracy in per cent; in bold what is among the "
                     "best of its column, as far as the seeds can tell."])  # fmt: skip


def _table(match: Match, name: str, number: int) -> Table:
    tuned = sorted({k for e in match.entries for k in e.chosen} - {"lr"})
    share = match.metric != "test_r2"
    goal = f"{100 * match.target:.3g} %" if share else f"{match.target:.3g}"
    goal = goal if match.target == match.target else "a target"
    rows: list[dict[str, Cell | str]] = [
        {
            "way": Cell(e.name, mark="start" if e.best == "first" else ""),
            heading(match.metric): _score(e),
            "learns": _STANDING[e.best] + (f"; {e.failed} runs failed" if e.failed else ""),
            f"steps to {goal}": _span(list(e.steps.values())),
            f"s to {goal}": _span([s * e.ms / 1000 for s in e.steps.values()], e.seconds),
            "arrives": _SOONEST[e.soonest],
            "ms per training step": short(e.ms) + "*" * (e.contention and e.ms == e.ms),
            **{{"lr": "learning rate"}.get(k, k): _chosen(e, k) for k in ("lr", *tuned)},
        }
        for e in sorted(match.entries, key=lambda e: (-e.mean if e.mean == e.mean else 1, e.name))
    ]
    return tabulate(f"contest_{number}", f"Contest on {name}", rows)  # fmt: skip


def _score(entry: Entry, brief: bool = False) -> Cell:
    if not entry.scores or entry.way.learned is None:
        return Cell("–")
    share = entry.way.learned.metric != "test_r2"
    values = [100 * score if share else score for score in entry.scores.values()]
    found = interval(values, bounds=(0, 100) if share else (-math.inf, 1))
    if brief:
        told = f"{found.centre:{'.1f' if share else '.3f'}}"
        return Cell(told, _STANDING[entry.best], "start" if entry.best == "first" else "")
    return Cell(
        f"{between(found)}{' %' * share}", f"{len(values)} seeds, {found.kind or 'one value'}"
    )


def _span(values: Sequence[float], middle: float | None = None) -> Cell:
    """The median, least and most of what seeds took, where that is known."""
    if not values or math.isnan(values[0]):
        return Cell("–")
    middle = float(np.median(values)) if middle is None else middle
    return Cell(between(Interval(middle, min(values), max(values))), "median, least to most")


def _chosen(entry: Entry, name: str) -> Cell:
    edge = entry.edge.get(name, "")
    return Cell(short(entry.chosen.get(name)) + "†" * bool(edge),
                edge and f"the {edge} that was tried")  # fmt: skip
