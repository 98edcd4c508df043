"""The tables of a report: rows of text with what each cell means, for HTML, Markdown and CSV."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from reports.judge import Facts, Setting, Way
from reports.judge.cost import LEAST_BAR, UNKNOWN_BAR
from reports.judge.problems import STATUS
from reports.judge.scaling import crossings, growths, series, sizes_swept
from reports.page.figures import change, figure, kind, listed, plural, probability
from reports.records import Record
from reports.records.columns import EXTRA_METRICS, METRICS, SYMBOLS, heading
from reports.study import Study
from reports.text import short

MOST_GROUPS = 3  # with a table of ways each; the others are in the table of settings
MOST_SETTINGS = 40  # rows of that table
MOST_SLICES = 3  # settings of the rest for which growth with a size is told


@dataclass(frozen=True)
class Cell:
    """A text, what shows when the pointer rests on it, and how it is marked."""

    text: str
    tip: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under a head.

    Args:
        name: of its CSV file.
        numeric: columns that are set flush right.
        notes: what stands below it.
    """

    name: str
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numeric: frozenset[int] = frozenset()
    notes: Sequence[str] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Writes NAME.csv."""
        with open(folder / f"{self.name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(self.head)
            writer.writerows([cell.text for cell in row] for row in self.rows)


def ways(setting: Setting, number: int) -> Table:
    """One row a way of one setting: what it costs and comes to, and how it stands."""
    answer = setting.answer
    tuned = any(w.learned and w.learned.n_lr > 1 for w in setting.ways)
    cosines = any(w.cosine == w.cosine for w in setting.ways)
    timed = any(w.time for w in setting.ways)
    sized = any(w.memory for w in setting.ways)
    head = ["way", *["ms per training step", "relative time"] * timed,
            *[heading(setting.memory)] * sized, *[heading(setting.metric)] * bool(setting.metric),
            *["learning rate"] * tuned, *["gradient cosine"] * cosines, ""]  # fmt: skip
    ranked = sorted(
        setting.ways,
        key=lambda w: (
            w is not answer.start,
            not w.ok,
            w.ms if w.ms == w.ms else float("inf"),
            w.name,
        ),
    )
    rows = []
    for way in ranked:
        row = [Cell(way.name, mark="start" if way is answer.start else "")]
        row += [_time(way), _relative(setting, way)] * timed
        row += [Cell(figure(way.memory))] * sized
        row += [_learned(way)] * bool(setting.metric)
        row += [Cell(short(way.learned.lr) if way.learned else "–")] * tuned
        row += [Cell(short(way.cosine))] * cosines
        rows.append([*row, _standing(setting, way)])
    return Table(f"ways_{number}", f"Ways for {setting.whole}", head, rows,
                 frozenset(range(1, len(head) - 1)), _notes(setting))  # fmt: skip


def _time(way: Way) -> Cell:
    if not way.time:
        return Cell("–")
    tip = kind(way.time.ms, way.time.n, "process")
    if way.time.odd:
        tip += f"; {way.time.odd} more, far off, left out"
    return Cell(figure(way.time.ms) + "*" * way.time.contended, tip)


def _relative(setting: Setting, way: Way) -> Cell:
    answer = setting.answer
    if way is answer.start:
        return Cell("1")
    if (answer.order or {}).get(way.name) == "not compared":
        return Cell("not compared")
    found = (answer.ratio or {}).get(way.name)
    return Cell(short(found.centre), change(found)) if found else Cell("–")


def _learned(way: Way) -> Cell:
    if not way.learned:
        return Cell("–")
    return Cell(
        figure(way.learned.figure), kind(way.learned.figure, len(way.learned.seeds), "seed")
    )


def _standing(setting: Setting, way: Way) -> Cell:
    """How a way stands: recommended, within noise of that, or why it is not."""
    answer, failed = setting.answer, _failed(way)
    if not way.ok:
        return Cell(failed or "skipped", mark="bad")
    why = (answer.why or {}).get(way.name, "")
    said = {"not healthy": f"not healthy: {way.flaw}"}.get(why, why)
    if why and way.learned and way.learned.p == way.learned.p and why == "significantly worse":
        said += f" ({probability(way.learned.p)})"
    order = (answer.order or {}).get(way.name, "")
    if way is answer.start:
        said = "recommended" + (f" for want of a sound one; {said}" if said else "")
    elif not said:
        said = "may be as fast" if order == "not compared" else order
        said = "recommended as well" if way in answer.equal else said
    parts = [said, f"not healthy: {way.flaw}" if way.flaw and why != "not healthy" else "", failed]
    recommended = way is answer.start or way in answer.equal
    mark = "start" if recommended else "bad" if why else ""
    return Cell("; ".join(filter(None, parts)), mark=mark)


def _failed(way: Way) -> str:
    return ", ".join(f"{STATUS.get(s, s)} in {n} of {way.ok + sum(way.failed.values())} runs"
                     for s, n in sorted(way.failed.items()))  # fmt: skip


def _notes(setting: Setting) -> list[str]:
    out = []
    if any(w.time and w.time.contended for w in setting.ways):
        out.append("* measured while more was running than the machine has cores: such a time is "
                   "called neither faster nor slower than another.")  # fmt: skip
    gaps = [w.learned.rounding for w in setting.ways if w.learned]
    gap = max((g for g in gaps if g == g), default=0.0)
    if gap > 0:
        out.append(f"Batching changes {heading(setting.metric)} by rounding alone, here by up to "
                   f"{short(gap)} on one seed; its rows are repeats of one method.")  # fmt: skip
    seeds = [len(w.learned.seeds) for w in setting.ways if w.learned]
    if seeds and max(seeds) < 3:
        out.append(
            f"{plural(max(seeds), 'seed')}: from three on differences in {heading(setting.metric)} "
            "are tested."
        )
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
    found = found[:MOST_SETTINGS]
    found.sort(key=lambda s: tuple(_in_order(s.row[c]) for c in facts.varied))
    rows = []
    for setting in found:
        answer = setting.answer
        start = answer.start
        tied = (
            listed([w.name for w in answer.tied], most=3)
            if not answer.uncompared
            else "not compared*"
        )
        name = start.name if start else "nothing learned"
        if answer.kind in ("one way", "only one ran"):
            name += " (the only one)"
        rows.append(
            [
                Cell(setting.name),
                Cell(name),
                Cell(tied or "–"),
                Cell(
                    figure(start.time.ms) + "*" * start.time.contended
                    if start and start.time
                    else "–"
                ),
                Cell(figure(start.memory) if start else "–"),
                Cell(figure(start.learned.figure) if start and start.learned else "–"),
            ]
        )
    metrics = {s.metric for s in found if s.metric}
    head = ["setting", "start with", "as fast within noise", "ms per training step", "memory (MiB)",
            heading(metrics.pop()) if len(metrics) == 1 else "learned"]  # fmt: skip
    more = len(facts.settings) - len(rows)
    return Table("settings", "Every setting", head, rows, frozenset({3, 4, 5}),
                 [f"{more} more settings are in results.csv."] if more > 0 else [])  # fmt: skip


def _in_order(value: Any) -> tuple[float, str]:
    """Numbers by size, and before words."""
    try:
        return float(value), ""
    except (TypeError, ValueError):
        return float("inf"), str(value)


def scaling(study: Study) -> list[Table]:
    """Exponents of memory and time in each size, and where two methods changed places."""
    facts = study.facts
    start = next((s.answer.start for s in facts.settings if s.answer.start), None)
    batching = start.batching if start else "manual"
    rows, crossed = [], []
    metrics = dict.fromkeys([study.memory, "memory_temp_mib", "etrace_mib", "step_time_ms"])
    for size in sizes_swept(study.cells):
        for metric in metrics:
            found = series(study.cells, facts.held, metric, size, batching, most=MOST_SLICES)
            for g in growths(found):
                one, law = g.series, g.law
                exponent = "–"
                if law and not law.dominated:
                    ends = f" ({law.low:.2f} to {law.high:.2f})" if law.low == law.low else ""
                    exponent = f"{law.exponent:.2f}{ends}"
                rows.append(
                    [
                        Cell(heading(metric)),
                        Cell(SYMBOLS[size]),
                        Cell(one.name),
                        Cell(one.where or "–"),
                        Cell(exponent),
                        Cell(f"{one.theory:g}" if one.theory is not None else "–"),
                        Cell(g.reading or "–"),
                    ]
                )
            bar = UNKNOWN_BAR if metric == "step_time_ms" else LEAST_BAR
            crossed += [
                [
                    Cell(heading(metric)),
                    Cell(c.where or "–"),
                    Cell(c.below),
                    Cell(c.above),
                    Cell(f"{SYMBOLS[size]} = {c.between[0]:g} and {c.between[1]:g}"),
                ]
                for c in crossings(found, bar)
                if metric in (study.memory, "step_time_ms")
            ]
    out = []
    if rows:
        out.append(
            Table(
                "scaling",
                "Growth with size",
                ["quantity", "in", "method", "at", "exponent", "theory", "reading"],
                rows,
                frozenset({4, 5}),
                ["Quantity ∝ sizeᵖ, fitted as a + b sizeᵖ; theory is for large sizes."],
            )
        )
    if crossed:
        out.append(
            Table(
                "crossings",
                "Where two methods change places",
                ["quantity", "at", "less below", "less above", "between"],
                crossed,
            )
        )
    return out


def columns(table: pd.DataFrame) -> Table:
    """What each recorded column is."""
    used = [
        c for c in (*METRICS, *EXTRA_METRICS) if c.name in table and table[c.name].notna().any()
    ]
    rows = [[Cell(c.name), Cell(c.unit or "–"), Cell(c.words)] for c in used]
    return Table("columns", "What each column is", ["column", "unit", "what it is"], rows)


def environment(records: Sequence[Record]) -> Table:
    """What the machines were, each distinct value once."""
    found: dict[str, Counter[str]] = {}
    for record in records:
        for name, value in (record.get("provenance") or {}).items():
            if name == "versions" and isinstance(value, dict):
                for library, version in value.items():
                    found.setdefault(str(library), Counter())[str(version)] += 1
            elif not isinstance(value, dict):  # phases of one cell say nothing about the machine
                found.setdefault(name, Counter())[_flat(value)] += 1
    rows = [[Cell(name), Cell(_values(counts))] for name, counts in found.items()]
    return Table("environment", "Environment", ["what", "value"], rows)


def _flat(value: Any) -> str:
    if isinstance(value, float):
        return short(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _values(counts: Counter[str]) -> str:
    if len(counts) <= 3:
        return "; ".join(f"{value or '–'}" + f" ({plural(n, 'cell')})" * (len(counts) > 1)
                         for value, n in counts.most_common())  # fmt: skip
    return _range(counts) or f"{len(counts)} different values"


def _range(values: Iterable[str]) -> str:
    try:
        numbers = sorted(float(v) for v in values)
    except ValueError:
        return ""
    return f"{short(numbers[0])} to {short(numbers[-1])}"
