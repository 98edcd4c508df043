"""What tutorials and papers claim of the algorithms, as data, and what the facts say to each.

A claim is judged for each network and task apart, and only inside the regime that it is about. The
core's rows alone count: other libraries' would judge their implementations.

Two tests answer them all: whether a quantity grows with a size as theory says, and whether the
quantity of some ways, or what it is beside that of others with all else equal, is beyond a bar.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple

import pandas as pd

from reports.judge.cost import UNKNOWN_RATIO_BAR, sure
from reports.judge.facts import Facts, Setting, Way
from reports.judge.learning import SAME
from reports.judge.rows import number, words
from reports.judge.scaling import LEAST_SIZES, TIME, TRACED, series
from reports.stats import STUDENT, Interval, interval
from reports.tables import between
from reports.text import plural

Verdict = Literal["holds", "does not hold", "not decided"]
BATCHING, SNN = "Batching Online Learning", "SNN Online Learning with BrainTrace"
HYPR, OTPE = "arXiv:2506.14464 (HYPR)", "arXiv:2311.16151 (OTPE)"
FREE = "arXiv:2603.28750 (Temporal Credit Is Free)"
TEMP = "memory_temp_mib"
EACH = "updated every step"  # in the name of a way
LARGE = 512  # neurons from which on a network is called large
EXACT = 1e-3  # relative error of a gradient that is BPTT's, in single precision


class Finding(NamedTuple):
    """What records say to a claim: a verdict, the figure behind it, and the keys of its rows."""

    verdict: Verdict
    figure: str
    keys: tuple[str, ...]


# (facts, settings of one network and task, their ways) -> finding, None outside of the regime
Test = Callable[[Facts, Sequence[Setting], pd.DataFrame], Finding | None]


class Claim(NamedTuple):
    """One checkable statement, in our own words."""

    id: str
    words: str
    source: str  # the tutorial or paper that it is from
    regime: str  # what it takes to test it
    test: Test


class Answered(NamedTuple):
    """A claim with what the records of one network and task say to it."""

    claim: Claim
    where: str
    finding: Finding


def grows(
    facts: Facts, settings: Sequence[Setting], ways: pd.DataFrame,
    metric: str, size: str, algos: Sequence[str], batching: str = "",
) -> Finding | None:  # fmt: skip
    """A metric of each of these algorithms (of all, where none is named) grows with a size as
    theory says.
    """
    told: dict[str, str] = {}
    keys: list[str] = []
    for one in series(facts, settings, metric, size, least=LEAST_SIZES, batching=batching):
        unknown = one.way.algo in TRACED and metric != TIME and one.points["window"].isna().any()
        if one.law is None or unknown or (algos and one.way.algo not in algos):
            continue
        if one.reading == "measured under contention" or not _own(one.way):
            continue
        said = one.reading if one.law.dominated else f"exponent {one.law.exponent:.2f}"
        told[f"{one.name}: {said}"] = one.reading
        theory = one.theory
        keys += [key for some in one.carried["keys"] for key in some]
    if not told:
        return None
    readings = set(told.values())
    verdict: Verdict = "holds" if readings == {"as theory"} else "not decided"
    if "not as theory" in readings:
        verdict = "does not hold"
    rest = f" and {len(told) - 3} more" if len(told) > 3 else ""
    figure = f"{'; '.join([*told][:3])}{rest}; claimed: {theory:g}."
    return Finding(verdict, figure, tuple(keys))


def compares(
    facts: Facts, settings: Sequence[Setting], ways: pd.DataFrame,
    what: str, bar: float, words: str, of: str, to: str = "",
    same: Sequence[str] = ("batching", "updates"), below: bool = False,
) -> Finding | None:  # fmt: skip
    """Whether a quantity of some ways, over that of others (of scores, minus), is above a bar.

    What is drawn anew in each process or seed is judged by Student's interval, so three are the
    least; the rest by its smallest and largest value.

    Args:
        ways: as `_table` makes them.
        what: the column of the quantity.
        words: for the figure.
        of, to: which ways, as queries of the table; without `to` the quantity stands alone.
        same: what two ways have to share, besides their setting.
        below: the claim is that it is below the bar.
    """
    known = ways.explode(["seed", "score"]) if what == "score" else ways
    known = known[known[what].notna()].astype({what: float})
    sides = [known.query(side) for side in (of, to) if side]
    if any(side.empty for side in sides):
        return None
    # Where none of them learns nothing is told.
    learns = pd.concat(sides).groupby("setting")["learns"].any()
    sides = [side[side["setting"].map(learns)] for side in sides]
    by = ["setting", *same]
    mine, *its = (side.groupby(by).mean(numeric_only=True) for side in sides)
    if to:
        # The ends that lie furthest apart.
        ends = ("turns_low", "turns", "turns_high") if what == "turns" else (what,) * 3
        over = pd.Series.sub if what == "score" else pd.Series.div
        low, value, high = (over(mine[a], its[0][b]).dropna()
                            for a, b in zip(ends, reversed(ends), strict=True))  # fmt: skip
    else:
        low = value = high = mine[what].nlargest(1)  # one exception is enough
    if value.empty:
        return None
    sampled = what in ("score", "time", "lacks")
    figure = Interval(value.median(), low.min(), high.max())
    if sampled:
        figure = interval(value, bounds=(-math.inf, math.inf) if what == "score" else None)
    verdict: Verdict = "not decided"
    if (figure.kind == STUDENT or not sampled) and not figure.low <= bar <= figure.high:
        verdict = "holds" if (figure.high < bar) == below else "does not hold"
    told = figure if sampled else Interval(figure.centre, value.min(), value.max())
    used = pd.concat([side.set_index(by) for side in sides])
    keys = used.loc[used.index.isin(value.index), "keys"].explode().unique()
    count = f", {plural(len(value), 'comparison')}" if to else ""
    return Finding(verdict, f"{words}: {between(told)}{count}.", tuple(keys))


def _table(settings: Sequence[Setting]) -> pd.DataFrame:
    """A row a way of the core: what tells it, the ``keys`` of its records, and quantities that
    claims are about, nan where they are not known.
    """
    rows = []
    for setting, way in ((s, w) for s in settings for w in filter(_own, s.ways)):
        named = re.search(rf"update_every=\w+|{EACH}", way.variant)
        learned, turns = way.learned, way.against or Interval(math.nan)
        room = 1 if sure(turns) else 1 + UNKNOWN_RATIO_BAR  # what another process may say
        seeds = learned.seeds if learned else {}
        loss = learned is not None and learned.metric == "loss_final"
        rows.append({
            "setting": setting.id, "algo": way.algo, "batching": way.batching,
            "updates": named[0] if named else "once", "traced": way.traced, "keys": way.keys,
            "learns": learned is None or learned.verdict != "at chance",
            "n_hidden": number(setting.row["n_hidden"]),
            "batch_size": number(setting.row["batch_size"]),
            "gain": number(setting.row.get("cfg.model.recurrent_gain")),
            "memory": way.median(TEMP), "error": way.median("grad_rel_error"),
            "time": math.nan if way.contended else way.ms,
            # Of the cosine, to one.
            "lacks": 1 - way.cosine if way.cosine < 1 else math.nan,
            # With the same BPTT, so that a busy machine slows both.
            "turns": turns.centre, "turns_low": turns.low / room,
            "turns_high": turns.high * room,
            "seed": [str(seed) for seed in seeds],
            "score": [_ratios(x) if loss else x for x in seeds.values()],
        })  # fmt: skip
    return pd.DataFrame(rows)


def _ratios(loss: float) -> float:
    """A score of which differences are ratios of losses; nan where a loss has none."""
    return -math.log(loss) if loss > 0 else math.nan


def _own(way: Way) -> bool:
    return way.backend in ("core", "")


_ES, _D = "algo == 'es_d_rtrl'", "algo == 'd_rtrl'"
_MADE = f"both on {LARGE} neurons or more, with traces made"
_ES_OVER_D = partial(compares, of=f"{_ES} and traced and n_hidden >= {LARGE}",
                     to=f"{_D} and traced", below=True)  # fmt: skip
_MANUAL = partial(compares, what="time", to="batching == 'manual'", same=["algo", "updates"])
_LEARNS = partial(compares, what="score", bar=-SAME, same=["updates", "seed"],
                  words="Difference in what is learned")  # fmt: skip
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
    Claim("es-cheaper", "On larger networks ES-D-RTRL needs less memory than D-RTRL.", SNN, _MADE,
          partial(_ES_OVER_D, what="memory", bar=0.98, words="ES-D-RTRL's memory over D-RTRL's")),
    Claim("es-faster", "On larger networks ES-D-RTRL is faster than D-RTRL.",
          SNN, f"{_MADE}, timed on a quiet machine",
          partial(_ES_OVER_D, what="time", bar=0.95, words="ES-D-RTRL's time over D-RTRL's")),
    Claim("d-rtrl-exact", "D-RTRL computes the exact gradient.",
          SNN, "D-RTRL with its gradient compared with BPTT's",
          partial(compares, what="error", of=_D, bar=EXACT, below=True,
                  words="Largest relative error of the gradient")),
    Claim("manual-faster", "Manual batching is faster than vmap.",
          BATCHING, "the same cells with both, timed on a quiet machine",
          partial(_MANUAL, of="batching == 'vmap'", bar=1.05, words="vmap's time over manual's")),
    Claim("batching-pays", "Batching is much faster than one sample after another.",
          BATCHING, "batches of 16 or more both ways, timed on a quiet machine",
          partial(_MANUAL, of="batching == 'single' and batch_size >= 16", bar=1.5,
                  words="Time of one sample after another over that of a batch")),
    Claim("loop-costs-b", "One sample after another costs B times one sample.",
          BATCHING, "one sample at a time at three batch sizes, timed on a quiet machine",
          partial(grows, metric=TIME, size="batch_size", algos=(), batching="single")),
    Claim("credit-is-free", "Online, derivatives within each step learn as well as full RTRL.",
          FREE, "both with an update at every step, RTRL or D-RTRL, on three seeds",
          partial(_LEARNS, of=f"algo == 'immediate' and updates == '{EACH}'",
                  to="algo in ('rtrl', 'd_rtrl')")),
    Claim("windows-pay", "Online learning over windows of steps is faster than step by step.",
          HYPR, "D-RTRL with an update at every step and with one for several, by turns with BPTT",
          partial(compares, what="turns", of=f"{_D} and updates == '{EACH}'", bar=1.05,
                  to=f"{_D} and updates not in ('once', '{EACH}')", same=["batching"],
                  words="Time with an update at every step over that with one for several")),
    Claim("otpe-closer",
          "In feed-forward spiking networks OTPE's gradient is nearer to BPTT's than OTTT's.",
          OTPE, "both compared with BPTT in three settings, recurrent weights being zero",
          partial(compares, what="lacks", of="algo == 'otpe' and gain == 0", to="algo == 'ottt'",
                  bar=1.0, below=True, same=["updates"],
                  words="What OTPE's cosine lacks to one, over what OTTT's lacks")),
    Claim("es-learns", "ES-D-RTRL learns as well as D-RTRL.",
          SNN, "both on three seeds, with the same updates",
          partial(_LEARNS, of=_ES, to=_D)),
)
# fmt: on


def answers(facts: Facts) -> tuple[list[Answered], list[Claim]]:
    """(what these records answer, which claims they cannot test)."""
    places: dict[tuple[str, ...], list[Setting]] = {}
    apart = [c for c in ("model", "task", "device", "machine") if c in facts.held]
    for setting in facts.settings:
        places.setdefault(tuple(str(setting.row[c]) for c in apart), []).append(setting)
    also = [c for c in ("device", "machine") if c in facts.varied]
    found = []
    for _, settings in sorted(places.items()):
        ways = _table(settings)
        told = [(claim, claim.test(facts, settings, ways)) for claim in CLAIMS if len(ways)]
        where = ", ".join(filter(None, [settings[0].place, words(settings[0].row, also, ", ")]))
        found += [Answered(claim, where, finding) for claim, finding in told if finding]
    found.sort(key=lambda a: a.finding.verdict == "not decided")
    tested = {a.claim.id for a in found}
    return found, [c for c in CLAIMS if c.id not in tested]
