"""What tutorials and papers claim of the algorithms, as data, and what the facts say to each.

A claim is judged for each network and task apart, and only inside the regime that it is about. The
core's rows alone count: other libraries' would judge their implementations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd

from reports.judge.facts import Facts, Setting, Way
from reports.judge.learning import SAME
from reports.judge.rows import number
from reports.judge.scaling import LEAST_SIZES, TIME, TRACED, series
from reports.records.columns import describe
from reports.stats import STUDENT, Interval, interval
from reports.text import short

Verdict = Literal["holds", "does not hold", "not decided"]
BATCHING, SNN = "Batching Online Learning", "SNN Online Learning with BrainTrace"
TEMP = "memory_temp_mib"
HYPR, OTPE = "arXiv:2506.14464 (HYPR)", "arXiv:2311.16151 (OTPE)"
FREE = "arXiv:2603.28750 (Temporal Credit Is Free)"
EACH = "updated every step"  # in the name of a way
PAYS = 1.05  # the least ratio of times that is worth a claim
LARGE = 512  # neurons from which on a network is called large
EXACT = 1e-3  # relative error of a gradient that is BPTT's, in single precision


@dataclass(frozen=True)
class Finding:
    """What records say to a claim: a verdict, the figure behind it, and the keys of its rows."""

    verdict: Verdict
    figure: str
    keys: tuple[str, ...]


# (facts, settings of one network and task) -> finding, None outside of the regime
Test = Callable[[Facts, Sequence[Setting]], Finding | None]


@dataclass(frozen=True)
class Claim:
    """One checkable statement, in our own words.

    Args:
        source: the tutorial or paper that it is from.
        regime: what it takes to test it.
    """

    id: str
    words: str
    source: str
    regime: str
    test: Test = field(repr=False)


@dataclass(frozen=True)
class Answered:
    """A claim with what the records of one network and task say to it."""

    claim: Claim
    where: str
    finding: Finding


def grows(facts: Facts, settings: Sequence[Setting], metric: str, size: str, algos: Sequence[str],
          batching: str = "") -> Finding | None:  # fmt: skip
    """A metric of each of these algorithms grows with a size as theory says: the claims agree."""
    told: dict[str, bool | None] = {}
    keys: list[str] = []
    verdicts = {"as theory": True, "not as theory": False}
    for one in series(facts, settings, metric, size, least=LEAST_SIZES, batching=batching):
        unknown = one.way.algo in TRACED and metric != TIME and one.points["window"].isna().any()
        if one.law is None or unknown or (algos and one.way.algo not in algos):
            continue
        if one.reading == "measured under contention" or not _own(one.way):
            continue
        said = one.reading if one.law.dominated else f"exponent {one.law.exponent:.2f}"
        told[f"{one.name}: {said}"] = verdicts.get(one.reading)
        theory = one.theory
        keys += [key for some in one.carried["keys"] for key in some]
    if not told:
        return None
    parts = told.values()
    some = "; ".join([*told][:3]) + (f" and {len(told) - 3} more" if len(told) > 3 else "")
    holds = False if False in parts else None if None in parts else True
    return _finding(holds, f"{some}; claimed: {theory:g}.", keys)


def relates(facts: Facts, settings: Sequence[Setting], metric: str, column: str, of: str, to: str,
            bar: float, n_hidden: int = 0, batch_size: int = 0) -> Finding | None:  # fmt: skip
    """A metric of ways with `of` over that of those with `to`, all else equal, is beyond a bar:
    above one that is above 1, else below it.
    """
    same = "batching" if column == "algo" else "variant"
    rows = []
    for setting in settings:
        width, batch = (number(setting.row[size]) for size in ("n_hidden", "batch_size"))
        for way in setting.ways if width >= n_hidden and batch >= batch_size else ():
            # What an algorithm's trace costs shows only where one is made.
            counts = (way.traced or column != "algo") and not (metric == TIME and way.contended)
            value = way.ms if metric == TIME else way.median(metric)
            if getattr(way, column) in (of, to) and counts and _own(way) and value > 0:
                pair = f"{setting.id} {getattr(way, same)}"
                rows.append((pair, getattr(way, column), math.log(value), way.keys))
    table = pd.DataFrame(rows, columns=["pair", "side", "log", "keys"])
    means = table.groupby(["pair", "side"])["log"].mean().unstack().reindex(columns=[of, to])
    pairs = means.dropna()
    if pairs.empty:
        return None
    a, b = (np.exp(pairs[side].to_numpy()) for side in (of, to))
    found = interval(a / b) if metric == TIME else Interval(*np.quantile(a / b, (0.5, 0, 1)))
    low, high = (found.low, found.high) if found.low == found.low else (0.0, math.inf)
    beyond, short_of = (low > bar, high < bar) if bar > 1 else (high < bar, low > bar)
    ends = f" ({short(low)} to {short(high)})" if len(pairs) > 1 else ""
    count = f"{len(pairs)} {'setting' if len(pairs) == 1 else 'settings'}"
    figure = f"{of}'s {describe(metric).title} over {to}'s: {short(found.centre)}{ends} in {count}."
    keys = [key for some in table["keys"] for key in some]
    return _finding(True if beyond else False if short_of else None, figure, keys)


def is_exact(facts: Facts, settings: Sequence[Setting], algo: str) -> Finding | None:
    """The gradient of an algorithm is BPTT's."""
    ways = [w for s in settings for w in s.ways if w.algo == algo and _own(w)]
    errors = {w: e for w in ways if (e := w.median("grad_rel_error")) == e}
    if not errors:
        return None
    worst = max(errors.values())
    figure = f"Relative error of the gradient: up to {short(worst)}."
    return _finding(worst <= EXACT, figure, (key for w in errors for key in w.keys))


