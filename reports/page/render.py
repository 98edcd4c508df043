"""Facts to HTML, Markdown and text, through the same templates."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment
from markupsafe import Markup

from reports.judge import Facts, cost
from reports.judge.contest import Match
from reports.page import figures
from reports.page.contest import told
from reports.page.context import Context
from reports.text import one_blank_line, plural, templates


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


def answer(facts: Facts, contests: Sequence[Match] = ()) -> str:
    """The answer alone, as one line of text that moves no terminal's cursor."""
    page = _environment("text").get_template("answer.txt.j2")
    text = page.render(groups=facts.groups, contests=told(contests))
    return "".join(c for c in " ".join(text.split()) if c.isprintable())


@cache
def _environment(of: str) -> Environment:
    made = templates("reports.page", of)
    made.filters |= {"figure": figures.figure, "change": figures.change, "p": figures.probability,
                     "between": figures.between, "listed": figures.listed}  # fmt: skip
    glossary = [line.split(": ", 1) for line in _asset("glossary.txt").splitlines()]
    made.globals |= {"plural": plural, "cost": cost, "glossary": glossary}
    return made


def _asset(name: str) -> str:
    return (files("reports.page") / name).read_text(encoding="utf-8")
