"""What the templates are given: facts, tables of text, drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from reports.judge import Facts
from reports.judge.claims import Answered, Claim, answers
from reports.judge.problems import Problem, problems
from reports.page import tables
from reports.page.cells import Results, results
from reports.page.contest import Told, told
from reports.page.figures import plural
from reports.page.tables import Table
from reports.plots.base import Drawn
from reports.records import asked
from reports.study import Study


@dataclass(frozen=True, eq=False)
class Context:
    """One report: what is said of a study, each part worked out once.

    Args:
        drawings: of the study; `not_drawn` says why others are missing.
    """

    study: Study
    drawings: Sequence[Drawn]
    not_drawn: Sequence[tuple[str, str]]

    @property
    def facts(self) -> Facts:
        return self.study.facts

    @cached_property
    def title(self) -> str:
        """The question that it answers."""
        questions = set(self.study.sweeps.questions.values())
        return questions.pop() if len(questions) == 1 else "Which way of computing should I use?"

    @cached_property
    def subtitle(self) -> str:
        """Experiments, cells and machine."""
        table = self.study.table
        machines, processors = table["machine"].nunique(), self._told("provenance", "processor")
        one = processors[0] if len(processors) == 1 else ""
        machine = f"{machines} machines" if machines > 1 else one
        experiments = ", ".join(sorted(set(table["experiment"]) - {""})[:4])
        return " · ".join(filter(None, [experiments, plural(len(table), "cell"), machine]))

    @cached_property
    def drawn(self) -> list[Drawn]:
        """The drawings with two on the first screen: where nothing was trained, growth stands
        beside the costs.
        """
        growth = next((d for d in self.drawings if d.plot.place == "more"), None)
        if sum(d.plot.place == "first" for d in self.drawings) != 1 or growth is None:
            return list(self.drawings)
        moved = replace(growth, plot=replace(growth.plot, place="first"))
        return [moved if d is growth else d for d in self.drawings]

    @cached_property
    def ways(self) -> list[Table]:
        """One for each group of settings, a row a way."""
        groups = self.facts.groups[: tables.MOST_GROUPS]
        return [tables.ways(group[0], i) for i, group in enumerate(groups, 1)]

    @cached_property
    def contests(self) -> list[Told]:
        return told(self.study.contests)

    @cached_property
    def elsewhere(self) -> Table | None:
        return tables.elsewhere(self.facts)

    @cached_property
    def details(self) -> list[Table]:
        return [*tables.scaling(self.facts), *tables.details(self.study)]

    @cached_property
    def environment(self) -> Table:
        return tables.environment(self.study.sweeps.records)

    @cached_property
    def columns(self) -> Table:
        return tables.columns(self.study.table)

    @property
    def tables(self) -> list[Table]:
        """Those with a CSV file of their own."""
        found = [*self.ways, self.elsewhere, *self.details, self.columns, self.environment]
        return [*(t.table for t in self.contests), *filter(None, found)]

    @cached_property
    def problems(self) -> list[Problem]:
        return problems(self.study.table, self.study.sweeps, self.facts)

    @cached_property
    def claims(self) -> tuple[list[Answered], list[Claim]]:
        """(answered, not tested by these records)."""
        return answers(self.facts)

    @cached_property
    def results(self) -> Results:
        return results(self.study.table)

    @property
    def sources(self) -> list[str]:
        """Where peaks of memory were read."""
        return self._told("memory", "source")

    @cached_property
    def below_floor(self) -> tuple[int, int]:
        """(cells whose step took less than the machine's floor, cells with a floor)."""
        ratios = self.study.table["limit_ratio"][self.study.table["status"].eq("ok")]
        return int(ratios.lt(1).sum()), int(ratios.notna().sum())

    @property
    def health(self) -> bool:
        """Whether any cell was to measure it."""
        return any(asked(r, "health") for r in self.study.sweeps.records)

    def _told(self, part: str, name: str) -> list[str]:
        """What records say, each once."""
        records = self.study.sweeps.records
        return sorted({str((r.get(part) or {}).get(name) or "") for r in records} - {""})
