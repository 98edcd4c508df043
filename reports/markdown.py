"""A document as Markdown: the twin of the HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reports import document as d
from reports.claims.base import Answered
from reports.text import escape_markdown, line, short

MOST_ROWS = 60  # of the table of all cells; the files beside it have the rest
_SHOWN = (
    "variant",
    "backend",
    "model",
    "batching",
    "batch_size",
    "n_hidden",
    "n_steps",
    "status",
    "step_time_ms",
    "memory_peak_mib",
    "etrace_mib",
    "loss_final",
    "grad_cosine",
    "memory_doubt",
)


def render(document: d.Document) -> str:
    """The whole report as GitHub Markdown; drawings are linked as SVG files beside it."""
    parts = [f"# {escape_markdown(document.title)}", escape_markdown(document.subtitle)]
    for section in document.sections:
        parts.append(f"## {escape_markdown(section.title)}")
        parts += [_block(block) for block in section.blocks]
    return "\n\n".join(part for part in parts if part) + "\n"


def _block(block: d.Block) -> str:
    match block:
        case d.Words(text, _):
            return escape_markdown(text)
        case d.Items(texts):
            return "\n".join(f"- {escape_markdown(text)}" for text in texts)
        case d.Heading(text):
            return f"### {escape_markdown(text)}"
        case d.Table(head, rows, numeric, caption, folded):
            title = f"**{escape_markdown(caption or folded)}**\n\n" if caption or folded else ""
            return title + table(head, rows, frozenset(numeric))
        case d.Figure(plot, _, file):
            name = escape_markdown(" ".join(filter(None, [plot.section, plot.title])))
            return f"![{name}]({Path(file).name}.svg)\n\n{escape_markdown(plot.caption)}"
        case d.Claims(answers):
            return claims(answers)
        case d.Results(cells):
            shown = cells[[c for c in _SHOWN if c in cells]].head(MOST_ROWS)
            rows = [[short(v) for v in row] for row in shown.itertuples(index=False, name=None)]
            more = (
                f"\n\nThe first {MOST_ROWS} of {len(cells)}; results.csv has all."
                if len(cells) > MOST_ROWS
                else ""
            )
            return table(list(shown.columns), rows, frozenset()) + more
    raise TypeError(f"no Markdown for {type(block).__name__}")


def claims(answers: Sequence[Answered]) -> str:
    """The claims as a table; of many keys the first are shown."""
    return table(
        ["claim", "tutorial", "verdict", "figure", "rows"],
        [
            [
                a.claim.words,
                " / ".join(a.claim.tutorials),
                f"**{a.finding.verdict}**",
                a.finding.figure,
                keys(a.finding.keys),
            ]
            for a in answers
        ],
        frozenset(),
    )


def keys(names: Sequence[str], most: int = 4) -> str:
    """Some keys, and how many there are in all."""
    return ", ".join(names[:most]) + (f" … ({len(names)} rows)" if len(names) > most else "")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int]) -> str:
    """A table; `right` columns are flush right."""
    rule = ["---:" if i in right else "---" for i in range(len(head))]
    return "\n".join(
        [
            line(map(escape_markdown, head)),
            line(rule),
            *(line(escape_markdown(str(c)) for c in row) for row in rows),
        ]
    )
