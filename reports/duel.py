"""Deciding a duel while it runs: which cells got slower, which pairs are still wanted, in words.

A duel is pairs of fresh processes, one of each version, in an order drawn anew for each pair. If
the versions are equal, swapping the two labels inside any pair changes nothing, so the sign-flip
test is exact whatever the noise is like. The rest keeps that error while looking more than once:

- alpha is spent in equal parts over the planned looks, and each part is shared by all cells;
- the first look comes when an alarm is possible at all: n pairs cannot say less than 2^-n;
- an alarm is raised only when a second round of fresh pairs, by the same rule, says so too.

A version is slower when the test says that it is by more than `LASTING`, and its median ratio is
past the bar of 5 %. It is the same when the interval of the median lies inside 5 %. Everything else
is "cannot tell". Cells are decided one after the other, so that a budget decides some of them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from reports.compare.result import Comparison, Line

ALPHA = 0.05
LOOKS = 4
LEAST_PAIRS = 7
GROWTH = 1.7
BAR = math.log(1.05)
# Two checkouts of one commit may differ by as much for as long as both exist: where their code
# happens to lie in memory stays the same from pair to pair. At 3 % an alarm is raised in 0 to 2 of
# 100 duels; asking for more than 3 % would miss one slowdown of 10 % in six on a rough machine.
LASTING = math.log(1.02)
LEVEL = 0.95
# So many failures, and half of all pairs, are no accident. On the head alone, with each process
# failing by chance half of the time, they come in 1 of 256 duels; at 3 % in one of a million.
FAILURES = 4
_EXACT_FLIPS = 12  # 2^12 patterns of signs are quick to try
_DRAWS = 20_000

SLOWER, FASTER = "worse", "better"


class Evidence(NamedTuple):
    """What the pairs of one cell and round say; ratios are head over base."""

    pairs: int
    estimate: float  # median log-ratio; nan, as its interval, where too few pairs
    lo: float
    hi: float
    p: float  # one-sided, of "no further than `LASTING`", in the pairs' own direction
    base: float  # median times
    head: float


def looks(cells: int) -> list[int]:
    """Numbers of pairs at which a duel of so many cells is looked at, from the smallest on at which
    the test can reach the level of one look and one cell.
    """
    first = max(LEAST_PAIRS, math.ceil(math.log2(cells / level_of_a_look(1))))
    return [math.ceil(first * GROWTH**look) for look in range(LOOKS)]


def level_of_a_look(cells: int) -> float:
    """What a p-value must not exceed at one look, for one of so many cells."""
    return ALPHA / LOOKS / cells


def evidence(base: Sequence[float], head: Sequence[float]) -> Evidence:
    """Summary of paired times.

    Args:
        base, head: [N] median step times of the processes of each side, pair by pair, any unit.
    """
    ratios = np.log(np.asarray(head, float)) - np.log(np.asarray(base, float))
    if len(ratios) < 2:
        return Evidence(len(ratios), math.nan, math.nan, math.nan, 1.0, math.nan, math.nan)
    estimate = float(np.median(ratios))
    ends = stats.quantile_test(ratios, p=0.5).confidence_interval(LEVEL)
    toward = math.copysign(1.0, estimate) * ratios - LASTING
    return Evidence(len(ratios), estimate, float(ends.low), float(ends.high), sign_flip_p(toward),
                    float(np.median(base)), float(np.median(head)))  # fmt: skip


def sign_flip_p(values: np.ndarray) -> float:
    """One-sided p of "the values are symmetric around zero or less", by flipping their signs.

    Values further out than their median distance count as that distance: the bound is the same for
    every pattern of signs, so the test stays exact, and one process that met a busy machine no
    longer outweighs all the others. Sampled beyond 12 values, with the observed pattern counted in.
    """
    bound = np.median(np.abs(values))
    bounded = np.clip(values, -bound, bound)
    n = len(bounded)
    if n <= _EXACT_FLIPS:
        signs = 1.0 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    else:
        signs = _drawn(n)
    return float(np.mean(signs @ bounded >= bounded.sum() - 1e-12 * max(1.0, n * bound)))


@functools.lru_cache(maxsize=LOOKS)
def _drawn(n: int) -> np.ndarray:
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(_DRAWS, n))
    signs[0] = 1.0
    return signs


def direction(found: Evidence, level: float) -> str:
    """``worse``, ``better``, ``same`` or ``undecided`` at a level for the p-values."""
    if found.p <= level and abs(found.estimate) > BAR:
        return SLOWER if found.estimate > 0 else FASTER
    if found.lo > -BAR and found.hi < BAR:
        return "same"
    return "undecided"


def decide(state: dict[str, Any]) -> dict[str, Any]:
    """Verdict of each cell, and the pairs that are still wanted.

    Args:
        state: the contents of ``duel.json``.

    Returns:
        ``cells`` (one dictionary each), ``wanted`` (``{"cell", "round", "pairs"}`` of the first
        cell that is not decided, if any), and the names of the cells that got ``worse`` and
        ``better``.
    """
    judged = [_cell(state, number) for number in range(len(state["cells"]))]
    cells = [cell for cell, _ in judged]
    names = {said: [cell["name"] for cell in cells if cell["verdict"] == said]
             for said in (SLOWER, FASTER)}  # fmt: skip
    wanted = [] if state["over"] else [pairs for _, pairs in judged if pairs][:1]
    return {"cells": cells, "wanted": wanted, **names}


def _cell(state: dict[str, Any], number: int) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """One cell: two rounds by the same rule, the second only to confirm a difference."""
    name, cells = state["cells"][number], len(state["cells"])
    plan = looks(cells)
    pairs = [pair for pair in state["pairs"] if pair["cell"] == number]
    failed = [p for p in pairs if p["base"]["value"] is None or p["head"]["value"] is None]
    # What both sides declare is no luck: it would be the same in every pair.
    skipped = [p for p in failed if {p["base"]["status"], p["head"]["status"]} == {"skipped"}]
    if skipped or (len(failed) >= FAILURES and 2 * len(failed) >= len(pairs)):
        # On the head alone it is a regression.
        sides = [s for s in ("base", "head") if any(p[s]["value"] is None for p in failed)]
        outcome = next(p[sides[0]] for p in failed if p[sides[0]]["value"] is None)
        reason = f"fails on {' and '.join(sides)}: {outcome['status']}, {outcome['reason']}"
        verdict = SLOWER if sides == ["head"] else "cannot tell"
        return _told(name, verdict, evidence([], []), reason), None
    # A few failures are bad luck: their pairs say nothing about time, and others are run.
    pairs = [pair for pair in pairs if pair not in failed]
    every = _evidence(pairs)
    said = ""
    for turn in ("first", "second"):
        found = _evidence([pair for pair in pairs if pair["round"] == turn])
        # Looks are only at the planned numbers: a duel that ended between two has not decided.
        planned = found.pairs in plan
        verdict = direction(found, level_of_a_look(cells)) if planned else "undecided"
        if verdict == "undecided":
            later = [count - found.pairs for count in plan if count > found.pairs]
            want = {"cell": number, "round": turn, "pairs": later[0]} if later else None
            reason = f"{said} at first, " * bool(said)
            if later and state["over"]:
                reason += "the budget ended before it could be " + ("confirmed" if said else "told")
            elif said:
                reason += "not confirmed"
            return _told(name, "cannot tell", every, reason), want
        if verdict == "same" and not said:
            return _told(name, "same", found), None
        if said and verdict != said:
            return _told(name, "cannot tell", found, f"{said} at first, {verdict} later"), None
        said = verdict
    return _told(name, said, every), None


def _evidence(pairs: list[dict[str, Any]]) -> Evidence:
    return evidence([p["base"]["value"] for p in pairs], [p["head"]["value"] for p in pairs])


def _told(name: str, verdict: str, found: Evidence, reason: str = "") -> dict[str, Any]:
    numbers = {key: None if value != value else value for key, value in found._asdict().items()}
    return {"name": name, "verdict": verdict, "reason": reason, **numbers}


def as_comparison(decision: dict[str, Any], state: dict[str, Any]) -> Comparison:
    """The verdict as that of two sweeps, which has its words."""
    base, head = (f"{side['asked']} ({(side['commit'] or 'no commit')[:10]}"
                  f"{', changed' if side['dirty'] else ''})"
                  for side in (state["base"], state["head"]))  # fmt: skip

    def share(log: float | None) -> float | None:
        return None if log is None else math.expm1(log)

    lines = [Line(
        c["name"], state["column"], "measured", c["verdict"], c["base"], c["head"],
        share(c["estimate"]), share(c["lo"]), share(c["hi"]), c["p"],
        note="; ".join(filter(None, [f"{c['pairs']} pairs" if c["pairs"] else "", c["reason"]])),
    ) for c in decision["cells"]]  # fmt: skip
    notes = [f"All cells with {state['shared']}."] if state["shared"] else []
    if any(c["pairs"] for c in decision["cells"]):
        notes.append("A change is the median over pairs, not that from median to median.")
    return Comparison(base, head, math.expm1(BAR), lines, notes=notes)
