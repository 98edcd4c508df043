"""The tables of a contest: one for each setting, a row a way, the best first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.judge.contest import Entry, Match
from reports.page.tables import Cell, Table
from reports.stats import interval
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


def _table(match: Match, name: str, number: int) -> Table:
    tuned = sorted({k for e in match.entries for k in e.chosen} - {"lr"})
    goal = f"{100 * match.target:.3g} %" if match.target == match.target else "a target"
    head = ["way", "test accuracy", "", f"steps to {goal}", f"s to {goal}", "",
            "ms per training step", "learning rate", *tuned]  # fmt: skip
    ranked = sorted(match.entries, key=lambda e: (-e.mean if e.mean == e.mean else 1, e.name))
    rows = []
    for entry in ranked:
        lost = f"; {entry.failed} runs failed" if entry.failed else ""
        rows.append([
            Cell(entry.name, mark="start" if entry.best == "first" else ""),
            _accuracy(entry), Cell(_STANDING[entry.best] + lost),
            _span([*entry.steps.values()]), _time(entry), Cell(_SOONEST[entry.soonest]),
            Cell(short(entry.ms) + "*" * entry.contention if entry.ms == entry.ms else "–"),
            *(_chosen(entry, k) for k in ("lr", *tuned))])  # fmt: skip
    return Table(f"contest_{number}", f"Contest on {name}", head, rows,
                 frozenset({1, 3, 4, *range(6, len(head))}), _notes(match))  # fmt: skip


def _accuracy(entry: Entry) -> Cell:
    values = list(entry.accuracy.values())
    if not values:
        return Cell("–")
    found = interval(values, bounds=(0, 1))
    text = f"{100 * found.centre:.1f} %"
    if found.low == found.low:
        text += f" ({100 * found.low:.1f} to {100 * found.high:.1f})"
    return Cell(text, f"{len(values)} seeds, {found.kind or 'one value'}")


def _span(steps: Sequence[float]) -> Cell:
    if not steps:
        return Cell("–")
    middle, low, high = (_or_never(float(v)) for v in (np.median(steps), min(steps), max(steps)))
    return Cell(middle if low == high else f"{middle} ({low} to {high})", "median, least to most")


def _time(entry: Entry) -> Cell:
    if not entry.steps or entry.ms != entry.ms:
        return Cell("–")
    ends = [s * entry.ms / 1000 for s in (min(entry.steps.values()), max(entry.steps.values()))]
    low, high = map(_or_never, ends)
    middle = _or_never(entry.seconds)
    return Cell(middle if low == high else f"{middle} ({low} to {high})")


def _or_never(value: float) -> str:
    return short(value) if math.isfinite(value) else "∞"


def _chosen(entry: Entry, name: str) -> Cell:
    if name not in entry.chosen:
        return Cell("–")
    edge = entry.edge.get(name, "")
    return Cell(short(entry.chosen[name]) + "†" * bool(edge), edge and f"the {edge} that was tried")


def _notes(match: Match) -> list[str]:
    seeds = max((len(e.accuracy) for e in match.entries), default=0)
    tried = sorted({e.tried for e in match.entries})
    apart = ("as a ratio to BPTT's by turns in one process, times that of BPTT in the quietest"
             if match.by_turns else "apart")  # fmt: skip
    out = [f"Every way tried {' or '.join(map(str, tried))} points on validation data; what is "
           f"compared is {seeds} fresh seeds each, tested once. Times are steps times the time of "
           f"one step, which was measured {apart}; ∞ is a miss."]  # fmt: skip
    if any(e.edge for e in match.entries):
        out.append("† the lowest or highest value that was tried: a better one may lie beyond.")
    if any(e.contention for e in match.entries):
        out.append("* measured while more was running than the machine has cores: such a time is "
                   "not compared.")  # fmt: skip
    return out