def learns_as_well(
    facts: Facts, settings: Sequence[Setting], of: str, to: Sequence[str], updates: str = ""
) -> Finding | None:
    """An algorithm learns no worse than another, the same seeds and updates for both, wherever one
    of them learns at all.

    Args:
        to: the other one; of several the first that ran.
        updates: words for when weights are updated that a way has to have.
    """
    gaps: list[float] = []
    keys: list[str] = []
    others: list[str] = []
    for setting in settings:
        trained = {(w.algo, _updates(w)): w for w in setting.by_method if w.learned and _own(w)}
        for (algo, when), mine in trained.items():
            other = next((trained[o, when] for o in to if (o, when) in trained), None)
            if algo != of or updates not in when or other is None:
                continue
            found = [w.learned for w in (mine, other) if w.learned]
            if all(f.verdict == "at chance" for f in found):
                continue  # of what neither learns nothing is told
            ours, theirs = (f.seeds for f in found)
            pairs = [(ours[s], theirs[s]) for s in sorted(ours.keys() & theirs.keys(), key=str)]
            loss = setting.metric == "loss_final"
            gaps += [(b - a) / b if loss else a - b for a, b in pairs]
            keys += [*mine.keys, *other.keys]
            others.append(other.algo)
    words = f"Better than {' and '.join(dict.fromkeys(others))} by"
    return _gap(gaps, words, "pairs of runs with one seed", keys, least=-SAME)


