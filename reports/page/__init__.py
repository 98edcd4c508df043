"""The report as one offline HTML page, as Markdown and as text: templates over one set of facts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import pandas as pd
from jinja2 import Environment
from markupsafe import Markup

from reports.judge import Facts, cost
from reports.judge.answer import FAITHFUL
from reports.judge.claims import answers
from reports.judge.contest import Match
from reports.judge.problems import problems
from reports.page import tables
from reports.plots.base import Plot
from reports.records.columns import SYMBOLS, heading
from reports.stats import ALPHA
from reports.study import Study
from reports.tables import between, change, listed, probability, shown
from reports.text import one_blank_line, plural, templates

MOST_GROUPS = 3  # with a table of ways each; the others are in the table of settings

# Columns of the table of all cells: the first always, the last where they vary, the others where
# they say something.
ALWAYS = ("variant", "backend", "model", "batching", "batch_size", "n_hidden", "n_steps", "status")
FURTHER = (
    "time_vs_bptt", "step_time_ms", "latency_p50_us", "memory_peak_mib", "memory_xla_mib",
    "etrace_mib", "grad_cosine", "grad_rel_error", "test_accuracy", "accuracy", "test_r2", "r2",
    "loss_final", "lr", "compile_s", "limit_ratio", "firing_rate", "health", "reason", "task",
    "n_layers", "seed", "repeat", "device", "machine", "contended", "key",
)  # fmt: skip
IF_VARIED = ("machine", "contended", "lr")
TITLES = {**SYMBOLS, "variant": "algorithm", "lr": "learning rate"}


class Context:
    """One report: what the templates are given.

    Args:
        drawings: plots with their SVG.
        not_drawn: (title, why) of the others.
    """

    def __init__(
        self, study: Study, drawings: Sequence[tuple[Plot, Markup]],
        not_drawn: Sequence[tuple[str, str]],
    ) -> None:  # fmt: skip
        facts, table, records = study.facts, study.table, study.sweeps.records
        self.facts, self.not_drawn, self.count = facts, not_drawn, len(table)
        questions = set(study.sweeps.questions.values())
        self.title = (
            questions.pop() if len(questions) == 1 else "Which way of computing should I use?"
        )
        machines, missing = table["machine"].nunique(), len(study.sweeps.missing)
        processors = {str(r["provenance"].get("processor") or "") for r in records} - {""}
        self.subtitle = " · ".join(filter(None, [
            ", ".join(sorted(set(table["experiment"]) - {""})[:4]),
            plural(len(table), "cell"),
            f"{plural(missing, 'planned cell')} not run yet" * (missing > 0),
            f"{machines} machines" if machines > 1 else ", ".join(sorted(processors)),
        ]))  # fmt: skip
        # The drawings of the first screen, and those after the tables.
        self.first = [d for d in drawings if d[0].first]
        self.more = [d for d in drawings if not d[0].first]
        if len(self.first) == 1 and self.more:  # nothing was trained: growth beside the costs
            costs = self.first[0][0].section
            grown = (i for i, (plot, _) in enumerate(self.more) if plot.section != costs)
            self.first.append(self.more.pop(next(grown, 0)))
        self.contests = [(m, tables.contest(m, i)) for i, m in enumerate(study.contests, 1)]
        self.overview = tables.overview(study.contests)
        self.ways = [tables.ways(g[0], i) for i, g in enumerate(facts.groups[:MOST_GROUPS], 1)]
        self.elsewhere, self.streams = tables.elsewhere(facts), tables.streams(facts)
        found = [tables.scaling(facts), tables.phases(facts), tables.weights(study)]
        self.details = [table for table in found if table]
        self.environment = tables.environment(records)
        self.tables = [t for t in (*(t for _, t in self.contests), self.overview, *self.ways,
                                   self.streams, self.elsewhere, *self.details, self.environment)
                       if t]  # fmt: skip
        self.problems = problems(table, study.sweeps, facts)
        self.claims = answers(facts)
        self.shown, self.cells = all_cells(table)
        # Of how many cells a step took less than the machine's floor, and how many have a floor.
        ratios = table["limit_ratio"][table["status"].eq("ok")]
        self.below_floor = int(ratios.lt(1).sum()), int(ratios.notna().sum())
        asked = [r["config"].get("metric") for r in records]
        self.health = any(not isinstance(m, dict) or "health" in m for m in asked)


def all_cells(table: pd.DataFrame) -> tuple[list[tuple[str, str, bool]], Markup]:
    """(name, title, whether it is a number) of the columns shown, and their rows as JSON."""

    def says_something(column: pd.Series) -> bool:
        if column.name in IF_VARIED:
            return bool(column.nunique(dropna=False) > 1)
        return bool(column.dropna().astype(str).ne("").any())

    shown = [*ALWAYS, *(c for c in FURTHER if c in table and says_something(table[c]))]
    heads = [(c, TITLES.get(c) or heading(c), pd.api.types.is_numeric_dtype(table[c]))
             for c in shown]  # fmt: skip
    rows = table[shown].to_json(orient="split", index=False, double_precision=15)
    # Inside a script element only "<" can end the data early; JSON may spell it otherwise.
    return heads, Markup(rows.replace("<", "\\u003c"))


def html(context: Context) -> str:
    """The page: style, script and drawings inside, nothing fetched.

    Its policy forbids every request and every script but its own.
    """
    script = _asset("app.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _environment("html").get_template("index.html.j2")
    return page.render(c=context, style=Markup(_asset("style.css")), script=Markup(script),
                       digest=digest)  # fmt: skip


def markdown(context: Context) -> str:
    """The same as GitHub Markdown; drawings are linked as files beside it."""
    return one_blank_line(_environment("markdown").get_template("report.md.j2").render(c=context))


def answer(facts: Facts, contests: Sequence[Match] = (), missing: int = 0) -> str:
    """The answer alone, as one line of text that moves no terminal's cursor.

    Args:
        missing: planned cells that have not run yet.
    """
    page = _environment("text").get_template("answer.txt.j2")
    text = page.render(groups=facts.groups, settings=facts.settings, contests=contests,
                       missing=missing)  # fmt: skip
    return "".join(c for c in " ".join(text.split()) if c.isprintable())


@cache
def _environment(of: str) -> Environment:
    made = templates("reports.page", of)
    made.filters |= {"figure": shown, "change": change, "p": probability, "between": between,
                     "listed": listed}  # fmt: skip
    glossary = [line.split(": ", 1) for line in _asset("glossary.txt").splitlines()]
    made.globals |= {"plural": plural, "cost": cost, "glossary": glossary, "FAITHFUL": FAITHFUL,
                     "ALPHA": ALPHA}  # fmt: skip
    return made


def _asset(name: str) -> str:
    return (files("reports.page") / name).read_text(encoding="utf-8")
