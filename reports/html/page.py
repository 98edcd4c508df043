"""A document as one HTML page: style, script and drawings inside, nothing fetched."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from importlib.resources import files
from itertools import takewhile

import pandas as pd

from reports import document as d
from reports.claims.base import Answered
from reports.html.cells import results
from reports.html.elements import Html, join, table, tag
from reports.text import short


def render(document: d.Document) -> str:
    """The page. Its policy forbids every request and every script but its own."""
    style, script = _asset("style.css"), _asset("app.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="color-scheme", content="light dark"),
        # An icon of its own, empty: without one a browser asks a server for /favicon.ico.
        tag("link", rel="icon", href="data:,"),
        tag("title", document.title),
        tag("style", Html(style)),
    )
    body = tag(
        "body",
        tag("a", "Skip to the verdict", href="#verdict", class_="skip"),
        tag("header", tag("p", document.subtitle, class_="eyebrow"), tag("h1", document.title)),
        _contents(document.sections),
        tag("main", map(_section, document.sections)),
        tag(
            "footer",
            tag(
                "p",
                "Made from record files alone by python -m reports. The same numbers are "
                "in results.csv and results.parquet, the drawings as SVG and PNG beside "
                "this file.",
            ),
        ),
        tag("script", Html(script)),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en")


def _asset(name: str) -> str:
    return (files("reports.html") / name).read_text(encoding="utf-8")


def _contents(sections: Iterable[d.Section]) -> Html:
    return tag(
        "nav",
        tag(
            "ul",
            (
                tag(
                    "li",
                    tag(
                        "a",
                        s.title,
                        tag("span", s.alert, class_="count") if s.alert else None,
                        href=f"#{s.id}",
                    ),
                )
                for s in sections
            ),
        ),
        aria_label="Sections",
    )


def _section(section: d.Section) -> Html:
    parts: list[Html] = []
    figures: list[d.Figure] = []  # neighbours share a gallery
    for block in section.blocks:
        if isinstance(block, d.Figure):
            figures.append(block)
            continue
        parts += [_gallery(figures), _block(block)]
        figures = []
    return tag("section", tag("h2", section.title), parts, _gallery(figures), id=section.id)


def _gallery(figures: list[d.Figure]) -> Html:
    """Drawings side by side; what all captions begin with is said once."""
    if not figures:
        return Html("")
    captions = [re.split(r"(?<=\.) (?=[A-Z])", figure.plot.caption) for figure in figures]
    abreast = zip(*captions, strict=False)
    alike = sum(1 for _ in takewhile(lambda told: len(set(told)) == 1, abreast))
    shared = " ".join(captions[0][:alike])
    pairs = zip(figures, captions, strict=True)
    return join(
        [
            tag("p", shared, class_="caption") if shared else None,
            tag("div", (_figure(f, " ".join(c[alike:])) for f, c in pairs), class_="gallery"),
        ]
    )


def _block(block: d.Block) -> Html:
    match block:
        case d.Words(text, lead):
            return tag("p", rich(text), class_="lead" if lead else None)
        case d.Items(texts):
            return tag("ul", (tag("li", rich(text)) for text in texts), class_="sentences")
        case d.Heading(text):
            return tag("h3", text)
        case d.Table(head, rows, numeric, caption, folded):
            made = table(head, rows, numeric=numeric, caption=caption or None)
            return tag("details", tag("summary", folded), made) if folded else made
        case d.Claims(answers):
            return tag("dl", map(_claim, answers), class_="claims")
        case d.Results(cells):
            return results(cells)
    raise TypeError(f"no HTML for {type(block).__name__}")


_VERDICTS = {
    "holds": "holds",
    "does not hold": "fails",
    "not decided": "undecided",
    "not tested here": "untested",
}


def _claim(answered: Answered) -> Html:
    claim, finding = answered.claim, answered.finding
    rows = f"{len(finding.keys)} {'row' if len(finding.keys) == 1 else 'rows'}"
    return tag(
        "div",
        tag(
            "dt",
            tag("span", finding.verdict, class_=f"badge {_VERDICTS[finding.verdict]}"),
            " ",
            claim.words,
        ),
        tag("dd", finding.figure, tag("div", " · ".join(claim.tutorials), class_="source")),
        tag(
            "dd",
            tag("details", tag("summary", rows), tag("p", ", ".join(finding.keys), class_="keys")),
        )
        if finding.keys
        else None,
        id=f"claim-{claim.id}",
    )


def rich(text: str) -> Html:
    """Text in which ``**`` opens and closes bold; everything is escaped first."""
    return join(tag("strong", part) if i % 2 else part for i, part in enumerate(text.split("**")))


def _figure(figure: d.Figure, caption: str) -> Html:
    plot = figure.plot
    return tag(
        "figure",
        Html(figure.svg),
        tag("figcaption", caption) if caption else None,
        tag("details", tag("summary", "The numbers"), data_table(plot.data)),
    )


def data_table(data: pd.DataFrame) -> Html:
    """The numbers of a drawing."""
    numeric = [i for i, c in enumerate(data.columns) if pd.api.types.is_numeric_dtype(data[c])]
    rows = ([short(v) for v in row] for row in data.itertuples(index=False, name=None))
    return table(map(str, data.columns), rows, numeric=numeric)