def closer(
    facts: Facts, settings: Sequence[Setting], of: str, to: str, column: str, value: float
) -> Finding | None:
    """The gradient of an algorithm is nearer to BPTT's than that of another, where an option of the
    network is known to have a value.
    """
    ratios: list[float] = []  # of what is missing to a cosine of one: it grows with the length
    keys: list[str] = []
    for setting in settings:
        ways = {w.algo: w for w in setting.ways if _own(w) and w.cosine < 1}
        if column in setting.row and number(setting.row[column]) == value and {of, to} <= {*ways}:
            ratios.append((1 - ways[of].cosine) / (1 - ways[to].cosine))
            keys += [*ways[of].keys, *ways[to].keys]
    if not ratios:
        return None
    ratio = interval(ratios)
    told = ratio.kind == STUDENT
    holds = True if told and ratio.high < 1 else False if told and ratio.low > 1 else None
    ends = f" ({short(ratio.low)} to {short(ratio.high)})" if len(ratios) > 1 else ""
    figure = f"{of}'s cosine lacks {short(ratio.centre)}{ends} times what {to}'s lacks to one"
    return _finding(holds, f"{figure}, in {len(ratios)} settings.", keys)


def _gap(
    gaps: Sequence[float], words: str, unit: str, keys: Iterable[str], least: float = 0.0
) -> Finding | None:
    """Whether gaps are above `least`, by Student's interval: of fewer than three it is open."""
    if not gaps:
        return None
    gap = interval(gaps, bounds=(-math.inf, math.inf))
    told = gap.kind == STUDENT
    holds = True if told and gap.low > least else False if told and gap.high < least else None
    ends = f" ({short(gap.low)} to {short(gap.high)})" if len(gaps) > 1 else ""
    return _finding(holds, f"{words} {short(gap.centre)}{ends} over {len(gaps)} {unit}.", keys)


def windows_pay(facts: Facts, settings: Sequence[Setting], algo: str) -> Finding | None:
    """One update for several steps takes less time than an update at every step, both by turns with
    the same BPTT, so that a busy machine slows both.
    """
    ratios: list[Interval] = []
    keys: list[str] = []
    for setting in settings:
        timed = {_updates(w): w for w in setting.ways if w.algo == algo and w.against and _own(w)}
        each = timed.get(EACH)
        for when, way in timed.items():
            if each and each.against and way.against and when.startswith("update_every="):
                a, b = each.against, way.against
                ratios.append(Interval(a.centre / b.centre, a.low / b.high, a.high / b.low))
                keys += [*each.keys, *way.keys]
    if not ratios:
        return None
    low, high = min(r.low for r in ratios), max(r.high for r in ratios)
    centre = math.exp(sum(math.log(r.centre) for r in ratios) / len(ratios))
    figure = "Time with an update at every step over that with one for several: "
    figure += f"{short(centre)} ({short(low)} to {short(high)})."
    return _finding(True if low > PAYS else False if high < PAYS else None, figure, keys)


def _updates(way: Way) -> str:
    """When a way updates the weights, in the words of its name; "" for once a sequence."""
    named = re.search(rf"update_every=\w+|{EACH}", way.variant)
    return named[0] if named else ""


def _own(way: Way) -> bool:
    return way.backend in ("core", "")


def _finding(holds: bool | None, figure: str, keys: Iterable[str]) -> Finding:
    verdict: Verdict = "not decided" if holds is None else "holds" if holds else "does not hold"
    return Finding(verdict, figure, tuple(dict.fromkeys(keys)))


