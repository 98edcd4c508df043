"""Facts to HTML, Markdown and text, through the same templates.

Every value is escaped by jinja2 on its way into HTML. Markdown is read by renderers that pass HTML
through, so values are escaped the same way there, and for what Markdown itself would read as well.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports.judge import Facts, cost
from reports.judge.contest import Match
from reports.page import figures
from reports.page.contest import told
from reports.page.context import Context
from reports.text import escape_markdown, short


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
    lines = _environment("markdown").get_template("report.md.j2").render(c=context).splitlines()
    kept = [line.rstrip() for line, before in zip(lines, ["", *lines], strict=False)
            if line.strip() or before.strip()]  # fmt: skip
    return "\n".join(kept).strip() + "\n"


def answer(facts: Facts, contests: Sequence[Match] = ()) -> str:
    """The answer alone, as one line of text that moves no terminal's cursor."""
    page = _environment("text").get_template("answer.txt.j2")
    text = page.render(groups=facts.groups, contests=told(contests))
    return "".join(c for c in " ".join(text.split()) if c.isprintable())


@cache
def _environment(of: str) -> Environment:
    bold = {"text": str, "html": Markup("<strong>{}</strong>").format,
            "markdown": lambda value: Markup("**{}**").format(_plain(value))}[of]  # fmt: skip
    made = Environment(loader=PackageLoader("reports.page"), undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True, autoescape=of != "text",
                       finalize=_plain if of == "markdown" else None)  # fmt: skip
    made.filters |= {"short": short, "figure": figures.figure, "change": figures.change,
                     "between": figures.between, "listed": figures.listed,
                     "p": figures.probability, "b": bold}  # fmt: skip
    glossary = [line.split(": ", 1) for line in _asset("glossary.txt").splitlines()]
    made.globals |= {"plural": figures.plural, "cost": cost, "glossary": glossary}
    return made


def _plain(value: Any) -> Any:
    """Text that cannot end a table cell, open a tag or make a link."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return Markup(escape_markdown(value))


def _asset(name: str) -> str:
    return (files("reports.page") / name).read_text(encoding="utf-8")
