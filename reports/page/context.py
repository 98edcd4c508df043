"""What the templates are given: facts, tables of text, drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reports.judge.claims import answers
from reports.judge.problems import problems
from reports.page import tables
from reports.page.cells import results
from reports.page.contest import overview, told
from reports.plots.base import Drawn
from reports.records import asked
from reports.study import Study
from reports.text import plural

MOST_GROUPS = 3  # with a table of ways each; the others are in the table of settings


class Context:
    """One report: what is said of a study.

    Attributes:
        title: the question that it answers.
        subtitle: experiments, cells and machine.
        ways: tables, one for each group of settings, a row a way.
        streams: latencies; None where none was measured.
        tables: those with a CSV file of their own.
        claims: (answered, not tested by these records).
        sources: where peaks of memory were read.
        below_floor: (cells whose step took less than the machine's floor, cells with a floor).
        health: whether any cell was to measure it.
    """

    def __init__(
        self, study: Study, drawings: Sequence[Drawn], not_drawn: Sequence[tuple[str, str]]
    ) -> None:
        facts, table, records = study.facts, study.table, study.sweeps.records
        self.facts, self.not_drawn = facts, not_drawn
        questions = set(study.sweeps.questions.values())
        self.title = (
            questions.pop() if len(questions) == 1 else "Which way of computing should I use?"
        )
        machines = table["machine"].nunique()
        processors = {str(r["provenance"].get("processor") or "") for r in records} - {""}
        self.subtitle = " · ".join(filter(None, [
            ", ".join(sorted(set(table["experiment"]) - {""})[:4]),
            plural(len(table), "cell"),
            f"{machines} machines" if machines > 1 else "",
            processors.pop() if machines < 2 and len(processors) == 1 else "",
        ]))  # fmt: skip
        self.drawn = _with_two_on_the_first_screen(drawings)
        self.ways = [tables.ways(g[0], i) for i, g in enumerate(facts.groups[:MOST_GROUPS], 1)]
        self.contests = told(study.contests)
        self.overview = overview(self.contests)
        self.elsewhere = tables.elsewhere(facts)
        self.streams = tables.streams(facts)
        found = [*tables.scaling(facts), tables.phases(facts), tables.weights(study)]
        self.details = [table for table in found if table]
        self.environment = tables.environment(records)
        self.columns = tables.columns(table)
        self.tables = [t.table for t in self.contests] + self.ways + self.details
        others = self.overview, self.streams, self.elsewhere, self.columns, self.environment
        self.tables += [t for t in others if t]
        self.problems = problems(table, study.sweeps, facts)
        self.claims = answers(facts)
        self.results = results(table)
        sources = {str((r.get("memory") or {}).get("source") or "") for r in records}
        self.sources = sorted(sources - {""})
        ratios = table["limit_ratio"][table["status"].eq("ok")]
        self.below_floor = int(ratios.lt(1).sum()), int(ratios.notna().sum())
        self.health = any(asked(record, "health") for record in records)


def _with_two_on_the_first_screen(drawings: Sequence[Drawn]) -> list[Drawn]:
    """Where nothing was trained, growth stands beside the costs."""
    growth = next((d for d in drawings if d.plot.place == "more"), None)
    if sum(d.plot.place == "first" for d in drawings) != 1 or growth is None:
        return list(drawings)
    moved = replace(growth, plot=replace(growth.plot, place="first"))
    return [moved if d is growth else d for d in drawings]