_LARGE = f"both on {LARGE} neurons or more, with traces made"
# fmt: off
CLAIMS = (
    Claim("flat-in-time", "Online learning needs the same memory however long the sequence is.",
          SNN, "D-RTRL or ES-D-RTRL at three lengths beyond one window",
          partial(grows, metric=TEMP, size="n_steps", algos=TRACED)),
    Claim("bptt-grows",
          "BPTT has to keep the whole sequence: its memory grows linearly with the length.",
          SNN, "BPTT at three lengths",
          partial(grows, metric=TEMP, size="n_steps", algos=["bptt"])),
    Claim("d-rtrl-batch", "D-RTRL's memory is linear in the batch.",
          SNN, "D-RTRL at three batch sizes, with a trace made",
          partial(grows, metric=TEMP, size="batch_size", algos=["d_rtrl"])),
    Claim("d-rtrl-width",
          "D-RTRL's memory is quadratic in the width, as its number of parameters.",
          SNN, "D-RTRL at three widths, with a trace made",
          partial(grows, metric=TEMP, size="n_hidden", algos=["d_rtrl"])),
    Claim("es-d-rtrl-width", "ES-D-RTRL's memory is linear in the width.",
          SNN, "ES-D-RTRL at three widths, with a trace made",
          partial(grows, metric=TEMP, size="n_hidden", algos=["es_d_rtrl"])),
    Claim("es-cheaper", "On larger networks ES-D-RTRL needs less memory than D-RTRL.", SNN, _LARGE,
          partial(relates, metric=TEMP, column="algo", of="es_d_rtrl", to="d_rtrl", bar=0.98,
                  n_hidden=LARGE)),
    Claim("es-faster", "On larger networks ES-D-RTRL is faster than D-RTRL.",
          SNN, f"{_LARGE}, timed on a quiet machine",
          partial(relates, metric=TIME, column="algo", of="es_d_rtrl", to="d_rtrl", bar=0.95,
                  n_hidden=LARGE)),
    Claim("d-rtrl-exact", "D-RTRL computes the exact gradient.",
          SNN, "D-RTRL with its gradient compared with BPTT's", partial(is_exact, algo="d_rtrl")),
    Claim("manual-faster", "Manual batching is faster than vmap.",
          BATCHING, "the same cells with both, timed on a quiet machine",
          partial(relates, metric=TIME, column="batching", of="vmap", to="manual", bar=1.05)),
    Claim("batching-pays", "Batching is much faster than one sample after another.",
          BATCHING, "batches of 16 or more both ways, timed on a quiet machine",
          partial(relates, metric=TIME, column="batching", of="single", to="manual", bar=1.5,
                  batch_size=16)),
    Claim("loop-costs-b", "One sample after another costs B times one sample.",
          BATCHING, "one sample at a time at three batch sizes, timed on a quiet machine",
          partial(grows, metric=TIME, size="batch_size", algos=(), batching="single")),
    Claim("credit-is-free", "Online, derivatives within each step learn as well as full RTRL.",
          FREE, "both with an update at every step, RTRL or else D-RTRL, on three seeds",
          partial(learns_as_well, of="immediate", to=("rtrl", "d_rtrl"), updates=EACH)),
    Claim("windows-pay", "Online learning over windows of steps is faster than step by step.",
          HYPR, "D-RTRL with an update at every step and with one for several, by turns with BPTT",
          partial(windows_pay, algo="d_rtrl")),
    Claim("otpe-closer",
          "In feed-forward spiking networks OTPE's gradient is nearer to BPTT's than OTTT's.",
          OTPE, "both compared with BPTT in three settings, recurrent weights being zero",
          partial(closer, of="otpe", to="ottt", column="cfg.model.recurrent_gain", value=0.0)),
    Claim("es-learns", "ES-D-RTRL learns as well as D-RTRL.",
          SNN, "both on three seeds, with the same updates",
          partial(learns_as_well, of="es_d_rtrl", to=("d_rtrl",))),
)
# fmt: on


def answers(facts: Facts) -> tuple[list[Answered], list[Claim]]:
    """(what these records answer, which claims they cannot test)."""
    places: dict[tuple[str, ...], list[Setting]] = {}
    apart = [c for c in ("model", "task", "device", "machine") if c in facts.held]
    for setting in facts.settings:
        places.setdefault(tuple(str(setting.row[c]) for c in apart), []).append(setting)
    found = [Answered(claim, settings[0].place, finding)
             for _, settings in sorted(places.items()) for claim in CLAIMS
             if (finding := claim.test(facts, settings))]  # fmt: skip
    found.sort(key=lambda a: a.finding.verdict == "not decided")
    tested = {a.claim.id for a in found}
    return found, [c for c in CLAIMS if c.id not in tested]
