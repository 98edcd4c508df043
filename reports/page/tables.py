"""The tables of a report: cells of text with what each means, for HTML, Markdown and CSV."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from reports.judge import Facts, Learned, Setting, Way
from reports.judge.answer import FAITHFUL
from reports.judge.contest import Entry, Match
from reports.judge.cost import AGAINST
from reports.judge.problems import STATUS
from reports.judge.rows import no_gradient, number
from reports.judge.scaling import LEAST_SIZES, TIME, TRACE, Series, series, sizes_swept
from reports.records import Record
from reports.records.columns import SYMBOLS, heading
from reports.stats import Interval
from reports.study import Study
from reports.tables import Cell, Table, change, kind, listed, probability, shown, tabulate
from reports.text import plural, short

MOST_SETTINGS = 40  # rows of the table of settings
MOST_SLICES = 3  # settings of the rest for which growth with a size is told
MOST_WEIGHTS = 40
_UNDER_CONTENTION = "* measured under contention."
_BEST = {"first": "among the best", "behind": "behind", "untold": "cannot tell",
         "nothing": "no better than guessing"}  # fmt: skip
_NONE = {"nothing learned": "nothing learned", "unfinished": "no fresh seeds yet"}
_SOONEST = {"first": "among the soonest", "behind": "later", "untold": "cannot tell",
            "nothing": "not reached"}  # fmt: skip


def _costs(way: Way | None, setting: Setting, learned: str) -> dict[str, str]:
    """A way's time over BPTT's, its time, its memory and what it learned, under that head."""
    time, found = way and way.time, way and way.learned
    lost = f"; {time.odd} more, far off, left out" if time and time.odd else ""
    ratio = (time.against or time.moved) if time else None
    tip = kind(ratio, len(time.ratios), "process", "processes") if time and ratio else ""
    return {
        heading(AGAINST): shown(ratio, tip * bool(time and time.ratios),
                                after="*" * bool(time and time.moved)),
        "ms per training step": shown(time.ms, kind(time.ms, time.n, "process", "processes") + lost,
                                      after="*" * time.contended) if time else shown(None),
        heading(setting.memory): shown(way.memory if way else None),
        learned: shown(found.figure, kind(found.figure, len(found.seeds), "seed"))
        if found else shown(None),
    }  # fmt: skip


def ways(setting: Setting, nth: int) -> Table:
    """One row a way of one setting: what it costs and comes to, and how it stands."""
    answer, start = setting.answer, setting.answer.start
    tuned = any(w.learned and w.learned.n_lr > 1 for w in setting.ways)

    def place(way: Way) -> tuple[bool, bool, bool, bool, float, str]:
        ratio = answer.ratio.get(way.name)
        time = ratio.centre if ratio else way.ms
        return way is not start, way not in answer.equal, not way.ok, not way.time, time, way.name

    return tabulate(f"ways_{nth}", f"Ways for {setting.whole}", [{
        "way": Cell(w.name, mark="start" if w is start else ""),
        **_costs(w, setting, heading(setting.metric or "test_accuracy")),
        "learning rate": shown(w.learned.lr if tuned and w.learned else None),
        "gradient cosine": Cell(short(w.cosine, bar=FAITHFUL), value=Interval(w.cosine)),
        "": _standing(setting, w),
    } for w in sorted(setting.ways, key=place)])  # fmt: skip


def _standing(setting: Setting, way: Way) -> Cell:
    """How a way stands: recommended, slower by so much, within noise, or why it is not."""
    answer = setting.answer
    failed = ", ".join(f"{STATUS[s]} in {n} of {plural(way.ok + way.lost, 'run')}"
                       for s, n in sorted(way.failed.items()))  # fmt: skip
    if not way.ok:
        return Cell(failed or "skipped", mark="bad")
    why, flaw = answer.why.get(way.name, ""), f"not healthy: {way.flaw}" if way.flaw else ""
    found = way.learned
    guessed = _guesses(found)
    said = {"not healthy": flaw, "fails on some seeds": guessed}.get(why, why)
    if why == "significantly worse" and found:
        said += f" ({probability(found.p)})"
    recommended, order = way is answer.start or way in answer.equal, answer.order.get(way.name)
    if answer.kind == "one way":
        said = "; ".join(filter(None, ["the only way measured", said]))
    elif way is answer.start:
        said = "recommended" + (f" for want of a sound one; {said}" if said else "")
    elif recommended:
        said = said or "recommended as well"
    elif order:
        of = {"within noise": "of", "not compared": "with"}.get(order)
        told = order if of else change(answer.ratio[way.name])
        if other := answer.outpaced.get(way.name):
            told += f" {of} the recommended, slower than {other.name}"
        said = "; ".join(filter(None, [said, told])) if order != "not compared" else said or told
    parts = [said, *(also for also in (guessed, flaw) if also not in said), failed]
    return Cell("; ".join(filter(None, parts)),
                mark="start" if recommended else "bad" if why else "")  # fmt: skip


def elsewhere(facts: Facts) -> Table:
    """What to use at every setting, where there are several."""
    found = [s for s in facts.settings if s.answer.start or s.answer.kind in _NONE]
    metrics = {s.metric for s in found if s.metric}
    learned = heading(metrics.pop()) if len(metrics) == 1 else "learned"

    def place(setting: Setting) -> list[tuple[bool, float, str]]:
        values = [(number(v), str(v)) for v in (setting.row[c] for c in facts.varied)]
        return [(n != n, n if n == n else 0.0, text) for n, text in values]

    def row(setting: Setting) -> dict[str, str]:
        answer = setting.answer
        alone = " (the only one)" * (answer.kind in ("one way", "only one ran"))
        tied = listed([w.name for w in answer.tied], most=2) or "–"
        costs = _costs(answer.start, setting, learned)
        costs["memory (MiB)"] = costs.pop(heading(setting.memory))
        return {
            "setting": setting.name,
            "start with": answer.start.name + alone if answer.start else _NONE[answer.kind],
            "as fast within noise": "not compared" if answer.uncompared else tied,
            **costs,
        }

    first = sorted(found[:MOST_SETTINGS], key=place) if len(facts.settings) > 1 else []
    more = len(facts.settings) - len(first)
    notes = [_UNDER_CONTENTION] * any(s.answer.start and s.answer.start.contended for s in found)
    notes += [f"{plural(more, 'more setting')} in results.csv."] * (more > 0)
    return tabulate("settings", "Every setting", map(row, first), notes)


def scaling(facts: Facts) -> Table:
    """Exponents of memory and time in each size of which three were swept."""
    grown = [one for size in sizes_swept(facts)
             for metric in dict.fromkeys([facts.memory, "memory_temp_mib", TRACE, TIME])
             for one in series(facts, facts.settings, metric, size, most=MOST_SLICES)
             if len(one.points) >= LEAST_SIZES]  # fmt: skip
    return tabulate("scaling", "Growth with size", [{
        "quantity": heading(g.metric), "in": SYMBOLS[g.size],
        "method": g.name, "at": g.where or "–", "exponent": _exponent(g),
        "theory": shown(g.theory), "reading": g.reading or "–",
    } for g in grown], ["Quantity ∝ sizeᵖ, fitted as a + b sizeᵖ; theory is for large sizes."],
    )  # fmt: skip


def _exponent(growth: Series) -> Cell:
    law = growth.law
    if not law or law.dominated or growth.points["contended"].any():
        return shown(None)
    found, low, high = (0.0 if abs(p) < 0.005 else p for p in (law.exponent, law.low, law.high))
    told = f" ({low:.2f} to {high:.2f})" if low == low != high else ""
    return Cell(f"{found:.2f}{told}", value=Interval(found, low, high))


def phases(facts: Facts) -> Table:
    """What is paid once and kept under each way, at the first setting that tells."""
    told = [s for s in facts.settings if any("compile_s" in w.medians for w in s.ways)][:1]
    once = ("trace_s", "lower_s", "compile_s", "first_call_s")
    where = "".join(s.whole for s in told)
    return tabulate("phases", f"Seconds paid once, and memory kept, for {where}", [{
        "way": w.name,
        **{heading(n): shown(w.median(n)) for n in once},
        heading("memory_temp_mib"): shown(w.median("memory_temp_mib")),
        heading(TRACE): shown(w.median(TRACE)) if w.traced
        else shown(None, "one window covers the sequence, so none is made"),
    } for s in told for w in s.ways if w.ok])  # fmt: skip


def streams(facts: Facts) -> Table:
    """What one step of learning takes where samples come one by one, wherever that was measured."""
    found = [(s, w, w.median("latency_contended") > 0)
             for s in facts.settings for w in s.ways if w.median("latency_steps") > 0]  # fmt: skip
    notes = ["Medians over processes, those of a 99th percentile over the ones that have it; "
             "learning included."]  # fmt: skip
    notes += [_UNDER_CONTENTION] * any(busy for *_, busy in found)
    columns = ("latency_p50_us", "latency_p99_us", "latency_steps", "stream_steps_per_s",
               "scan_steps_per_s")  # fmt: skip
    return tabulate("streams", "One step at a time", [{
        "way": w.name,
        "at": s.name or "–",
        **{heading(n): shown(w.median(n), after="*" * (busy and n != "latency_steps"))
           for n in columns},
    } for s, w, busy in found], notes)  # fmt: skip


def weights(study: Study) -> Table:
    """Each weight's gradient cosine to BPTT, the farthest first, at the first setting that tells.

    A method's is the median over its processes; 0 where no gradient reaches a weight.
    """
    columns = ["method", "weight", "cosine"]
    told = ((setting.whole, pd.DataFrame([
        (way.method, weight, 0.0 if no_gradient(one) else one.get("cosine"))
        for way in setting.by_method if way.algo != "bptt"
        for key in way.keys
        for weight, one in study.by_key[key]["fidelity"].items()
    ], columns=columns).dropna()) for setting in study.facts.settings)  # fmt: skip
    where, found = next((one for one in told if len(one[1])), ("", pd.DataFrame(columns=columns)))
    found = found.astype({"cosine": float})
    names = short_weights(list(dict.fromkeys(found["weight"])))
    by = found.assign(weight=found["weight"].map(names)).pivot_table(
        "cosine", "weight", "method", aggfunc="median", sort=False)  # fmt: skip
    by = by.loc[by.min(axis=1).sort_values(kind="stable").index]
    more = len(by) - MOST_WEIGHTS
    notes = ["Median over processes; 1: the same direction; 0: none, or no gradient at all."]
    notes += [f"{more} more weights are closer to BPTT's."] * (more > 0)
    return tabulate("fidelity", f"Gradient cosine of each weight for {where}", [
        {"weight": weight, **{method: shown(cosine) for method, cosine in some.items()}}
        for weight, some in by.head(MOST_WEIGHTS).iterrows()], notes)  # fmt: skip


def short_weights(names: list[str]) -> dict[str, str]:
    """Each name without the parts that say only how modules nest, where that stays distinct."""
    short = {n: ".".join(p for p in n.split(".") if p not in ("weight", "comm", "value")) or n
             for n in names}  # fmt: skip
    told = Counter(short.values())
    return {n: s if told[s] == 1 else n for n, s in short.items()}


def environment(records: Sequence[Record]) -> Table:
    """What the machines were, each distinct value once; loads and the like have too many."""
    found: dict[str, Counter[str]] = {}
    for record in records:
        place = record["provenance"]
        for name, value in {**place, **place["versions"]}.items():
            if value not in ("", None) and not isinstance(value, dict):
                told = ", ".join(map(str, value)) if isinstance(value, list) else short(value)
                found.setdefault(str(name), Counter())[told] += 1
    return tabulate("environment", "Environment", [
        {"what": name, "value": "; ".join(value + f" ({plural(n, 'cell')})" * (len(counts) > 1)
                                          for value, n in counts.most_common())}
        for name, counts in found.items() if len(counts) <= 3
    ])  # fmt: skip


def contest(match: Match, nth: int) -> Table:
    """One row a way, the best first: its score on fresh seeds, and its way to the target."""
    tuned = sorted({k for e in match.entries for k in e.chosen} - {"lr"})
    unit = "" if match.setting.metric == "test_r2" else " %"
    goal = f"{match.target * (100 if unit else 1):.3g}{unit}"
    goal = goal if match.target == match.target else "a target"
    column = heading(AGAINST) if match.by_turns else "ms per training step"  # what is compared
    return tabulate(f"contest_{nth}", f"Contest on {match.name}", [{
        "way": Cell(e.name, mark="start" if e.best == "first" else ""),
        heading(match.setting.metric): _score(e),
        "learns": _learns(e),
        f"steps to {goal}": _span(e.steps.values(), e.median_steps),
        f"s to {goal}": _span((s * e.ms / 1000 for s in e.steps.values()), e.seconds,
                              after="*" * (e.contention and e.seconds < math.inf)),
        "arrives": _SOONEST[e.soonest] * (match.target == match.target),
        column: _costs(e.way, match.setting, "")[column],
        **{{"lr": "learning rate"}.get(k, k): _chosen(e, k) for k in ("lr", *tuned)},
    } for e in sorted(match.entries, key=lambda e: (-np.nan_to_num(e.mean, nan=-1), e.name))
    ])  # fmt: skip


def overview(matches: Sequence[Match]) -> Table:
    """Every way's test score in every setting, where there are several; those most often among the
    best first.
    """
    entries = {m.name: {e.name: e for e in m.entries} for m in matches if len(matches) > 1}
    by_way = {e.name: [some[e.name] for some in entries.values() if e.name in some]
              for m in matches for e in m.entries if entries}  # fmt: skip
    best = {way: sum(e.best == "first" for e in some) for way, some in by_way.items()}
    score = {way: np.nansum([e.mean for e in some]) for way, some in by_way.items()}
    order = sorted(by_way, key=lambda way: (-best[way], -score[way], way))
    return tabulate("contest", "Test score of all ways in all settings", [{
        "way": way,
        **{where: _score(some.get(way), brief=True) for where, some in entries.items()},
        "among the best": f"{best[way]} of {len(by_way[way])}",
    } for way in order], ["Means of the fresh seeds, accuracy in per cent; in bold what is among "
                          "the best of its column, as far as the seeds can tell."])  # fmt: skip


def _guesses(found: Learned | None) -> str:
    """How many seeds are no better than guessing, of a way that is so on some alone."""
    if not found or found.verdict == "at chance" or not found.guessing:
        return ""
    return f"{found.guessing} of {plural(len(found.seeds), 'seed')} guessed"


def _learns(entry: Entry) -> str:
    return "; ".join(filter(None, [
        _BEST[entry.best],
        _guesses(entry.way.learned),
        f"{plural(entry.failed, 'run')} failed" if entry.failed else "",
    ]))  # fmt: skip


def _score(entry: Entry | None, brief: bool = False) -> Cell:
    if not entry or not entry.scores or entry.way.learned is None:
        return shown(None)
    figure, share = entry.way.learned.figure, entry.way.learned.metric != "test_r2"
    centre, low, high = (x * (100 if share else 1) for x in figure[:3])
    found = Interval(centre, low, high, figure.kind)
    if brief:
        told = f"{found.centre:{'.1f' if share else '.3f'}}"
        return Cell(told, _BEST[entry.best], "start" if entry.best == "first" else "", found)
    return shown(found, kind(found, len(entry.scores), "seed"), after=" %" * share)


def _span(values: Iterable[float], middle: float, after: str = "") -> Cell:
    """The median, least and most of what seeds took, where that is known."""
    known = [value for value in values if value == value]
    ends = Interval(middle, min(known), max(known)) if known else None
    return shown(ends, "median, least to most" if known else "", after)


def _chosen(entry: Entry, name: str) -> Cell:
    edge = entry.edge.get(name)
    return shown(entry.chosen.get(name), f"the {edge} that was tried" if edge else "",
                 after="†" * bool(edge))  # fmt: skip
