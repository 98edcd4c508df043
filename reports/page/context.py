"""What the templates are given: facts, tables of text, drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reports.judge import Facts
from reports.judge.claims import Answered, Claim, answers
from reports.judge.problems import Problem, problems
from reports.page import tables
from reports.page.cells import Results, results
from reports.page.glossary import GLOSSARY
from reports.page.notes import notes
from reports.page.tables import Table
from reports.plots.base import Drawn
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
    """

    title: str
    subtitle: str
    facts: Facts
    drawn: Sequence[Drawn]
    not_drawn: Sequence[tuple[str, str]]
    ways: Sequence[Table]
    elsewhere: Table | None
    problems: Sequence[Problem]
    scaling: Sequence[Table]
    claims: Sequence[Answered]
    untested: Sequence[Claim]
    columns: Table
    environment: Table
    results: Results
    notes: Sequence[str]
    glossary: Sequence[tuple[str, str]] = GLOSSARY

    @property
    def tables(self) -> list[Table]:
        """Those with a CSV file of their own."""
        found = [*self.ways, self.elsewhere, *self.scaling, self.columns, self.environment]
        return [t for t in found if t]

    @property
    def grave(self) -> int:
        return sum(problem.grave for problem in self.problems)


def context(study: Study, drawn: Sequence[Drawn], not_drawn: Sequence[tuple[str, str]]) -> Context:
    """Everything that is said of a study."""
    facts = study.facts
    claims, untested = answers(study.table, study.cells, facts.held)
    experiments = sorted(set(study.table["experiment"]) - {""})
    count = len(study.table)
    return Context(
        title=_question(study),
        subtitle=" · ".join(
            filter(
                None,
                [
                    ", ".join(experiments[:4]),
                    f"{count} {'cell' if count == 1 else 'cells'}",
                    _machines(study),
                ],
            )
        ),
        facts=facts,
        drawn=_first_screen(drawn),
        not_drawn=not_drawn,
        ways=[
            tables.ways(group[0], i)
            for i, group in enumerate(facts.groups[: tables.MOST_GROUPS], 1)
        ],
        elsewhere=tables.elsewhere(facts),
        problems=problems(study.table, study.sweeps, facts),
        scaling=tables.scaling(study),
        claims=claims,
        untested=untested,
        columns=tables.columns(study.table),
        environment=tables.environment(study.sweeps.records),
        results=results(study.table),
        notes=notes(study),
    )


def _first_screen(drawn: Sequence[Drawn]) -> list[Drawn]:
    """The drawings with two on the first screen: where nothing was trained, growth stands beside
    the costs.
    """
    first = sum(d.plot.place == "first" for d in drawn)
    growth = next((d for d in drawn if d.plot.place == "more"), None)
    if first != 1 or growth is None:
        return list(drawn)
    moved = replace(growth, plot=replace(growth.plot, place="first"))
    return [moved if d is growth else d for d in drawn]


def _question(study: Study) -> str:
    questions = list(dict.fromkeys(study.sweeps.questions.values()))
    return questions[0] if len(questions) == 1 else "Which way of computing should I use?"


def _machines(study: Study) -> str:
    names = sorted({str((r.get("provenance") or {}).get("processor") or "")
                    for r in study.sweeps.records} - {""})  # fmt: skip
    machines = study.table["machine"].nunique()
    if machines > 1:
        return f"{machines} machines"
    return names[0] if len(names) == 1 else ""
