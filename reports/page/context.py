"""What the templates are given: facts, tables of text, drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reports.judge import Facts
from reports.judge.claims import Answered, Claim, answers
from reports.judge.problems import Problem, problems
from reports.page import tables
from reports.page.cells import Results, results
from reports.page.contest import Told, told
from reports.page.figures import plural
from reports.page.tables import Table
from reports.plots.base import Drawn
from reports.records import Record, asked
from reports.study import Study


@dataclass(frozen=True)
class Context:
    """One report.

    Args:
        title: the question it answers.
        subtitle: experiments, cells and machine.
        drawn: every drawing; `not_drawn` says why others are missing.
        ways: one table for each group of settings, a row a way.
        elsewhere: what to use at the other settings.
        sources: where peaks of memory were read.
        below_floor: cells whose step took less than the machine's floor, of `floors`.
    """

    title: str
    subtitle: str
    facts: Facts
    drawn: Sequence[Drawn]
    not_drawn: Sequence[tuple[str, str]]
    ways: Sequence[Table]
    elsewhere: Table | None
    problems: Sequence[Problem]
    details: Sequence[Table]
    claims: Sequence[Answered]
    untested: Sequence[Claim]
    columns: Table
    environment: Table
    results: Results
    sources: Sequence[str]
    below_floor: int
    floors: int
    health: bool
    contests: Sequence[Told]

    @property
    def tables(self) -> list[Table]:
        """Those with a CSV file of their own."""
        contests = [t.table for t in self.contests]
        found = [*self.ways, self.elsewhere, *self.details, self.columns, self.environment]
        return [*contests, *(t for t in found if t)]

    @property
    def grave(self) -> int:
        return sum(problem.grave for problem in self.problems)

    def verdicts(self, verdict: str) -> int:
        return sum(a.finding.verdict == verdict for a in self.claims)


def context(study: Study, drawn: Sequence[Drawn], not_drawn: Sequence[tuple[str, str]]) -> Context:
    """Everything that is said of a study."""
    facts, table, records = study.facts, study.table, study.sweeps.records
    ok = table[table["status"].eq("ok")]
    claims, untested = answers(facts)
    questions = set(study.sweeps.questions.values())
    machines = table["machine"].nunique()
    processors = _told(records, "provenance", "processor")
    subtitle = [
        ", ".join(sorted(set(table["experiment"]) - {""})[:4]),
        plural(len(table), "cell"),
        f"{machines} machines" if machines > 1 else processors[0] if len(processors) == 1 else "",
    ]
    return Context(
        title=questions.pop() if len(questions) == 1 else "Which way of computing should I use?",
        subtitle=" · ".join(filter(None, subtitle)),
        facts=facts,
        drawn=_first_screen(drawn),
        not_drawn=not_drawn,
        ways=[
            tables.ways(group[0], i)
            for i, group in enumerate(facts.groups[: tables.MOST_GROUPS], 1)
        ],
        elsewhere=tables.elsewhere(facts),
        problems=problems(table, study.sweeps, facts),
        details=[*tables.scaling(facts), *tables.details(study)],
        claims=claims,
        untested=untested,
        columns=tables.columns(table),
        environment=tables.environment(records),
        results=results(table),
        sources=_told(records, "memory", "source"),
        below_floor=int(ok["limit_ratio"].lt(1).sum()),
        floors=int(ok["limit_ratio"].notna().sum()),
        health=any(asked(r, "health") for r in records),
        contests=told(study.contests),
    )


def _told(records: Sequence[Record], part: str, name: str) -> list[str]:
    """What records say, each once."""
    return sorted({str((r.get(part) or {}).get(name) or "") for r in records} - {""})


def _first_screen(drawn: Sequence[Drawn]) -> list[Drawn]:
    """The drawings with two on the first screen: where nothing was trained, growth stands beside
    the costs.
    """
    growth = next((d for d in drawn if d.plot.place == "more"), None)
    if sum(d.plot.place == "first" for d in drawn) != 1 or growth is None:
        return list(drawn)
    moved = replace(growth, plot=replace(growth.plot, place="first"))
    return [moved if d is growth else d for d in drawn]
