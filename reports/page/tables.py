"""The tables of a report: rows of text with what each cell means, for HTML, Markdown and CSV.

A table is items down its side and columns along its top, each a head and what it says of an item.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from reports.judge import Facts, Setting, Way
from reports.judge.cost import AGAINST, LEAST_BAR, UNKNOWN_BAR
from reports.judge.problems import STATUS
from reports.judge.rows import no_gradient
from reports.judge.scaling import TIME, TRACE, Growth, crossings, growths, series, sizes_swept
from reports.page.figures import between, change, figure, kind, listed, plural, probability
from reports.records import Record
from reports.records.columns import EXTRA_METRICS, METRICS, SYMBOLS, heading
from reports.study import Study
from reports.text import short

MOST_GROUPS = 3  # with a table of ways each; the others are in the table of settings
MOST_SETTINGS = 40  # rows of that table
MOST_SLICES = 3  # settings of the rest for which growth with a size is told
MOST_WEIGHTS = 40
STEPS = 100  # training steps set beside what is paid once


class Cell(NamedTuple):
    """A text, what shows when the pointer rests on it, and how it is marked."""

    text: str
    tip: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under a head; `numeric` columns are set flush right, `notes` stand below."""

    name: str
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numeric: frozenset[int]
    notes: Sequence[str]

    def write(self, folder: Path) -> None:
        """Writes NAME.csv."""
        with open(folder / f"{self.name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(self.head)
            writer.writerows([cell.text for cell in row] for row in self.rows)


Column = tuple[str, Callable[[Any], Cell | str]]


def _table(name: str, title: str, items: Iterable[Any], columns: Sequence[Column],
           numeric: Sequence[str] = (), notes: Sequence[str] = ()) -> Table:  # fmt: skip
    """A row for each item, without the columns that say nothing of any."""
    rows = [[Cell(c) if isinstance(c, str) else c for c in (say(item) for _, say in columns)]
            for item in items]  # fmt: skip
    used = [j for j in range(len(columns))
            if not j or any(r[j].text not in ("", "–") for r in rows)]  # fmt: skip
    head = [columns[j][0] for j in used]
    return Table(name, title, head, [[row[j] for j in used] for row in rows],
                 frozenset(i for i, h in enumerate(head) if h in numeric), notes)  # fmt: skip


def _cost(way: Way | None) -> list[Cell]:
    """The cells of a way's time over BPTT's, its time, its memory and what it learned."""
    made = [Cell("–")] * 4
    if way and way.against:
        made[0] = Cell(between(way.against))
    if way and way.time:
        tip = kind(way.time.ms, way.time.n, "process", "processes")
        tip += f"; {way.time.odd} more, far off, left out" if way.time.odd else ""
        made[1] = Cell(figure(way.time.ms) + "*" * way.contended, tip)
    if way and way.memory:
        made[2] = Cell(figure(way.memory))
    if way and way.learned:
        tip = kind(way.learned.figure, len(way.learned.seeds), "seed")
        made[3] = Cell(figure(way.learned.figure), tip)
    return made


def ways(setting: Setting, nth: int) -> Table:
    """One row a way of one setting: what it costs and comes to, and how it stands."""
    answer = setting.answer

    def relative(way: Way) -> Cell:
        found = answer.ratio.get(way.name)
        if way is answer.start and way.time:
            return Cell("1")
        if not found or answer.order[way.name] == "not compared":
            return Cell("not compared" if found else "–")
        return Cell(short(found.centre), change(found))

    tuned = any(w.learned and w.learned.n_lr > 1 for w in setting.ways)
    columns: list[Column] = [
        ("way", lambda w: Cell(w.name, mark="start" if w is answer.start else "")),
        (heading(AGAINST), lambda w: _cost(w)[0]),
        ("ms per training step", lambda w: _cost(w)[1]),
        ("relative time", relative),
        (heading(setting.memory), lambda w: _cost(w)[2]),
        (heading(setting.metric or "test_accuracy"), lambda w: _cost(w)[3]),
        ("learning rate", lambda w: short(w.learned.lr) if tuned and w.learned else "–"),
        ("gradient cosine", lambda w: short(w.cosine)),
        ("", lambda w: _standing(setting, w)),
    ]
    ranked = sorted(setting.ways, key=lambda w: (w is not answer.start, not w.ok, not w.time,
                                                 w.ms, w.name))  # fmt: skip
    return _table(f"ways_{nth}", f"Ways for {setting.whole}", ranked, columns,
                  [head for head, _ in columns[1:-1]], _notes(setting))  # fmt: skip


def _standing(setting: Setting, way: Way) -> Cell:
    """How a way stands: recommended, within noise of that, or why it is not."""
    answer = setting.answer
    failed = ", ".join(f"{STATUS[s]} in {n} of {plural(way.ok + way.lost, 'run')}"
                       for s, n in sorted(way.failed.items()))  # fmt: skip
    if not way.ok:
        return Cell(failed or "skipped", mark="bad")
    why, flaw = answer.why.get(way.name, ""), f"not healthy: {way.flaw}" if way.flaw else ""
    recommended = way is answer.start or way in answer.equal
    said = flaw if why == "not healthy" else why
    if why == "significantly worse" and way.learned:
        said += f" ({probability(way.learned.p)})"
    order = answer.order.get(way.name, "")
    if way is answer.start:
        said = "recommended" + (f" for want of a sound one; {said}" if said else "")
    elif not said:
        said = "may be as fast" if order == "not compared" else order
        said = "recommended as well" if recommended else said
    parts = [said, flaw if flaw not in said else "", failed]
    return Cell("; ".join(filter(None, parts)),
                mark="start" if recommended else "bad" if why else "")  # fmt: skip


def _notes(setting: Setting) -> list[str]:
    out = []
    learned = [w.learned for w in setting.ways if w.learned]
    what = heading(setting.metric)
    if any(w.against for w in setting.ways):
        out.append("Time over BPTT's: the two took turns in one process, so that load moves both.")
    if any(w.contended for w in setting.ways):
        out.append("* measured under contention: such a time is called neither faster nor slower "
                   "than another that did not take turns with it.")  # fmt: skip
    gap = max((f.rounding for f in learned if f.rounding == f.rounding), default=0.0)
    if gap > 0:
        out.append(f"Batchings of a method count as its repeats: on one seed they differ by up to "
                   f"{short(gap)} in {what}.")  # fmt: skip
    if learned and max(len(f.seeds) for f in learned) < 3:
        seeds = plural(max(len(f.seeds) for f in learned), "seed")
        out.append(f"{seeds}: from three on differences in {what} are tested.")
    tries = {w.method: w.learned.n_lr for w in setting.ways if w.learned}
    if len(set(tries.values())) > 1:
        told = listed([f"{name} {n}" for name, n in sorted(tries.items())])
        out.append(f"Not every method was tried at as many learning rates ({told}).")
    return out


def elsewhere(facts: Facts) -> Table | None:
    """What to use at every setting; None where there is one."""
    found = [s for s in facts.settings if s.answer.start or s.answer.kind == "nothing learned"]
    if len(facts.settings) < 2 or not found:
        return None
    found = sorted(found[:MOST_SETTINGS], key=lambda s: [_in_order(s.row[c]) for c in facts.varied])

    def name(s: Setting) -> str:
        alone = " (the only one)" * (s.answer.kind in ("one way", "only one ran"))
        return s.answer.start.name + alone if s.answer.start else "nothing learned"

    def tied(s: Setting) -> str:
        told = listed([w.name for w in s.answer.tied], most=3)
        return "not compared" if s.answer.uncompared else told or "–"

    metrics = {s.metric for s in found if s.metric}
    columns: list[Column] = [
        ("setting", lambda s: s.name),
        ("start with", name),
        ("as fast within noise", tied),
        (heading(AGAINST), lambda s: _cost(s.answer.start)[0]),
        ("ms per training step", lambda s: _cost(s.answer.start)[1]),
        ("memory (MiB)", lambda s: _cost(s.answer.start)[2]),
        (heading(metrics.pop()) if len(metrics) == 1 else "learned",
         lambda s: _cost(s.answer.start)[3]),
    ]  # fmt: skip
    more = len(facts.settings) - len(found)
    busy = any(s.answer.start and s.answer.start.contended for s in found)
    notes = ["* measured under contention."] * busy
    notes += [f"{more} more settings are in results.csv."] * (more > 0)
    numeric = [head for head, _ in columns[3:]]
    return _table("settings", "Every setting", found, columns, numeric, notes)


def _in_order(value: Any) -> tuple[float, str]:
    """Numbers by size, and before words."""
    try:
        return float(value), ""
    except (TypeError, ValueError):
        return float("inf"), str(value)


def scaling(facts: Facts) -> list[Table]:
    """Exponents of memory and time in each size, and where two methods changed places."""
    grown, crossed = [], []
    for size in sizes_swept(facts):
        for metric in dict.fromkeys([facts.memory, "memory_temp_mib", TRACE, TIME]):
            found = series(facts, facts.settings, metric, size, most=MOST_SLICES)
            grown += growths(found)
            if metric in (facts.memory, TIME):
                crossed += crossings(found, UNKNOWN_BAR if metric == TIME else LEAST_BAR)

    def exponent(g: Growth) -> str:
        if not g.law or g.law.dominated:
            return "–"
        found, low, high = (f"{abs(p) if abs(p) < 0.005 else p:.2f}"
                            for p in (g.law.exponent, g.law.low, g.law.high))  # fmt: skip
        return f"{found} ({low} to {high})" if g.law.low == g.law.low != g.law.high else found

    growth: list[Column] = [
        ("quantity", lambda g: heading(g.series.metric)),
        ("in", lambda g: SYMBOLS[g.series.size]),
        ("method", lambda g: g.series.name),
        ("at", lambda g: g.series.where or "–"),
        ("exponent", exponent),
        ("theory", lambda g: short(g.series.theory)),
        ("reading", lambda g: g.reading or "–"),
    ]
    crossing: list[Column] = [
        ("quantity", lambda c: heading(c.metric)),
        ("at", lambda c: c.where or "–"),
        ("less below", lambda c: c.below),
        ("less above", lambda c: c.above),
        ("between", lambda c: f"{SYMBOLS[c.size]} = {c.between[0]:g} and {c.between[1]:g}"),
    ]
    made = [
        _table("scaling", "Growth with size", grown, growth, ["exponent", "theory"],
               ["Quantity ∝ sizeᵖ, fitted as a + b sizeᵖ; theory is for large sizes."]),
        _table("crossings", "Where two methods change places", crossed, crossing),
    ]  # fmt: skip
    return [table for table in made if table.rows]


def details(study: Study) -> list[Table]:
    """What is paid once and kept under each way, and each weight's gradient, at the first setting
    that tells.
    """
    settings = study.facts.settings
    first = next((s for s in settings if any("compile_s" in w.medians for w in s.ways)), None)
    names = ("trace_s", "lower_s", "compile_s", "first_call_s")
    columns: list[Column] = [("way", lambda w: w.name)]
    columns += [(heading(n), _median(n)) for n in names]
    columns += [(f"{STEPS} steps (s)", lambda w: short(w.ms * STEPS / 1e3))]
    columns += [(heading("memory_temp_mib"), _median("memory_temp_mib"))]
    columns += [(heading(TRACE), lambda w: short(w.median(TRACE)) if w.traced else "none made")]
    made = []
    if first:
        ran = [w for w in first.ways if w.ok]
        made.append(_table("phases", f"Seconds paid once, and memory kept, for {first.whole}", ran,
                           columns, [head for head, _ in columns[1:]]))  # fmt: skip
    return [*made, *filter(None, [_weights(study)])]


def _median(metric: str) -> Callable[[Way], str]:
    return lambda way: short(way.median(metric))


def _weights(study: Study) -> Table | None:
    """Each weight's cosine to BPTT's gradient on the same batch, the farthest first."""
    for setting in study.facts.settings:
        found = _cosines(study, setting)
        if found.empty:
            continue
        found = found.loc[found.min(axis=1).sort_values(kind="stable").index]
        notes = ["Median over processes; 1: the same direction; 0: none, or no gradient at all."]
        if len(found) > MOST_WEIGHTS:
            notes.append(f"{len(found) - MOST_WEIGHTS} more weights are closer to BPTT's.")
        columns: list[Column] = [("weight", lambda row: row[0])]
        columns += [(m, _entry(i)) for i, m in enumerate(found.columns, 1)]
        return _table("fidelity", f"Gradient cosine of each weight for {setting.whole}",
                      found.head(MOST_WEIGHTS).itertuples(), columns, list(found.columns),
                      notes)  # fmt: skip
    return None


def _cosines(study: Study, setting: Setting) -> pd.DataFrame:
    """[weight, method] medians over processes; 0 where no gradient reaches a weight."""
    rows = [
        (way.method, weight, 0.0 if no_gradient(one) else one.get("cosine"))
        for way in setting.by_method if way.algo != "bptt"
        for key in way.keys
        for weight, one in (study.by_key[key].get("fidelity") or {}).items()
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["method", "weight", "cosine"]).dropna()
    table["weight"] = table["weight"].map(short_weights(list(dict.fromkeys(table["weight"]))))
    by = table.astype({"cosine": float}).groupby(["weight", "method"], sort=False)["cosine"]
    return by.median().unstack()


def _entry(i: int) -> Callable[[Any], str]:
    return lambda row: short(row[i])


def short_weights(names: list[str]) -> dict[str, str]:
    """Each name without the parts that say only how modules nest, where that stays distinct."""
    short = {n: ".".join(p for p in n.split(".") if p not in ("weight", "comm", "value")) or n
             for n in names}  # fmt: skip
    told = Counter(short.values())
    return {n: s if told[s] == 1 else n for n, s in short.items()}


def columns(table: pd.DataFrame) -> Table:
    """What each recorded column is."""
    used = [c for c in (*METRICS, *EXTRA_METRICS)
            if c.name in table and table[c.name].notna().any()]  # fmt: skip
    return _table("columns", "What each column is", used, [
        ("column", lambda c: c.name), ("unit", lambda c: c.unit or "–"),
        ("what it is", lambda c: c.words),
    ])  # fmt: skip


def environment(records: Sequence[Record]) -> Table:
    """What the machines were, each distinct value once."""
    found: dict[str, Counter[str]] = {}
    for record in records:
        place = record.get("provenance") or {}
        versions = place.get("versions") or {}
        # Phases of one cell say nothing about the machine.
        for name, value in (place | versions).items():
            if not isinstance(value, dict):
                told = ", ".join(map(str, value)) if isinstance(value, list) else short(value)
                found.setdefault(str(name), Counter())[told] += 1

    def values(name: str) -> str:
        counts = found[name]
        if len(counts) > 3:
            return f"{len(counts)} different values"
        several = len(counts) > 1
        return "; ".join(value + f" ({plural(n, 'cell')})" * several
                         for value, n in counts.most_common())  # fmt: skip

    return _table("environment", "Environment", found,
                  [("what", lambda name: name), ("value", values)])  # fmt: skip
