"""Deciding a duel while it runs: which cells got slower, and which pairs are still wanted.

A duel is pairs of fresh processes, one of each version, in an order drawn anew for each pair. If
the versions are equal, swapping the two labels inside any pair changes nothing, so the sign-flip
test is exact whatever the noise is like. The rest keeps that error while looking more than once:

- alpha is spent in equal parts over the planned looks, and each part is shared by all cells;
- the first look comes when an alarm is possible at all: n pairs cannot say less than 2^-n;
- an alarm is raised only when a second round of as many fresh pairs says the same.

A version is slower when that holds and the estimate is past the bar: 5 %, or what this machine
makes of two equal versions, whichever is larger. It is the same when the interval lies inside the
bar. Everything else is "cannot tell".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from reports.signflip import bootstrap_interval, sign_flip_p

ALPHA = 0.05
LOOKS = 4
LEAST_PAIRS = 7
GROWTH = 1.5
BAR = math.log(1.05)
LEVEL = 0.95
FAILURES = 2
AA_DRAWS = 2000

SLOWER, FASTER = "worse", "better"

Want = dict[str, Any] | None


class Evidence(NamedTuple):
    """What the pairs of one cell and round say; ratios are head over base.

    Attributes:
        pairs: number of pairs.
        estimate, lo, hi: median log-ratio and its bootstrap interval; NaN without pairs.
        bar: log-ratio below which a difference does not count.
        p_slower, p_faster: one-sided sign-flip p-values.
    """

    pairs: int
    estimate: float
    lo: float
    hi: float
    bar: float
    p_slower: float
    p_faster: float


def looks(cells: int) -> list[int]:
    """Numbers of pairs at which a duel of ``cells`` cells is looked at.

    The first is the smallest at which the test can reach the level of one look and one cell.
    """
    possible = math.ceil(math.log2(cells / level_of_a_look(1)))
    first = max(LEAST_PAIRS, possible)
    return [math.ceil(first * GROWTH**look) for look in range(LOOKS)]


def level_of_a_look(cells: int) -> float:
    """What a p-value must not exceed at one look, for one of ``cells`` cells."""
    return ALPHA / LOOKS / cells


def evidence(base: Sequence[float], head: Sequence[float]) -> Evidence:
    """Summary of paired times.

    Args:
        base, head: [N] median step times of the processes of each side, pair by pair, any unit.
    """
    ratios = np.log(np.asarray(head, float)) - np.log(np.asarray(base, float))
    if not len(ratios):
        return Evidence(0, math.nan, math.nan, math.nan, BAR, 1.0, 1.0)
    lo, hi = bootstrap_interval(ratios, level=LEVEL)
    return Evidence(
        pairs=len(ratios),
        estimate=float(np.median(ratios)),
        lo=lo,
        hi=hi,
        bar=max(BAR, aa_noise(base)),
        p_slower=sign_flip_p(ratios, alternative="greater"),
        p_faster=sign_flip_p(ratios, alternative="less"),
    )


def aa_noise(base: Sequence[float]) -> float:
    """What ``LEVEL`` of the estimates stay below when both sides are the base.

    Pairs are drawn with replacement from the base's own processes, so the slow drift that real
    pairs share counts as noise here: the bar errs on the side of silence.

    Args:
        base: [N] times of the base's processes.

    Returns:
        A log-ratio.
    """
    log = np.log(np.asarray(base, float))
    rng = np.random.default_rng(0)
    draws = rng.choice(log, size=(2, AA_DRAWS, len(log)))
    return float(np.quantile(np.abs(np.median(draws[0] - draws[1], axis=-1)), LEVEL))


def direction(found: Evidence, level: float) -> str:
    """``worse``, ``better``, ``same`` or ``undecided`` at a level for the p-values."""
    if found.pairs and found.p_slower <= level and found.estimate > found.bar:
        return SLOWER
    if found.pairs and found.p_faster <= level and found.estimate < -found.bar:
        return FASTER
    if found.pairs and -found.bar < found.lo and found.hi < found.bar:
        return "same"
    return "undecided"


def decide(state: dict[str, Any]) -> dict[str, Any]:
    """Verdict of each cell, and the pairs that are still wanted.

    Args:
        state: the contents of ``duel.json``.

    Returns:
        ``cells`` (one dictionary each), ``wanted`` (``{"cell", "round", "pairs"}`` each), and the
        names of the cells that got ``worse`` and ``better``.
    """
    plan = looks(len(state["cells"]))
    judged = [_cell(state, number, plan) for number in range(len(state["cells"]))]
    cells = [cell for cell, _ in judged]
    return {
        "cells": cells,
        "wanted": [] if state["over"] else [wanted for _, wanted in judged if wanted],
        SLOWER: [cell["name"] for cell in cells if cell["verdict"] == SLOWER],
        FASTER: [cell["name"] for cell in cells if cell["verdict"] == FASTER],
    }


def _cell(state: dict[str, Any], number: int, plan: list[int]) -> tuple[dict[str, Any], Want]:
    """One cell: first round by the planned looks, then as many fresh pairs to confirm."""
    name, cells = state["cells"][number], len(state["cells"])
    pairs = [pair for pair in state["pairs"] if pair["cell"] == number]
    failed = [p for p in pairs if p["base"]["value"] is None or p["head"]["value"] is None]
    if len(failed) >= FAILURES:
        return _failed(name, failed), None
    # A lone failure is bad luck: its pair says nothing about time, and another one is run.
    pairs = [pair for pair in pairs if pair not in failed]
    first, second = _evidence(pairs, "first"), _evidence(pairs, "second")
    # Looks are only at the planned numbers: a duel that ended between two has not decided.
    said = direction(first, level_of_a_look(cells)) if first.pairs in plan else "undecided"
    if said == "undecided":
        later = [count - first.pairs for count in plan if count > first.pairs]
        want = {"cell": number, "round": "first", "pairs": later[0]} if later else None
        return _told(name, "cannot tell", first), want
    if said == "same":
        return _told(name, "same", first), None
    if second.pairs < first.pairs:
        want = {"cell": number, "round": "second", "pairs": first.pairs - second.pairs}
        return _told(name, "cannot tell", first, f"{said}, not confirmed yet"), want
    # One look at fresh pairs: the whole of alpha is theirs.
    if direction(second, ALPHA / cells) == said:
        return _told(name, said, _evidence(pairs, "first", "second")), None
    return _told(name, "cannot tell", second, f"{said} at first, not so in fresh pairs"), None


def _evidence(pairs: list[dict[str, Any]], *rounds: str) -> Evidence:
    chosen = [pair for pair in pairs if pair["round"] in rounds]
    return evidence([p["base"]["value"] for p in chosen], [p["head"]["value"] for p in chosen])


def _failed(name: str, failed: list[dict[str, Any]]) -> dict[str, Any]:
    """A cell that keeps failing on the head alone is a regression."""
    sides = [side for side in ("base", "head") if any(p[side]["value"] is None for p in failed)]
    outcome = next(p[sides[0]] for p in failed if p[sides[0]]["value"] is None)
    reason = f"fails on {' and '.join(sides)}: {outcome['status']}, {outcome['reason']}"
    verdict = SLOWER if sides == ["head"] else "cannot tell"
    return _told(name, verdict, evidence([], []), reason)


def _told(name: str, verdict: str, found: Evidence, reason: str = "") -> dict[str, Any]:
    numbers = {key: None if value != value else value for key, value in found._asdict().items()}
    return {"name": name, "verdict": verdict, "reason": reason, **numbers}
