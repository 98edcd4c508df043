"""The tables of a report: rows of text with what each cell means, for HTML, Markdown and CSV."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from reports.judge import Facts, Setting, Way
from reports.judge.cost import AGAINST, LEAST_BAR, UNKNOWN_BAR
from reports.judge.problems import STATUS
from reports.judge.rows import no_gradient, number
from reports.judge.scaling import LEAST_SIZES, TIME, TRACE, Series, crossings, series, sizes_swept
from reports.page.figures import between, change, figure, kind, listed, probability
from reports.records import Record
from reports.records.columns import METRICS, SYMBOLS, heading
from reports.study import Study
from reports.text import plural, short

MOST_SETTINGS = 40  # rows of the table of settings
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
    """Rows under a head; columns of numbers are set flush right, `notes` stand below."""

    name: str
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str]

    @property
    def numeric(self) -> set[int]:
        """Which columns hold numbers and their intervals alone; the first has names."""
        texts = ["".join(row[i].text.replace(" to ", " ") for row in self.rows)
                 for i in range(len(self.head))]  # fmt: skip
        return {i for i, t in enumerate(texts) if i and not re.search(r"(?!e[+-]\d)[^\W\d_]", t)}

    def write(self, folder: Path) -> None:
        """Writes NAME.csv."""
        with open(folder / f"{self.name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(self.head)
            writer.writerows([cell.text for cell in row] for row in self.rows)


def tabulate(name: str, title: str, rows: Iterable[Mapping[str, Cell | str]],
             notes: Sequence[str] = ()) -> Table:  # fmt: skip
    """A table of rows with one set of heads, without the columns that say nothing in any."""
    cells = [{h: Cell(c) if isinstance(c, str) else c for h, c in row.items()} for row in rows]
    head = [h for i, h in enumerate(cells[0] if cells else ())
            if not i or any(row[h].text not in ("", "–") for row in cells)]  # fmt: skip
    return Table(name, title, head, [[row[h] for h in head] for row in cells], notes)


def _costs(way: Way | None, setting: Setting, learned: str) -> dict[str, Cell | str]:
    """A way's time over BPTT's, its time, its memory and what it learned, under that head."""
    time, found = way and way.time, way and way.learned
    lost = f"; {time.odd} more, far off, left out" if time and time.odd else ""
    ratio, moved = (way.against, way.moved) if way else (None, None)
    return {
        heading(AGAINST): between(ratio) if ratio else between(moved) + "*" if moved else "–",
        "ms per training step": Cell(
            figure(time.ms) + "*" * time.contended,
            kind(time.ms, time.n, "process", "processes") + lost) if time else "–",
        heading(setting.memory): figure(way.memory if way else None),
        learned: Cell(figure(found.figure), kind(found.figure, len(found.seeds), "seed"))
        if found else "–",
    }  # fmt: skip


def ways(setting: Setting, nth: int) -> Table:
    """One row a way of one setting: what it costs and comes to, and how it stands."""
    answer, start = setting.answer, setting.answer.start
    tuned = any(w.learned and w.learned.n_lr > 1 for w in setting.ways)

    def place(way: Way) -> tuple[bool, bool, bool, bool, float, str]:
        ratio = answer.ratio.get(way.name)
        time = ratio.centre if ratio else way.ms
        return way is not start, way not in answer.equal, not way.ok, not way.time, time, way.name

    rows = [{
        "way": Cell(w.name, mark="start" if w is start else ""),
        **_costs(w, setting, heading(setting.metric or "test_accuracy")),
        "learning rate": short(w.learned.lr) if tuned and w.learned else "–",
        "gradient cosine": short(w.cosine),
        "": _standing(setting, w),
    } for w in sorted(setting.ways, key=place)]  # fmt: skip
    return tabulate(f"ways_{nth}", f"Ways for {setting.whole}", rows)


def _standing(setting: Setting, way: Way) -> Cell:
    """How a way stands: recommended, slower by so much, within noise, or why it is not."""
    answer = setting.answer
    failed = ", ".join(f"{STATUS[s]} in {n} of {plural(way.ok + way.lost, 'run')}"
                       for s, n in sorted(way.failed.items()))  # fmt: skip
    if not way.ok:
        return Cell(failed or "skipped", mark="bad")
    why, flaw = answer.why.get(way.name, ""), f"not healthy: {way.flaw}" if way.flaw else ""
    said = flaw if why == "not healthy" else why
    if why == "significantly worse" and way.learned:
        said += f" ({probability(way.learned.p)})"
    recommended, order = way is answer.start or way in answer.equal, answer.order.get(way.name)
    if way is answer.start:
        said = "recommended" + (f" for want of a sound one; {said}" if said else "")
    elif recommended:
        said = said or "recommended as well"
    elif order == "not compared":
        said = said or order
    elif order:
        told = order if order == "within noise" else change(answer.ratio[way.name])
        said = f"{said}; {told}" if said else told
    parts = [said, flaw if flaw not in said else "", failed]
    return Cell("; ".join(filter(None, parts)),
                mark="start" if recommended else "bad" if why else "")  # fmt: skip


def elsewhere(facts: Facts) -> Table | None:
    """What to use at every setting; None where there is one."""
    found = [s for s in facts.settings if s.answer.start or s.answer.kind == "nothing learned"]
    if len(facts.settings) < 2 or not found:
        return None
    metrics = {s.metric for s in found if s.metric}
    learned = heading(metrics.pop()) if len(metrics) == 1 else "learned"

    def place(setting: Setting) -> list[tuple[bool, float, str]]:
        values = [(number(v), str(v)) for v in (setting.row[c] for c in facts.varied)]
        return [(n != n, n if n == n else 0.0, text) for n, text in values]

    def row(setting: Setting) -> dict[str, Cell | str]:
        answer = setting.answer
        alone = " (the only one)" * (answer.kind in ("one way", "only one ran"))
        tied = listed([w.name for w in answer.tied], most=3) or "–"
        costs = _costs(answer.start, setting, learned)
        costs["memory (MiB)"] = costs.pop(heading(setting.memory))
        return {
            "setting": setting.name,
            "start with": answer.start.name + alone if answer.start else "nothing learned",
            "as fast within noise": "not compared" if answer.uncompared else tied,
            **costs,
        }

    rows = [row(s) for s in sorted(found[:MOST_SETTINGS], key=place)]
    more = len(facts.settings) - len(rows)
    starts = [s.answer.start for s in found]
    notes = ["* measured under contention."] * any(w.contended for w in starts if w)
    notes += [f"{more} more settings are in results.csv."] * (more > 0)
    return tabulate("settings", "Every setting", rows, notes)


def scaling(facts: Facts) -> list[Table]:
    """Exponents of memory and time in each size, and where two methods changed places."""
    grown, crossed = [], []
    for size in sizes_swept(facts):
        for metric in dict.fromkeys([facts.memory, "memory_temp_mib", TRACE, TIME]):
            found = series(facts, facts.settings, metric, size, most=MOST_SLICES)
            grown += [one for one in found if len(one.points) >= LEAST_SIZES]
            if metric in (facts.memory, TIME):
                crossed += crossings(found, UNKNOWN_BAR if metric == TIME else LEAST_BAR)
    made = [
        tabulate("scaling", "Growth with size", [{
            "quantity": heading(g.metric), "in": SYMBOLS[g.size],
            "method": g.name, "at": g.where or "–", "exponent": _exponent(g),
            "theory": short(g.theory), "reading": g.reading or "–",
        } for g in grown], ["Quantity ∝ sizeᵖ, fitted as a + b sizeᵖ; theory is for large sizes."]),
        tabulate("crossings", "Where two methods change places", [{
            "quantity": heading(c.metric), "at": c.where or "–", "less below": c.below,
            "less above": c.above,
            "between": f"{SYMBOLS[c.size]} = {c.between[0]:g} and {c.between[1]:g}",
        } for c in crossed]),
    ]  # fmt: skip
    return [table for table in made if table.rows]


def _exponent(growth: Series) -> str:
    law = growth.law
    if not law or law.dominated:
        return "–"
    found, low, high = (f"{abs(p) if abs(p) < 0.005 else p:.2f}"
                        for p in (law.exponent, law.low, law.high))  # fmt: skip
    return f"{found} ({low} to {high})" if law.low == law.low != law.high else found


def phases(facts: Facts) -> Table | None:
    """What is paid once and kept under each way, at the first setting that tells."""
    first = next((s for s in facts.settings if any("compile_s" in w.medians for w in s.ways)), None)
    if not first:
        return None
    return tabulate(
        "phases", f"Seconds paid once, and memory kept, for {first.whole}", [{
            "way": w.name,
            **{heading(n): short(w.median(n))
               for n in ("trace_s", "lower_s", "compile_s", "first_call_s")},
            f"{STEPS} steps (s)": short(w.ms * STEPS / 1e3),
            heading("memory_temp_mib"): short(w.median("memory_temp_mib")),
            heading(TRACE): short(w.median(TRACE)) if w.traced
            else Cell("–", "one window covers the sequence, so none is made"),
        } for w in first.ways if w.ok],
    )  # fmt: skip


def streams(facts: Facts) -> Table | None:
    """What one step of learning takes where samples come one by one, wherever that was measured."""
    found = [(s, w) for s in facts.settings for w in s.ways if w.median("latency_steps") > 0]
    if not found:
        return None
    rows = [{
        "way": w.name,
        "at": s.name or "–",
        heading("latency_p50_us"): short(w.median("latency_p50_us"))
        + "*" * (w.median("latency_contended") > 0),
        **{heading(n): short(w.median(n))
           for n in ("latency_p99_us", "latency_steps", "stream_steps_per_s", "scan_steps_per_s")},
    } for s, w in found]  # fmt: skip
    notes = ["Medians over processes, those of a 99th percentile over the ones that have it; "
             "learning included."]  # fmt: skip
    contended = any(w.median("latency_contended") > 0 for _, w in found)
    notes += ["* measured under contention."] * contended
    return tabulate("streams", "One step at a time", rows, notes)


def weights(study: Study) -> Table | None:
    """Each weight's gradient cosine to BPTT, the farthest first, at the first setting that tells.

    A method's is the median over its processes; 0 where no gradient reaches a weight.
    """
    for setting in study.facts.settings:
        found = pd.DataFrame([
            (way.method, weight, 0.0 if no_gradient(one) else one.get("cosine"))
            for way in setting.by_method if way.algo != "bptt"
            for key in way.keys
            for weight, one in (study.by_key[key].get("fidelity") or {}).items()
        ], columns=["method", "weight", "cosine"]).dropna()  # fmt: skip
        if found.empty:
            continue
        found["weight"] = found["weight"].map(short_weights(list(dict.fromkeys(found["weight"]))))
        by = found.astype({"cosine": float}).pivot_table(
            "cosine", "weight", "method", aggfunc="median", sort=False)  # fmt: skip
        by = by.loc[by.min(axis=1).sort_values(kind="stable").index]
        notes = ["Median over processes; 1: the same direction; 0: none, or no gradient at all."]
        if len(by) > MOST_WEIGHTS:
            notes.append(f"{len(by) - MOST_WEIGHTS} more weights are closer to BPTT's.")
        rows = [{"weight": str(weight), **{m: short(v) for m, v in row.items()}}
                for weight, row in by.head(MOST_WEIGHTS).iterrows()]  # fmt: skip
        return tabulate("fidelity", f"Gradient cosine of each weight for {setting.whole}", rows,
                        notes)  # fmt: skip
    return None


def short_weights(names: list[str]) -> dict[str, str]:
    """Each name without the parts that say only how modules nest, where that stays distinct."""
    short = {n: ".".join(p for p in n.split(".") if p not in ("weight", "comm", "value")) or n
             for n in names}  # fmt: skip
    told = Counter(short.values())
    return {n: s if told[s] == 1 else n for n, s in short.items()}


def columns(table: pd.DataFrame) -> Table:
    """What each recorded column is."""
    return tabulate("columns", "What each column is", [
        {"column": c.name, "unit": c.unit or "–", "what it is": c.words}
        for c in METRICS if c.name in table and table[c.name].notna().any()
    ])  # fmt: skip


def environment(records: Sequence[Record]) -> Table:
    """What the machines were, each distinct value once; loads and the like have too many."""
    found: dict[str, Counter[str]] = {}
    for record in records:
        place: Mapping[str, Any] = record.get("provenance") or {}
        for name, value in {**place, **(place.get("versions") or {})}.items():
            if value not in ("", None) and not isinstance(value, dict):
                told = ", ".join(map(str, value)) if isinstance(value, list) else short(value)
                found.setdefault(str(name), Counter())[told] += 1
    return tabulate("environment", "Environment", [
        {"what": name, "value": "; ".join(value + f" ({plural(n, 'cell')})" * (len(counts) > 1)
                                          for value, n in counts.most_common())}
        for name, counts in found.items() if len(counts) <= 3
    ])  # fmt: skip
